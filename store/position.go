package store

// A Position says how far one source is folded, and which source it was: the cursor is a list of them. A position is
// bound to its stream by name, domain and creation time, and by anchors: messages that were really folded, which the
// stream must still hold as they were, or hold no more.
type Position struct {
	Stream   string   // the stream's name, "KV_users" for the bucket users
	Domain   string   // the JetStream domain, "" for none
	Created  int64    // the stream's creation time, ns since 1970: its incarnation
	Seq      uint64   // everything up to and including Seq is folded; Seq itself may never have matched the filter
	Time     int64    // time of the last folded message, ns since 1970: the fold's clock when it is busy
	CaughtUp int64    // the server's time when Seq was last seen to be its last, ns since 1970; 0 = never
	Anchors  []Anchor // at most MaxAnchors, newest first
}

// An Anchor is a message that was folded.
type Anchor struct {
	Seq     uint64
	Time    int64  // ns since 1970, as the server stamped it
	Subject uint64 // xxh3-64 of the subject
}

// MaxAnchors bounds the anchors of a position.
const MaxAnchors = 16
