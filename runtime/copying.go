package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// With keep_source a generation is built from the records that the one that serves keeps, without its source: those of one
// snapshot, in the order of their source keys, through the workers and the committer of any fold. The last commit takes over
// the snapshot's position, and from there the source is followed.
//
// Where a run before was interrupted, or what is built has to be brought up to a newer snapshot, what stands already as the
// snapshot has it is passed over, and what it has not is removed. Nothing is read that is not in the snapshot, so what is
// there in the end is a function of it alone.
//
// With on_evict = "keep" the source has forgotten some of it, and may forget more while a snapshot is copied: a newer one is
// copied then until that takes a moment, and before the switch it is asked whether what serves holds a record that the
// source did not show to what was built: see lost.

// shortCopy is how long the last copying may take that no other one follows, with on_evict = "keep".
const shortCopy = time.Second

// errRecords says that the records which are kept cannot be read.
var errRecords = errors.New("runtime: the records that the generation which serves keeps cannot be read")

// copies says whether a generation of what is configured can be built from the records that one of another identity keeps:
// they are those of its source, and all that its module is to see. A module that is shown no deletes has no markers kept.
func (r *recipe) copies(from store.Identity) bool {
	is := &r.id
	return from.KeepSource && from.Stream == is.Stream && from.Domain == is.Domain && from.Filter == is.Filter && from.Keying == is.Keying &&
		(from.OnEvict == is.OnEvict || from.OnEvict != evictKeep) && (wantsDelete(from) || !wantsDelete(*is))
}

// keptSource returns the store whose records a build that begins because of cause reads instead of the source, nil if it reads
// the source: what serves is damaged then, of another history of the stream, or has not the records.
func (s *supervisor) keptSource(cause *Stop) *store.DB {
	if s.cur == nil || s.unreadable || s.cur.db.Damage() != nil || s.cur.db.State().Position().Stream == "" || !s.recipe.copies(s.cur.db.Identity()) {
		return nil
	}
	if cause != nil && isWrong(cause.Code) {
		return nil
	}
	return s.cur.db
}

// copyRecords builds the generation from the records of g.from, if it is at the beginning, or behind in what only they have.
func (g *follower) copyRecords(ctx context.Context, workers []*transformer) error {
	behind := g.resync.Swap(false)
	if g.from == nil || g.db.State().Position().Stream != "" && !behind {
		return nil
	}
	if err := g.db.NoteCopied(g.from.Generation()); err != nil {
		return &Stop{CodeStore, err}
	}
	if !behind {
		g.copied.Store(true)
	}
	g.copying.Store(true)
	defer g.copying.Store(false)
	for ctx.Err() == nil {
		began := time.Now()
		at, err := g.copySnapshot(ctx, workers)
		if err != nil || ctx.Err() != nil {
			return err
		}
		took := time.Since(began)
		g.log.Info("built from the records that are kept", "generation", g.db.Generation(), "of", g.from.Generation(), "seq", at, "live", g.db.State().Live, "took", took)
		if g.opt.OnEvict != evictKeep || took < shortCopy || g.from.State().Position().Seq == at {
			return nil
		}
	}
	return nil
}

// copySnapshot brings the generation to what g.from is now, and returns where that is.
func (g *follower) copySnapshot(ctx context.Context, workers []*transformer) (seq uint64, err error) {
	v, err := g.from.Pin()
	if err != nil {
		return 0, err
	}
	defer v.Close()
	to, at := v.State().Position(), g.db.State().Position()
	if at.Stream != "" && (to.Seq < at.Seq || to.Created != at.Created) {
		return at.Seq, nil // it is not behind that any more
	}
	c := &copier{view: v, out: store.NewBatch(g.db.Indexes())}
	c.pipe = &pipeline{fold: g, db: g.db, pipe: source.NewPipe(g.opt.Batches), aside: make(chan *aside), over: make(chan struct{}),
		read: c.read, copies: &store.Copying{From: v.State()}}
	if err := c.pipe.run(ctx, workers); err != nil || ctx.Err() != nil {
		return 0, err
	}
	last := part{batch: c.out, pos: to, clock: v.State().ExpiredTo}
	c.out.Reset()
	c.out.Copy, c.out.MaxAge = &store.Copying{From: v.State(), Last: true}, c.maxAge()
	_, err = c.pipe.store(ctx, last)
	g.sweptOf.Store(v.State().Swept)
	return to.Seq, err
}

// A copier feeds a pipeline with the records of a view.
type copier struct {
	pipe *pipeline
	view *store.View // of the store that keeps them
	out  *store.Batch
	now  *source.Batch // that is being filled; nil while there is none
}

// maxAge is the stream's, as the other store judged by it last.
func (c *copier) maxAge() int64 {
	if c.pipe.fold.opt.OnEvict == evictKeep {
		return 0
	}
	return c.view.State().MaxAge
}

// read hands all that differs from what stands to the pipeline.
func (c *copier) read(ctx context.Context) error {
	if c.pipe.db.State().Live == 0 {
		return c.fill(ctx, nil)
	}
	v, err := c.pipe.db.Pin() // it stays for as long as the copying takes
	if err != nil {
		return err
	}
	defer v.Close()
	if err := c.prune(ctx, v); err != nil {
		return err
	}
	find, err := v.Finder()
	if err != nil {
		return err
	}
	defer find.Close()
	return c.fill(ctx, find)
}

// prune removes what the other store has not.
func (c *copier) prune(ctx context.Context, v *store.View) error {
	find, err := c.view.Finder()
	if err != nil {
		return fmt.Errorf("%w: %w", errRecords, err)
	}
	defer find.Close()
	c.out.Reset()
	remove := func() error {
		if c.out.Len() == 0 {
			return nil
		}
		defer c.out.Reset()
		return c.pipe.hand(ctx, &aside{batch: c.out})
	}
	var bad error
	err = v.Lineages(nil, func(l store.Lineage) bool {
		_, found, err := find.Find(l.Source)
		if err != nil {
			bad = fmt.Errorf("%w: %w", errRecords, err)
			return false
		}
		if !found {
			c.out.RemoveIf(l.Source, l.Seq)
		}
		if c.out.Len() >= staleChunk {
			bad = remove()
		}
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return err
	}
	return remove()
}

// fill hands the records to the pipeline, but those that stand already: find finds what does.
func (c *copier) fill(ctx context.Context, find *store.Finder) error {
	var bad error
	err := c.view.Records(nil, func(r store.Record) bool {
		if find != nil {
			l, found, err := find.Find(r.Source)
			if bad = err; err != nil || found && l.Seq == r.Seq && l.Time == r.Time {
				return err == nil
			}
		}
		bad = c.add(ctx, &r)
		return bad == nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errRecords, err)
	case bad != nil:
		return bad
	}
	return c.flush(ctx)
}

// add puts a record into the batch in hand, after handing that on if it is full.
func (c *copier) add(ctx context.Context, r *store.Record) error {
	o := c.pipe.fold.sourceOptions()
	if o.BatchRecords == 0 {
		o.BatchRecords = recordsOfCopy
	}
	if b := c.now; b != nil && (b.Len() >= o.BatchRecords || len(b.Bytes)+len(r.Bytes) > o.BatchBytes) {
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	if c.now == nil {
		select {
		case c.now = <-c.pipe.pipe.Free:
		case <-ctx.Done():
			return ctx.Err()
		}
		s := c.view.State()
		c.now.Reset()
		c.now.Pos, c.now.Clock, c.now.MaxAge, c.now.Arrived = s.Position(), s.ExpiredTo, s.MaxAge, time.Now()
	}
	if err := decodeRecord(c.now, r); err != nil {
		return fmt.Errorf("%w: that of %q: %w", errRecords, bytes.Clone(r.Source), err)
	}
	return nil
}

// recordsOfCopy is how many records one batch holds, at most: as many as one of the source.
const recordsOfCopy = 16384

// flush hands on the batch in hand.
func (c *copier) flush(ctx context.Context) error {
	if c.now == nil {
		return nil
	}
	select {
	case c.pipe.pipe.Out <- c.now:
		c.now = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// What lost says.
var (
	errSooner = errors.New("runtime: what serves has not folded as far as what it is compared with")
	errLost   = errors.New("runtime: what serves holds a record that what was built does not")
)

// lost returns errLost if what serves holds a record, of those that both have folded, that what was built does not: the source
// showed it to the one and had evicted it before the other came. It is for on_evict = "keep".
func lost(ctx context.Context, serves, built *store.DB) error {
	is, err := built.Pin()
	if err != nil {
		return err
	}
	defer is.Close()
	was, err := serves.Pin()
	if err != nil {
		return err
	}
	defer was.Close()
	to := is.State().Position()
	switch at := was.State().Position(); {
	case at.Created != to.Created:
		return nil // of another history, which an operator accepted
	case at.Seq < to.Seq:
		return errSooner
	}
	find, err := is.Finder()
	if err != nil {
		return err
	}
	defer find.Close()
	var why error
	err = was.Lineages(nil, func(l store.Lineage) bool {
		if l.Seq > to.Seq {
			return true
		}
		x, found, err := find.Find(l.Source)
		if why = errors.Join(err, ctx.Err()); why == nil && (!found || x.Seq < l.Seq) {
			why = errLost
		}
		return why == nil
	})
	return errors.Join(err, why)
}
