package source

import (
	"strings"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/store"
)

// A Batch is what one commit holds: updates in stream order, and the position that they reach. It is owned by one
// stage at a time and goes round: the owner of the pipe puts it into Free, Run fills it and sends it to Out, the owner
// commits it and puts it back.
//
// A batch without updates only moves the cursor: the server has scanned up to Pos.Seq and found nothing that matches
// the filter, or says that nothing newer than Pos.Seq existed at Pos.CaughtUp.
//
// Invariants: From <= Pos.Seq; the Pos.Seq of one batch is the From of the next; every update lies in (From, Pos.Seq];
// a batch with updates does not span a multiple of store.PointEvery.
type Batch struct {
	abi.Updates
	From    uint64         // the position's Seq before this batch
	Pos     store.Position // where the commit of this batch brings the cursor; its memory is the batch's
	Clock   int64          // the fold's clock with this batch: see Options.Due
	MaxAge  int64          // the stream's, ns, by the leader's last word; 0 = none
	TTL     bool           // the stream lets messages have a time to live of their own, by the same word
	Arrived time.Time      // when its first update was read, by this machine's clock; zero for a batch without updates
	Expires []int64        // of a batch whose updates are not read from the stream: what Expiry returns of each
}

// Reset empties b and keeps its memory. Run calls it on each batch that it takes from Free.
func (b *Batch) Reset() {
	b.Updates.Reset()
	b.From, b.Arrived = 0, time.Time{}
	b.Clock, b.MaxAge, b.TTL, b.Expires = 0, 0, false, b.Expires[:0]
	b.Pos = store.Position{Anchors: b.Pos.Anchors[:0]}
}

// Expiry returns when the record of the i'th update goes by what the message says of itself: ns since 1970, store.Never
// where not even the stream's MaxAge ends it, 0 where it says nothing.
func (b *Batch) Expiry(i int) int64 {
	if i < len(b.Expires) {
		return b.Expires[i]
	}
	u := &b.Records[i]
	for _, h := range b.Updates.Headers[u.Header : u.Header+u.Headers] {
		if string(b.At(h.Name)) == ttlHeader {
			return expiry(string(b.At(h.Value)), u.Time, b.TTL)
		}
	}
	return 0
}

const ttlHeader = "Nats-TTL"

// expiry reads the value of the header as the server does (ADR-43): seconds, a Go duration of which the server keeps
// whole seconds, or "never", which holds whatever the stream allows.
func expiry(value string, at int64, allowed bool) int64 {
	if strings.EqualFold(value, "never") {
		return store.Never
	}
	seconds, ok := parseUint(value)
	if d, err := time.ParseDuration(value); err == nil {
		seconds, ok = uint64(d/1e9), d >= 1e9
	}
	if !allowed || !ok || seconds == 0 {
		return 0
	}
	if seconds > uint64(store.Never-1-at)/1e9 {
		return store.Never - 1
	}
	return at + int64(seconds)*1e9
}

// Pipe bounds what is in flight between Run and the owner that called it. Free has room for all batches and holds all of them when
// nothing is under way; that is how Run knows whether the owner is idle. A batch that the owner keeps back for ever
// looks like one that is being committed. Use NewPipe.
type Pipe struct {
	Free chan *Batch // empty batches, on their way to Run
	Out  chan *Batch // filled batches, on their way to the owner; Run never closes it
}

// NewPipe returns a pipe with n batches (at least 2, or reading and committing would take turns), all of them free.
func NewPipe(n int) Pipe {
	n = max(n, 2)
	p := Pipe{Free: make(chan *Batch, n), Out: make(chan *Batch, n)}
	for range n {
		p.Free <- new(Batch)
	}
	return p
}
