package source

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/store"
)

// A reader is one call of Run. Everything in it is owned by that call's goroutine.
type reader struct {
	*Source
	pipe   Pipe
	events chan nats.Status // of the connection

	pos      store.Position // what was read: Seq of everything, Time and Anchors of what was handed on
	target   uint64         // the stream's last seq by the leader's last word,
	targetAt int64          // which was at this time of the server
	headLost uint64         // the FirstSeq last warned of
	maxAge   int64          // of the stream, ns, by that word
	ttl      bool           // messages may have a time to live of their own, by that word
	clock    int64          // the server's clock, ns since 1970,
	clockAt  time.Time      // when it was read, by the clock of this machine

	cur    *Batch   // being filled; nil: none taken yet
	spare  []*Batch // taken from Free, empty
	rec    recorder
	hurry  bool     // somebody waits for the position, which may have moved
	handed struct { // of the last batch handed on
		seq      uint64
		created  int64
		caughtUp int64
		idleAt   time.Time // when the last one without updates was
	}

	consumer string   // of the session that is under way, "" before it is made
	unsure   []string // consumers that may still be there: the connection may have been dead, or nobody led the cluster

	lastReason string // of the reset last logged as a warning
	lastWarned time.Time
}

func newReader(s *Source, from store.Position, p Pipe) *reader {
	r := &reader{Source: s, pipe: p, pos: from, spare: make([]*Batch, 0, cap(p.Free))}
	r.rec.byMessage = s.opts.KeyingMessage
	r.pos.Anchors = append(make([]store.Anchor, 0, store.MaxAnchors+1), from.Anchors...)
	r.handed.seq, r.handed.created, r.handed.caughtUp = from.Seq, from.Created, from.CaughtUp
	s.note(func(st *Status) { st.Seq, st.State, st.Code = from.Seq, StateWaiting, "" })
	return r
}

// release gives back every batch that the reader holds. Free has room for all, so it does not block.
func (r *reader) release() {
	if r.cur != nil {
		r.spare = append(r.spare, r.cur)
		r.cur = nil
	}
	for _, b := range r.spare {
		b.Reset()
		r.pipe.Free <- b
	}
	r.spare = nil
}

// A reset is why a session ended. The position is what it was; the next session goes on from it.
type reset struct {
	reason string // one of few: the label of a counter
	detail string
}

func (e *reset) Error() string {
	if e.detail == "" {
		return e.reason
	}
	return e.reason + ": " + e.detail
}

var errDisconnected = &reset{reason: "disconnected"}

// run is one session after another. See the package comment.
func (r *reader) run(ctx context.Context) error {
	pause := backoff{next: r.pace.backoff}
	mute := 0 // sessions in a row that ended because nothing came
	for {
		if err := r.awaitConnection(ctx); err != nil {
			return err
		}
		began := time.Now()
		err := r.session(ctx)
		var stop *Stop
		if errors.As(err, &stop) {
			return stop
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.flush(ctx); err != nil { // nobody knows how long the next session takes to come
			return err
		}
		r.doubtDelete()
		switch r.logReset(err) {
		case "silence", "timeout":
			if mute++; mute >= 3 {
				r.probe(ctx)
				mute = 0
			}
		default:
			mute = 0
		}
		longest := r.pace.longest
		if errors.Is(err, nats.ErrPermissionViolation) {
			longest = r.pace.denied
		}
		if time.Since(began) > r.pace.healthy {
			pause.next = r.pace.backoff
		}
		if err := r.pauseFor(ctx, pause.take(longest)); err != nil {
			return err
		}
	}
}

// doubtDelete keeps the name of a consumer whose deletion may have been lost with what ended its session.
func (r *reader) doubtDelete() {
	if r.consumer == "" {
		return
	}
	r.unsure = append(r.unsure[max(0, len(r.unsure)-15):], r.consumer) // the others expire
}

// deleteUnsure deletes again what may still be there, now that the server has just made another.
func (r *reader) deleteUnsure() {
	for _, name := range r.unsure {
		r.forgetConsumer(name)
	}
	r.unsure = nil
}

// A backoff is how long to wait between attempts: each time twice as long, and not when everybody else tries again.
type backoff struct{ next time.Duration }

// take returns how long to wait now: half of it and up to as much again, by chance. The next wait is no longer than longest.
func (b *backoff) take(longest time.Duration) time.Duration {
	d := b.next/2 + rand.N(b.next/2+1)
	b.next = min(2*b.next, longest)
	return d
}

// awaitConnection returns when the connection is up.
func (r *reader) awaitConnection(ctx context.Context) error {
	for {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.nc.IsClosed():
			return fmt.Errorf("source: %w", nats.ErrConnectionClosed)
		case r.nc.IsConnected():
			r.forgetEvents()
			return nil
		}
		r.waitForNATS()
		select {
		case <-r.events:
		case <-time.After(time.Second): // an event may have been lost: the channel is small
		case <-ctx.Done():
		}
	}
}

// waitForNATS says why there is no connection, in the log when that is news.
func (r *reader) waitForNATS() {
	var said string
	var now Status
	r.note(func(st *Status) {
		said = st.Reason
		st.State = StateWaiting
		st.away(r.journal.away(r.nc))
		now = *st
	})
	if now.Reason != said {
		r.opts.Log.Warn("waiting for NATS", "stream", r.opts.Stream, "code", now.Code, "err", now.Reason, "hint", now.Hint)
	}
}

func (r *reader) forgetEvents() {
	for {
		select {
		case <-r.events:
		default:
			return
		}
	}
}

// pauseFor waits; a connection that comes back ends the wait.
func (r *reader) pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return nil
		case st := <-r.events:
			if st == nats.CONNECTED {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// probe gives up a connection that claims to be up but is dead: one that does not answer a ping. nats.go itself takes a
// minute to find that out.
func (r *reader) probe(ctx context.Context) {
	ping, cancel := context.WithTimeout(ctx, 2*r.pace.api)
	defer cancel()
	err := r.nc.FlushWithContext(ping)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && r.nc.IsConnected() {
		r.opts.Log.Warn("connection is up but answers nothing: connecting anew", "stream", r.opts.Stream)
		r.nc.ForceReconnect()
	}
}

// logReset counts the end of a session and logs it, a repeated one at most once a minute. It returns the reason.
func (r *reader) logReset(err error) (reason string) {
	reason = "error"
	var known *reset
	switch {
	case errors.As(err, &known):
		reason = known.reason
	case isAPIError(err, errStreamNotFound):
		reason = "missing"
	case errors.Is(err, nats.ErrPermissionViolation):
		reason = "denied"
	case errors.Is(err, nats.ErrNoResponders):
		reason = "no_responders"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		reason = "timeout"
	case errors.Is(err, errRefilling):
		reason = "refilling"
	}
	code, mend := explain(err)
	r.note(func(st *Status) {
		st.State, st.Reason, st.Code, st.Hint = StateWaiting, err.Error(), code, mend
		st.Resets[reason]++
	})
	log := r.opts.Log.Debug
	if now := time.Now(); reason != r.lastReason || now.Sub(r.lastWarned) >= time.Minute {
		r.lastReason, r.lastWarned = reason, now
		log = r.opts.Log.Warn
	}
	log("session ended", "stream", r.opts.Stream, "reason", reason, "code", code, "cursor", r.pos.Seq, "err", err, "hint", mend)
	return reason
}
