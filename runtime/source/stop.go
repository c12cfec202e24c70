package source

// The stable codes of what the source finds. The first four stop Run; the others are conditions that Status shows while
// Run goes on.
const (
	CodeRewound   = "source_rewound"   // the same stream ends below the cursor: it lost its tail, or an older copy came back
	CodeDiverged  = "source_diverged"  // the same stream holds other messages at seqs that were folded
	CodeRecreated = "source_recreated" // another stream has the name: its creation time differs and no anchor proves it
	CodeRefused   = "source_refused"   // the stream, or what is asked of it, cannot be folded at all

	CodeHeadLost = "source_head_lost" // the stream begins after the cursor: messages may have gone unread
	CodeMissing  = "source_missing"   // there is no such stream; Run keeps trying

	CodeDenied       = "source_denied"       // the user lacks a permission
	CodeNoJetStream  = "source_no_jetstream" // nothing answers the JetStream API of the account or domain
	CodeUnreachable  = "nats_unreachable"    // no server answers
	CodeUnauthorized = "nats_unauthorized"   // the server refuses the credentials
	CodeTLS          = "nats_tls"            // the server and we do not agree on TLS
)

// Stop is why Run ended for good: going on would be wrong, and trying again would find the same. It says what was
// expected and what was found.
type Stop struct {
	Code string // one of the codes above
	Text string // what is wrong, with the evidence
	Hint string // how to mend it

	Created  int64 // with the codes of another history: the creation time of the stream that was found, ns since 1970
	Anchored bool  // with CodeRewound: the stream holds what was folded, up to where it ends
}

func (s *Stop) Error() string { return s.Code + ": " + s.Text }
