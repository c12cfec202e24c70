package source

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// A nudge is an extra pull, made while somebody waits for a position, that the server answers at once and that takes no
// message: it asks for one of a byte, and for a heartbeat after a nanosecond. Where the consumer has nothing to deliver,
// the heartbeat says up to where it has looked; where it has, the pull ends with a 409, and the message comes by the
// other pulls. Either way it is the consumer that answers. So a nudge brings
//
//   - the position, where what was stored last does not match the filter, in less than a millisecond and not with the
//     next heartbeat;
//   - the proof that the stream is the one that was proved when the session began: its deletion would have taken the
//     consumer along.
//
// # Why not a request with no_wait?
//
// Its 404 comes as fast, but does not say up to where the consumer has looked.
const nudgeBody = `{"batch":1,"max_bytes":1,"expires":3000000,"idle_heartbeat":1}`

// A Proof says that the stream was there, with its consumer, after it was asked for.
type Proof struct {
	done    chan struct{}
	created int64
}

// Done returns a channel that is closed when the proof is there.
func (p *Proof) Done() <-chan struct{} { return p.done }

// Created returns the stream's creation time, ns since 1970. It is for after Done.
func (p *Proof) Created() int64 { return p.created }

// nudges are what is asked of the loop by others. All who ask between two extra pulls share the next one.
type nudges struct {
	wanted atomic.Bool   // next is not nil
	wake   chan struct{} // has a value after next was made

	mu    sync.Mutex
	next  *Proof   // by the next extra pull
	asked []*Proof // by the one that is under way; a session that ends leaves them to the next
}

// Nudge has the server say at once up to where it has looked, and returns the proof that it did. It does not block. While
// nothing is read, the proof waits for the next session. Who no longer waits need not say so.
func (s *Source) Nudge() *Proof {
	n := &s.nudges
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = &Proof{done: make(chan struct{})}
		n.wanted.Store(true)
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
	return n.next
}

// take makes what is asked for part of the extra pull that is sent now.
func (n *nudges) take() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		n.asked, n.next = append(n.asked, n.next), nil
	}
	n.wanted.Store(false)
}

// renew has the next session ask again for what the last one was not answered.
func (n *nudges) renew() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.asked) > 0 {
		n.wanted.Store(true)
	}
}

func (n *nudges) answered(created int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.asked {
		p.created = created
		close(p.done)
	}
	n.asked = nil
}

// nudge sends an extra pull if one is asked for, and returns after how long it may be sent otherwise; 0: nobody asks.
func (r *reader) nudge(s *session) (later time.Duration, err error) {
	if !r.nudges.wanted.Load() {
		return 0, nil
	}
	now := time.Now()
	if wait := r.pace.nudge - now.Sub(s.nudgedAt); wait > 0 {
		return wait, nil
	}
	r.nudges.take()
	s.nudges++
	s.nudge, s.nudgedAt = fmt.Sprintf("%s.nudge%d", s.inbox, s.nudges), now
	if err := r.nc.PublishRequest(s.subject, s.nudge, []byte(nudgeBody)); err != nil {
		return 0, fmt.Errorf("source: pull: %w", err)
	}
	return 0, nil
}

// nudged takes the status of an extra pull. That of an earlier one than the last may have been on its way for long, and
// proves nothing.
func (r *reader) nudged(ctx context.Context, s *session, m *nats.Msg) error {
	last := m.Subject == s.nudge
	status, text := m.Header.Get("Status"), strings.ToLower(m.Header.Get("Description"))
	switch {
	case status == "100":
		r.hurry = r.hurry || last
		if err := r.heartbeat(ctx, s, m); err != nil {
			return err
		}
	case status == "404", status == "408", status == "409" && strings.Contains(text, "exceeds maxbytes"):
	case status == "409":
		return r.conflict(s, m, text)
	case status == "503":
		return &reset{"no_responders", "the consumer does not answer"}
	default:
		return &reset{"status", strings.TrimSpace(status + " " + text)}
	}
	if last {
		r.nudges.answered(r.pos.Created)
	}
	return nil
}

// hasten hands on the position that somebody waits for, once nothing is in flight any more.
func (r *reader) hasten(ctx context.Context) error {
	if !r.hurry || r.pending() || !r.idle() {
		return nil
	}
	return r.moveIdle(ctx, time.Now())
}
