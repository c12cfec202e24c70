// Package serve answers queries over HTTP: it translates between requests and package query, which reads. A Door looks at
// who asks, and hands the request to the Server of what that caller may see and do. A NATSDoor has a Server answer over NATS.
//
//	GET /v1/status                        what the process and its folds know of themselves
//	GET /v1/folds/F/indexes/I/get         the rows of some keys
//	    key, again for each, limit, reverse, claimants, latest
//	GET /v1/folds/F/indexes/I/scan        rows in the order of (key, source)
//	    prefix, start, end, limit, reverse, claimants, latest
//	    both: after_key with after_source; both, and why: min_seq, with wait and incarnation
//	GET /v1/folds/F/verify                the store against itself
//	GET /healthz                          the process is alive
//
// Keys and values are bytes. In a query a byte parameter is what its percent-encoding decodes to, or under its name and
// "64" (key64=…) base64, of either alphabet, padded or not. In JSON, bytes are a string where they are UTF-8 text without
// control characters other than tab, line feed and carriage return, else {"base64": "…"}, padded, of the standard alphabet.
//
// A reply with rows is {"rows": […], "more": bool, "next": {…}}; next, there when more is true, holds the after_ parameters
// that ask for the rest. A row is {"key", "value", "source", "seq", "expires"}: seq where the
// latest claimant of a key is told from the others, expires, RFC 3339, where the row does.
//
// A reply about a fold carries, from the same view of the store as its rows,
//
//	Foldrun-Seq           everything up to it is folded; what KV calls the revision
//	Foldrun-Generation    the build of the fold that answers
//	Foldrun-Incarnation   when the stream was created: a seq means something within an incarnation only
//	Foldrun-Withheld      source keys that have no rows because their records are in quarantine, if there are such
//
// and Foldrun-State, with Foldrun-Code where the fold does not do its work: a stopped fold goes on answering.
//
// With min_seq the view has at least that seq, or the reply is a 409: see runtime.Fold.ViewAt.
//
// An error is {"error": {"code", "message", "hint"}}, its code stable. A key that has no row is one: 404, not_found.
package serve
