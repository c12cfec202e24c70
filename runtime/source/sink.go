package source

import (
	"bytes"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// A sink takes the messages of one subscription from a tap, and keeps them until they are taken by next. Its memory is
// bounded by limit messages, and by the bytes that the session's pulls ask for.
type sink struct {
	tap   *tap
	verb  []byte        // what its SUB begins with
	sid   atomic.Uint64 // the number of the subscription, 0 until it is known
	limit int           // messages; what comes beyond is dropped, and found missing by its number
	wake  chan struct{} // has a value when something came after next returned nil

	filling *parcel // owned by the tap's reader

	mu    sync.Mutex
	ready []*parcel // oldest first
	held  int       // messages in ready
	free  []*parcel

	// owned by the caller of next
	open *parcel
	msg  nats.Msg
}

// A parcel is what came at once.
type parcel struct {
	text   []byte // subjects and replies, one after the other
	said   string // the same, of which messages have views
	slab   []byte // headers and values
	frames []frame

	at, textAt, slabAt int // where the next message begins
}

// forget empties c and keeps its memory.
func (c *parcel) forget() {
	*c = parcel{text: c.text[:0], slab: c.slab[:0], frames: c.frames[:0]}
}

// A frame is one message of a parcel: the lengths of its pieces, which follow on those of the frames before.
type frame struct{ subject, reply, header, data int }

// learn notes the number of the subscription if p makes it.
func (s *sink) learn(p []byte) {
	_, after, found := bytes.Cut(p, s.verb)
	if !found {
		return
	}
	line, _, _ := bytes.Cut(after, []byte("\r\n"))
	if sid, ok := number(bytes.TrimLeft(line, " ")); ok {
		s.known(sid)
	}
}

// closed is the number of no subscription.
const closed = math.MaxUint64

func (s *sink) known(sid uint64) {
	if s.sid.CompareAndSwap(0, sid) {
		s.tap.waiting.Add(-1)
	}
}

// add adds one message, for the tap's reader.
func (s *sink) add(h *heading, payload []byte) {
	if s.filling == nil {
		s.filling = s.empty()
	}
	c := s.filling
	c.text = append(append(c.text, h.subject...), h.reply...)
	c.slab = append(c.slab, payload...)
	c.frames = append(c.frames, frame{len(h.subject), len(h.reply), h.header, h.size - h.header})
}

// handOn gives to next what was added.
func (s *sink) handOn() {
	c := s.filling
	if c == nil {
		return
	}
	s.filling = nil
	c.said = string(c.text)
	s.mu.Lock()
	if c.frames = c.frames[:min(len(c.frames), s.limit-s.held)]; len(c.frames) > 0 {
		s.held += len(c.frames)
		s.ready = append(s.ready, c)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// mostSpare and largestSpare bound what is kept of parcels that were read: their number, and the bytes of each.
const (
	mostSpare    = 16
	largestSpare = 4 * tapBuffer
)

func (s *sink) empty() *parcel {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.free)
	if n == 0 {
		return new(parcel)
	}
	c := s.free[n-1]
	s.free = s.free[:n-1]
	return c
}

// woken returns a channel that has a value when next may return a message again.
func (s *sink) woken() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.wake
}

// next returns the next message, nil while there is none. It and its data, not its strings, are valid until the next call.
func (s *sink) next() *nats.Msg {
	if s == nil {
		return nil
	}
	for s.open == nil || s.open.at == len(s.open.frames) {
		if !s.turn() {
			return nil
		}
	}
	c := s.open
	f := &c.frames[c.at]
	reply, end := c.textAt+f.subject, c.textAt+f.subject+f.reply
	data, last := c.slabAt+f.header, c.slabAt+f.header+f.data
	s.msg = nats.Msg{Subject: c.said[c.textAt:reply], Reply: c.said[reply:end], Data: c.slab[data:last:last]}
	if f.header > 0 { // what cannot be read is as if it was not there, as with nats.go
		s.msg.Header, _ = nats.DecodeHeadersMsg(c.slab[c.slabAt:data])
	}
	c.at, c.textAt, c.slabAt = c.at+1, end, last
	return &s.msg
}

// turn opens the next parcel, and keeps the last one's memory.
func (s *sink) turn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.open; c != nil && len(s.free) < mostSpare && cap(c.slab) <= largestSpare {
		c.forget()
		s.free = append(s.free, c)
	}
	s.open = nil
	if len(s.ready) == 0 {
		return false
	}
	s.open = s.ready[0]
	s.ready = slices.Delete(s.ready, 0, 1)
	s.held -= len(s.open.frames)
	return true
}

// close leaves what still comes to nats.go.
func (s *sink) close() {
	if s == nil {
		return
	}
	s.tap.change(func(all []*sink) []*sink { return slices.DeleteFunc(all, func(x *sink) bool { return x == s }) })
	s.known(closed)
}
