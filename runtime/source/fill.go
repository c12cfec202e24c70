package source

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/store"
)

// pending says whether updates wait in the current batch.
func (r *reader) pending() bool { return r.cur != nil && r.cur.Len() > 0 }

// idle says whether every batch but the current one is free: nothing is in flight.
func (r *reader) idle() bool {
	for {
		select {
		case b := <-r.pipe.Free:
			r.spare = append(r.spare, b)
			continue
		default:
		}
		held := len(r.spare)
		if r.cur != nil {
			held++
		}
		return held == cap(r.pipe.Free)
	}
}

// take makes cur an empty batch, waiting for a free one if it must. This is where backpressure begins: while it waits,
// nothing is pulled.
func (r *reader) take(ctx context.Context) error {
	if n := len(r.spare); n > 0 {
		r.cur, r.spare = r.spare[n-1], r.spare[:n-1]
	} else {
		select {
		case r.cur = <-r.pipe.Free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.cur.Reset()
	r.cur.From = r.handed.seq
	return nil
}

// flush hands on what waits in the current batch.
func (r *reader) flush(ctx context.Context) error {
	if !r.pending() {
		return nil
	}
	return r.handOn(ctx, r.pos.Seq)
}

// handOn closes the current batch at seq and sends it to the owner.
func (r *reader) handOn(ctx context.Context, seq uint64) error {
	b := r.cur
	n := b.Len()
	b.MaxAge, b.TTL = r.maxAge, r.ttl
	if n > 0 {
		last := &b.Records[n-1]
		r.pos.Time = last.Time
		r.pos.Anchors = addAnchor(r.pos.Anchors, anchorOf(last.Seq, last.Time, b.At(last.Subject)))
	} else {
		r.handed.idleAt = time.Now()
	}
	r.pos.Seq = max(r.pos.Seq, seq)
	r.stampCaughtUp()
	anchors := append(b.Pos.Anchors[:0], r.pos.Anchors...)
	b.Clock = max(b.Clock, r.pos.Time)
	b.Pos = r.pos
	b.Pos.Seq, b.Pos.Anchors = seq, anchors
	r.handed.seq, r.handed.created, r.handed.caughtUp = seq, r.pos.Created, r.pos.CaughtUp
	select {
	case r.pipe.Out <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.cur = nil
	now, caughtUp := time.Now(), r.pos.Seq >= r.target
	r.note(func(st *Status) {
		st.Seq, st.LastSeq, st.LastHeard = seq, max(st.LastSeq, r.pos.Seq), now
		st.Batches++
		st.Updates += uint64(n)
		r.showCaughtUp(st, caughtUp)
	})
	return nil
}

// stampCaughtUp notes when everything that the stream held is in the position.
func (r *reader) stampCaughtUp() {
	if r.pos.Seq >= r.target {
		r.pos.CaughtUp = max(r.pos.CaughtUp, r.targetAt)
	}
}

func (r *reader) showCaughtUp(st *Status, caughtUp bool) {
	st.CaughtUp = caughtUp
	if r.pos.CaughtUp > 0 {
		st.CaughtUpAt = time.Unix(0, r.pos.CaughtUp)
	}
}

// moveIdle hands on a batch without updates if the position has something new to say and nothing is in flight.
func (r *reader) moveIdle(ctx context.Context, now time.Time) error {
	moved := r.pos.Seq > r.handed.seq && (r.hurry || now.Sub(r.handed.idleAt) >= r.pace.advance)
	newer := r.pos.CaughtUp-r.handed.caughtUp >= int64(r.pace.caughtUp)
	if r.pending() || !r.idle() {
		return nil
	}
	r.hurry = false
	clock, due := r.idleClock(now)
	if !moved && !newer && !due && r.pos.Created == r.handed.created {
		return nil
	}
	if r.cur == nil {
		if err := r.take(ctx); err != nil {
			return err
		}
	}
	if due { // else the clock of the last update holds, which is the same wherever the stream is folded
		r.cur.Clock = clock
	}
	return r.handOn(ctx, r.pos.Seq)
}

// idleClock returns the clock of a fold that has read everything, and whether something is due by it.
func (r *reader) idleClock(now time.Time) (clock int64, due bool) {
	if r.opts.Due == nil || r.clock == 0 || r.pos.Seq < r.target {
		return 0, false
	}
	clock = r.clock + int64(now.Sub(r.clockAt)-r.opts.ClockSlack)
	return clock, r.opts.Due(max(clock, r.pos.Time), r.maxAge)
}

// add puts one message into the current batch, after closing that where it must be.
func (r *reader) add(ctx context.Context, m *nats.Msg, seq uint64, ns int64) error {
	if r.pending() {
		point := (r.cur.From/store.PointEvery + 1) * store.PointEvery
		full := r.cur.Len() >= r.opts.BatchRecords || len(r.cur.Bytes)+messageSize(m) > r.opts.BatchBytes
		var err error
		switch {
		case seq > point:
			err = r.handOn(ctx, point)
		case full:
			err = r.handOn(ctx, r.pos.Seq)
		}
		if err != nil {
			return err
		}
	}
	if r.cur == nil {
		if err := r.take(ctx); err != nil {
			return err
		}
	}
	if point := (seq - 1) / store.PointEvery * store.PointEvery; point > r.cur.From && r.cur.Len() == 0 {
		if err := r.handOn(ctx, max(point, r.pos.Seq)); err != nil {
			return err
		}
		if err := r.take(ctx); err != nil {
			return err
		}
	}
	if r.cur.Len() == 0 {
		r.cur.Arrived = time.Now()
	}
	r.rec.prefix = r.prefix
	r.rec.record(r.cur, m, seq, ns)
	r.pos.Seq = seq
	return nil
}
