package source

import (
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The doubts that a stream can raise about the rows that were folded from it: each is a reason to compare them.
const (
	DoubtHorizon = "tombstone_horizon" // markers of removals may have come and gone since everything was read
	DoubtHead    = "head_lost"         // the stream begins after the cursor
	DoubtUnknown = "identity_unknown"  // the stream holds none of the anchors any more
)

// tombstoneGrace is how long the marker of a delete stands at least: PurgeDeletes keeps those younger than 30 minutes.
const tombstoneGrace = 25 * time.Minute

// horizon returns how long one can be away from a stream and still read a marker of each removal. What expires needs
// none: the fold knows when.
func horizon(c *jetstream.StreamConfig) time.Duration {
	switch {
	case discards(c), c.AllowMsgTTL && c.SubjectDeleteMarkerTTL == 0: // evicted without a marker; markers as short as a second
		return 0
	case c.AllowMsgTTL:
		return min(tombstoneGrace, c.SubjectDeleteMarkerTTL)
	case c.DenyDelete && c.DenyPurge:
		return math.MaxInt64
	}
	return tombstoneGrace
}

// discards says whether a stream drops its oldest messages when it is full.
func discards(c *jetstream.StreamConfig) bool {
	return c.Discard == jetstream.DiscardOld && (c.MaxBytes > 0 || c.MaxMsgs > 0)
}

// suspect notes what a stream that was just proved gives to doubt.
func (r *reader) suspect(info *streamInfo, p proof) {
	doubt, away := "", nanos(info.TS)-r.pos.CaughtUp
	switch {
	case r.pos.Seq == 0:
	case info.State.FirstSeq > r.pos.Seq+1:
		doubt = DoubtHead
	case p == proofUnknown && len(r.pos.Anchors) > 0:
		doubt = DoubtUnknown
	case away > int64(horizon(&info.Config)):
		doubt = DoubtHorizon
	}
	if doubt == "" {
		return
	}
	r.note(func(st *Status) { st.Doubt, st.Doubts = doubt, st.Doubts+1 })
}
