// Package runtime runs folds: it reads the updates of a source, transforms them, and commits rows and cursor together.
//
//	source ── Out ──▶ dispatch ──▶ transform ×W ──▶ commit ──▶ Free ── source
//	                      └──── in stream order ──────▲
//
// A batch of the source goes to whichever worker is free, and to the committer's queue: batches are transformed in
// parallel and committed in stream order. A fixed number of batches goes round, so memory is bounded, and when the
// committer falls behind the source stops pulling. Within a batch only the newest update of a source key is
// transformed.
//
// Beside the stream's word stands what the host infers: a sweeper compares the source keys with what the stream holds,
// when there is reason to, and hands what is gone to the committer, between two batches. docs/source.md lists what can
// happen to a record, and which guard notices it.
//
// A Fold is one derived index. A Daemon runs the folds of a process: one of them failing leaves the others alone.
//
// # Why does the committer read the lineage, and not the workers?
//
// A worker runs ahead of batches that are not committed yet; what it read could be out of date by the time its batch
// commits, and the rows that a key gained in between would never be retracted.
//
// # Why does a sweep not hold a snapshot?
//
// A listing can take minutes, and a snapshot holds files back. It looks at the newest lineages instead, and names with
// each removal the seq that it saw: the committer, which alone writes, drops what has another one by then.
package runtime
