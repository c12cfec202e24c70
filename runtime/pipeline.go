package runtime

import (
	"context"
	"errors"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// slot is one batch on its way through the pipeline: its worker sends parts, the committer takes them and gives their
// batches back. A worker waits for the committer only when a batch has more than two parts, so that what a batch
// yields does not grow with what its module makes of it.
type slot struct {
	in    *source.Batch
	parts chan part
	spare chan *store.Batch // empty
}

func newSlot(specs []store.IndexSpec) *slot {
	const batches = 2
	s := &slot{parts: make(chan part, batches), spare: make(chan *store.Batch, batches)}
	for range batches {
		s.spare <- store.NewBatch(specs)
	}
	return s
}

// pipeline is one run of a fold's stages. See the package comment.
type pipeline struct {
	fold   *follower
	db     *store.DB
	pipe   source.Pipe
	slots  chan *slot // idle
	work   chan *slot // to the workers
	order  chan *slot // to the committer, in stream order
	flying atomic.Int32

	aside   chan *aside   // to the committer: what the host infers
	over    chan struct{} // closed when the committer takes no more
	watch   atomic.Pointer[watch]
	read    func(context.Context) error // hands batches to pipe until its context is done, or all is read
	sweeper *sweeper                    // nil where the updates are not the stream's
	copies  *store.Copying              // the updates are records that another store keeps

	empty *store.Batch // owned by the committer
}

// An aside is what the host infers, not what the stream says: a commit that leaves the cursor where it is. The
// committer takes it between two batches. Only a rewind moves the cursor.
type aside struct {
	batch *store.Batch    // nil: what waits is to be stored
	watch *watch          // if not nil: it is dropped when an update of the key was committed since
	to    *store.Position // if not nil: where the cursor goes
	done  chan struct{}   // closed when it is stored, or why not is known
	did   store.Committed
	err   error
}

// A watch has the committer note whether it commits an update of a source key.
type watch struct {
	key     []byte
	touched bool // owned by the committer
}

// run folds from the store's cursor until ctx is done, then finishes what was read, or until something stops it.
func (p *pipeline) run(ctx context.Context, workers []*transformer) error {
	p.db.Discard() // what an earlier run left waiting: it is read again
	p.empty = store.NewBatch(p.db.Indexes())
	n := cap(p.pipe.Free)
	p.slots, p.work, p.order = make(chan *slot, n), make(chan *slot, n), make(chan *slot, n)
	for range n {
		p.slots <- newSlot(p.db.Indexes())
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	var sourceErr error
	read := make(chan struct{}) // closed when the source has handed on its last batch
	all.Go(func() {
		defer close(read)
		p.stage(reading, "pull", func(ctx context.Context) { sourceErr = p.read(ctx) })
		stop(sourceErr)
	})
	all.Go(func() { p.dispatch(read) })
	if p.sweeper != nil {
		all.Go(func() { p.sweeper.run(reading) })
	}
	// What was read is finished even when ctx is done, if that does not take long: it comes again after the restart.
	working, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, abandon) })()
	for _, t := range workers {
		all.Go(func() {
			p.stage(working, "transform", func(ctx context.Context) { p.transform(ctx, t) })
		})
	}
	var err error
	p.stage(ctx, "commit", func(ctx context.Context) { err = p.commit(ctx) })
	close(p.over)
	stop(err)
	for s := range p.order { // after an error: let the others end
		p.drop(s)
	}
	all.Wait()
	switch {
	case err != nil && !errors.Is(err, ctx.Err()):
		return err
	case ctx.Err() != nil:
		return nil
	}
	return sourceErr
}

// stopGrace is how long a fold that is told to end goes on with what it has read.
const stopGrace = 3 * time.Second

// stage runs f with labels that tell stages and folds apart in a CPU profile.
func (p *pipeline) stage(ctx context.Context, name string, f func(ctx context.Context)) {
	pprof.Do(ctx, pprof.Labels("fold", p.fold.opt.Name, "stage", name), f)
}

// dispatch hands the source's batches to the workers and, in the same order, to the committer, until all is read.
func (p *pipeline) dispatch(read <-chan struct{}) {
	defer close(p.order)
	defer close(p.work)
	for {
		select {
		case b := <-p.pipe.Out:
			p.launch(b)
			continue
		case <-read:
		}
		select {
		case b := <-p.pipe.Out:
			p.launch(b)
		default:
			return
		}
	}
}

func (p *pipeline) launch(b *source.Batch) {
	if !b.Arrived.IsZero() {
		p.fold.counts.pulled(time.Since(b.Arrived))
	}
	s := <-p.slots
	s.in = b
	if p.fold.tamper != nil {
		p.fold.tamper(b)
	}
	flying := p.flying.Add(1)
	if flying == 1 && p.sweeper != nil {
		p.fold.heldAt.Store(nanos(p.sweeper.src.Status().CaughtUpAt))
	}
	p.fold.counts.inFlight(flying)
	p.order <- s
	p.work <- s
}

// transform is a worker: it turns batches into parts.
func (p *pipeline) transform(ctx context.Context, t *transformer) {
	var was plugin.Stats
	for s := range p.work {
		start := time.Now()
		t.run(ctx, s)
		is := t.worker.Stats()
		p.fold.counts.transformed(time.Since(start), is, was)
		p.fold.guest.Add(int64(is.Memory) - int64(was.Memory))
		was = is
	}
	p.fold.guest.Add(-int64(was.Memory))
}

// While a fold is far behind, commits wait in memory for those that follow, and many are stored at once (store.Batch.More).
const (
	farBehind  = store.PointEvery // seqs; a stream that is smaller is folded as it is followed
	mostWait   = 5 * time.Second  // what waits longer is stored with the next commit: a slow module shows its progress, and a crash costs little
	settleWait = time.Second      // what waits is stored when nothing comes for so long
)

// commit stores the batches in stream order until order is closed or something fails.
func (p *pipeline) commit(ctx context.Context) error {
	for {
		var quiet <-chan time.Time
		if p.db.Waiting() {
			quiet = time.After(settleWait)
		}
		var err error
		select {
		case s, more := <-p.order:
			if !more {
				return p.settle(ctx)
			}
			err = p.batch(ctx, s)
		case a := <-p.aside:
			err = p.beside(ctx, a)
		case <-p.db.Stored():
			p.fold.set(func() {}) // the cursor moved
		case <-quiet:
			err = p.settle(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// settle stores what waits.
func (p *pipeline) settle(ctx context.Context) error {
	if !p.db.Waiting() {
		return nil
	}
	s := p.db.Ahead()
	p.empty.Reset()
	p.empty.MaxAge = s.MaxAge
	_, err := p.store(ctx, part{batch: p.empty, pos: s.Position(), clock: s.ExpiredTo})
	return err
}

// mayWait says whether a commit that brings the cursor to seq may wait for those that follow it.
func (p *pipeline) mayWait(seq uint64) bool {
	if p.db.Waiting() && time.Since(p.db.Waited()) > mostWait {
		return false
	}
	if p.sweeper == nil {
		return p.copies != nil
	}
	return p.sweeper.src.LastSeq() >= seq+p.fold.farBehind
}

// hand gives an aside to the committer, and waits until it is stored.
func (p *pipeline) hand(ctx context.Context, a *aside) error {
	a.done = make(chan struct{})
	select {
	case p.aside <- a:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.over:
		return store.ErrClosed
	}
	<-a.done
	return a.err
}

// beside stores what the host inferred, after what waits: it is inferred from what is stored, or from more.
func (p *pipeline) beside(ctx context.Context, a *aside) error {
	defer close(a.done)
	if a.err = p.settle(ctx); a.err != nil {
		return a.err
	}
	if a.watch != nil && a.watch.touched || a.batch == nil {
		return nil
	}
	s := p.db.State()
	a.batch.MaxAge, a.batch.Copy = s.MaxAge, p.copies
	x := part{batch: a.batch, pos: s.Position()}
	if a.to != nil {
		x.batch.Rewind, x.pos = true, *a.to
	}
	a.did, a.err = p.store(ctx, x)
	return a.err
}

// batch stores the parts of one slot, and gives it back.
func (p *pipeline) batch(ctx context.Context, s *slot) error {
	p.fold.counts.store()
	for keys := 0; ; {
		x := <-s.parts
		err := x.err
		if err != nil {
			err = &Stop{CodeModule, err}
		} else {
			keys += x.batch.Len()
			if w := p.watch.Load(); w != nil && x.batch.Has(w.key) {
				w.touched = true
			}
			x.batch.More = p.mayWait(x.pos.Seq)
			if p.copies != nil {
				x.batch.Copy, x.pos, x.clock = p.copies, p.db.Ahead().Position(), p.copies.From.ExpiredTo
			}
			if _, err = p.store(ctx, x); err == nil && len(x.codes) > 0 {
				p.fold.counts.failed(x.codes)
			}
		}
		s.spare <- x.batch
		switch {
		case err != nil && !x.last:
			p.drop(s)
			return err
		case !x.last:
			continue
		case err == nil:
			p.fold.counts.folded(s.in.Len(), keys)
		}
		p.give(s)
		return err
	}
}

// drop takes what is left of a slot without storing it, and gives the slot back.
func (p *pipeline) drop(s *slot) {
	for {
		x := <-s.parts
		s.spare <- x.batch
		if x.last {
			p.give(s)
			return
		}
	}
}

// give returns a slot and its batch to where they came from.
func (p *pipeline) give(s *slot) {
	b := s.in
	s.in = nil
	p.slots <- s
	p.flying.Add(-1)
	p.pipe.Free <- b
}

// diskPause is how long a fold waits before it looks for free disk space again.
const diskPause = time.Second

// store commits one part. While the disk is too full it waits, and reads go on. Failures that the fold's policies do not
// let pass end it, before anything of the part is written.
func (p *pipeline) store(ctx context.Context, x part) (done store.Committed, err error) {
	cur := p.db.Ahead().Position()
	if len(x.pos.Anchors) == 0 && !x.batch.Rewind {
		x.pos.Anchors, x.pos.CaughtUp = cur.Anchors, max(x.pos.CaughtUp, cur.CaughtUp)
	}
	// The committed position must not share memory with the source's batch, which is reused.
	x.pos.Anchors = append([]store.Anchor(nil), x.pos.Anchors...)
	x.batch.Halt, x.batch.Budget, x.batch.Quota = p.fold.opt.OnError == OnErrorHalt, p.fold.budget(), p.fold.opt.DiskQuota
	for stored := false; ; {
		start := time.Now()
		did, err := p.db.Commit(x.batch, x.pos, x.clock)
		if err == nil && !stored {
			done, stored = did, true
		}
		switch {
		case err == nil:
			p.fold.counts.committed(did, time.Since(start))
			p.fold.pause(nil)
			p.fold.within()
			if p.db.Waiting() {
				p.fold.counts.waited()
				return done, nil // what is due by x.clock is not here, or it would not wait
			}
			p.fold.set(func() {}) // the cursor moved
			maxAge := x.batch.MaxAge
			if s := p.db.State(); s.ExpiredTo >= x.clock && s.MaxAge == maxAge || len(p.order) > 0 {
				return done, nil
			}
			x.batch.Reset() // more was due than one commit holds, and nothing else waits
			x.batch.MaxAge, x.batch.Quota = maxAge, p.fold.opt.DiskQuota
			continue
		case errors.Is(err, store.ErrDiskLow):
			p.fold.pause(&Stop{CodeDiskLow, hint.Error(err, "free space there, or lower [store] min_free_disk, or memory, of which memtables are a part: the fold goes on by itself")})
		case errors.Is(err, store.ErrQuota):
			p.fold.pause(&Stop{CodeQuota, hint.Error(err, "raise disk_quota of fold %s and foldrun reload, or give up its way back, with rollback_window = \"\": foldrun generations %s says what takes it", p.fold.opt.Name, p.fold.opt.Name)})
		default:
			return done, p.stopped(err)
		}
		select {
		case <-time.After(diskPause):
		case <-ctx.Done():
			return done, ctx.Err() // nothing of it was written, nor of what follows: it comes again after the restart
		}
	}
}

// stopped returns what a commit that failed for good makes of the fold.
func (p *pipeline) stopped(err error) *Stop {
	if stop := p.fold.refused(err); stop != nil {
		return stop
	}
	if p.db.Damage() != nil {
		return &Stop{CodeDamaged, err}
	}
	return &Stop{CodeStore, err}
}
