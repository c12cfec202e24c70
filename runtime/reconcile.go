package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// mends says whether a generation whose stream holds another history is mended in place, and not replaced.
func (g *follower) mends(stop *source.Stop) bool {
	switch {
	case g.opt.OnEvict == evictKeep && (g.isPrevious() || g.build.Load() && !g.accepts(stop.Created)):
		return false // it would lose what its stream evicted, unasked
	case g.build.Load():
		return g.opt.OnDiverged != DivergedHalt || g.accepts(stop.Created) || g.answered.Load() == stop.Created
	case g.accepts(stop.Created):
		return g.opt.OnDiverged != DivergedRebuild || stop.Anchored
	case g.opt.OnEvict == evictKeep, g.opt.OnDiverged == DivergedHalt:
		return false
	}
	return g.opt.OnDiverged == DivergedReconcile || stop.Anchored
}

// isPrevious says whether a generation is kept as the way back.
func (g *follower) isPrevious() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.prev == g
}

// A reconcile makes a generation agree again with a stream that holds another history than the one that was folded. The
// source does not run meanwhile, and nothing of it is in flight.
//
//	list the stream, and note which lineages have their message in it
//	stop where that would lose too much
//	remove the other lineages, with their rows
//	list the stream again, up to the first message that is not folded; the cursor goes back to before it
//
// From there the source is read as ever. What stands already is not written again. A crash in between leaves the cursor
// where it was, so that the next start finds the same divergence and reconciles again.
type reconcile struct {
	*sweep
	created int64  // of the stream
	seen    seqSet // of lineages whose source key the stream has a message of
	fresh   uint64 // puts of source keys without a lineage
	first   uint64 // the first message that is not folded
	last    store.Anchor
	at      int64 // the time of the message at last
}

// errFound ends a listing.
var errFound = errors.New("runtime: found")

func (p *pipeline) reconcile(ctx context.Context, stop *source.Stop) error {
	p.fold.log.Warn("reconciling with another history of the stream", "code", stop.Code, "reason", stop.Text)
	if err := p.drain(ctx); err != nil {
		return err
	}
	p.sweeper.busy.Lock()
	defer p.sweeper.busy.Unlock()
	now, err := p.sweeper.src.Adopt(ctx)
	if err != nil {
		return err
	}
	x := &reconcile{sweep: p.sweeper.newSweep(stop.Code, now.LastSeq), created: now.Created}
	x.report.Repair, x.keep = true, false
	for _, step := range []func(context.Context) error{x.marks, x.gate, x.prune, x.search} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	pos := x.position(now)
	x.out.Reset()
	if err := x.commit(ctx, &aside{batch: x.out, to: &pos}); err != nil {
		return err
	}
	p.fold.accept.Store(0)
	p.fold.set(func() { p.fold.mended = nil })
	p.sweeper.wanted.Store(true) // what was removed while the stream was listed
	p.fold.log.Warn("reconciled", "code", stop.Code, "matched", x.matched.len(), "removed", x.report.Stale, "cursor", pos.Seq, "last_seq", now.LastSeq)
	return nil
}

// drain waits until no batch of the source is in flight and none waits to be stored.
func (p *pipeline) drain(ctx context.Context) error {
	var all []*source.Batch
	defer func() {
		for _, b := range all {
			p.pipe.Free <- b
		}
	}()
	for range cap(p.pipe.Free) {
		select {
		case b := <-p.pipe.Free:
			all = append(all, b)
		case <-p.over:
			return store.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.sweeper.commit(ctx, &aside{})
}

// marks notes which lineages have their message in the stream.
func (x *reconcile) marks(ctx context.Context) error {
	return x.src.List(ctx, x.upTo, x.batch, func() error {
		return x.each(func(i int, l store.Lineage, found bool) {
			u := &x.batch.Records[i]
			switch {
			case found:
				x.seen.add(l.Seq)
			case u.Op == abi.OpPut || x.wantsDelete:
				x.fresh++
			}
			if found && l.Seq == u.Seq && l.Time == u.Time {
				x.matched.add(l.Seq)
			}
		})
	})
}

// gate refuses to lose more than half of the live source keys, unless the operator accepts that or nobody reads them.
func (x *reconcile) gate(context.Context) error {
	live, keep := x.pipe.db.State().Live, uint64(x.seen.len())+x.fresh
	if x.fold.build.Load() || x.fold.accepts(x.created) || !tooFew(keep, live) {
		return nil
	}
	return &Stop{CodeHeld, hint.Error(ofStream{fmt.Errorf("the stream holds another history (%s), with messages for %d source keys at most, and %d are live: %w",
		x.report.Reason, keep, live, errFewer), x.created},
		"if that is as it should be: foldrun resume %s --accept-loss; else mend the source, then: foldrun resume %s", x.fold.opt.Name, x.fold.opt.Name)}
}

// prune removes the lineages that have no message in the stream.
func (x *reconcile) prune(ctx context.Context) error {
	upTo := x.upTo
	defer func() { x.upTo = upTo }()
	x.upTo = math.MaxUint64
	return x.stale(ctx)
}

// search finds the first message that is not folded, and the last one before it.
func (x *reconcile) search(ctx context.Context) error {
	err := x.src.List(ctx, x.upTo, x.batch, func() error {
		if err := x.each(x.look); err != nil {
			return err
		}
		x.note()
		if x.first > 0 {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return nil
	}
	return err
}

// look notes a message that is not folded.
func (x *reconcile) look(i int, l store.Lineage, found bool) {
	u := &x.batch.Records[i]
	put := u.Op == abi.OpPut || x.wantsDelete
	state := x.pipe.db.State()
	switch {
	case found && l.Seq >= u.Seq, !found && (!put || state.Gone(u.Time, x.batch.Expiry(i))):
		return
	case x.first == 0 || u.Seq < x.first:
		x.first = u.Seq
	}
}

// note keeps the last message of the listed batch that lies before the first that is not folded.
func (x *reconcile) note() {
	for i := x.batch.Len() - 1; i >= 0; i-- {
		if u := &x.batch.Records[i]; x.first == 0 || u.Seq < x.first {
			x.last, x.at = source.AnchorOf(x.batch, i), u.Time
			return
		}
	}
}

// position returns where the cursor goes: before the first message that is not folded.
func (x *reconcile) position(now source.Incarnation) store.Position {
	was := x.pipe.db.State().Position()
	pos := store.Position{Stream: was.Stream, Domain: was.Domain, Created: now.Created, Seq: x.upTo}
	if x.first > 0 {
		pos.Seq = x.first - 1
	}
	if x.last.Seq > 0 {
		pos.Time, pos.Anchors = x.at, []store.Anchor{x.last}
	} else {
		pos.Seq = 0 // nothing would prove the stream
	}
	return pos
}

// inOrder puts into x.order the listed messages in the order of their source keys.
func (x *sweep) inOrder() {
	x.order = x.order[:0]
	for i := range x.batch.Records {
		x.order = append(x.order, int32(i))
	}
	if !x.fold.opt.Source.KeyingMessage {
		slices.SortStableFunc(x.order, func(i, j int32) int { return bytes.Compare(x.batch.Key(int(i)), x.batch.Key(int(j))) })
	}
}
