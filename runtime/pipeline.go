package runtime

import (
	"context"
	"errors"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// slot is one batch on its way through the pipeline. It is owned by one stage at a time; done hands it from the worker
// to the committer.
type slot struct {
	in    *source.Batch
	parts []part
	spare []*store.Batch // empty batches of the store, reused
	err   error
	done  chan struct{}
}

// free returns an empty batch of the store.
func (s *slot) free(specs []store.IndexSpec) *store.Batch {
	n := len(s.spare)
	if n == 0 {
		return store.NewBatch(specs)
	}
	b := s.spare[n-1]
	s.spare = s.spare[:n-1]
	b.Reset()
	return b
}

// recycle takes the parts back.
func (s *slot) recycle() {
	for _, p := range s.parts {
		s.spare = append(s.spare, p.batch)
	}
	s.in, s.parts, s.err = nil, nil, nil
}

// pipeline is one run of a fold's stages. See the package comment.
type pipeline struct {
	fold   *Fold
	db     *store.DB
	pipe   source.Pipe
	slots  chan *slot // idle
	work   chan *slot // to the workers
	order  chan *slot // to the committer, in stream order
	flying atomic.Int32
}

// run folds from the store's cursor until ctx is done, then finishes what was read, or until something stops it.
func (p *pipeline) run(ctx context.Context, src *source.Source, workers []*transformer) error {
	n := cap(p.pipe.Free)
	p.slots, p.work, p.order = make(chan *slot, n), make(chan *slot, n), make(chan *slot, n)
	for range n {
		p.slots <- &slot{done: make(chan struct{}, 1)}
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	var sourceErr error
	all.Go(func() {
		p.stage(reading, "pull", func(ctx context.Context) { sourceErr = src.Run(ctx, p.db.State().Position(), p.pipe) })
		stop(sourceErr)
	})
	all.Go(func() { p.stage(reading, "dispatch", p.dispatch) })
	// What was read is finished even when ctx is done: workers do not see it.
	for _, t := range workers {
		all.Go(func() {
			p.stage(context.WithoutCancel(ctx), "transform", func(ctx context.Context) { p.transform(ctx, t) })
		})
	}
	var err error
	p.stage(ctx, "commit", func(ctx context.Context) { err = p.commit(ctx) })
	stop(err)
	for s := range p.order { // after an error: let the others end
		<-s.done
		p.give(s)
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

// stage runs f with labels that tell stages and folds apart in a CPU profile.
func (p *pipeline) stage(ctx context.Context, name string, f func(ctx context.Context)) {
	pprof.Do(ctx, pprof.Labels("fold", p.fold.opt.Name, "stage", name), f)
}

// dispatch hands the source's batches to the workers and, in the same order, to the committer. Once reading is over it
// hands on what is left and ends.
func (p *pipeline) dispatch(reading context.Context) {
	defer close(p.order)
	defer close(p.work)
	for {
		select {
		case b := <-p.pipe.Out:
			p.launch(b)
		case <-reading.Done():
			for {
				select {
				case b := <-p.pipe.Out:
					p.launch(b)
				default:
					return
				}
			}
		}
	}
}

func (p *pipeline) launch(b *source.Batch) {
	s := <-p.slots
	s.in = b
	p.fold.counts.inFlight(p.flying.Add(1))
	p.order <- s
	p.work <- s
}

// transform is a worker: it turns batches into parts.
func (p *pipeline) transform(ctx context.Context, t *transformer) {
	for s := range p.work {
		start := time.Now()
		s.parts, s.err = t.run(ctx, s.in, func() *store.Batch { return s.free(p.db.Indexes()) })
		p.fold.counts.transformed(time.Since(start))
		s.done <- struct{}{}
	}
}

// commit stores the batches in stream order until order is closed or something fails.
func (p *pipeline) commit(ctx context.Context) error {
	for s := range p.order {
		<-s.done
		err := s.err
		if err != nil {
			err = &Stop{CodeModule, err}
		}
		keys := 0
		for i := 0; i < len(s.parts) && err == nil; i++ {
			keys += s.parts[i].batch.Len()
			err = p.store(ctx, s.parts[i])
		}
		if err == nil {
			p.fold.counts.folded(s.in.Len(), keys)
		}
		p.give(s)
		if err != nil {
			return err
		}
	}
	return nil
}

// give returns a slot and its batch to where they came from.
func (p *pipeline) give(s *slot) {
	b := s.in
	s.recycle()
	p.slots <- s
	p.flying.Add(-1)
	p.pipe.Free <- b
}

// diskPause is how long a fold waits before it looks for free disk space again.
const diskPause = time.Second

// store commits one part. While the disk is too full it waits, and reads go on.
func (p *pipeline) store(ctx context.Context, x part) error {
	cur := p.db.State().Position()
	if len(x.pos.Anchors) == 0 {
		x.pos.Anchors, x.pos.CaughtUp = cur.Anchors, cur.CaughtUp
	}
	// The committed position must not share memory with the source's batch, which is reused.
	x.pos.Anchors = append([]store.Anchor(nil), x.pos.Anchors...)
	for {
		start := time.Now()
		done, err := p.db.Commit(x.batch, x.pos, x.pos.Time)
		switch {
		case err == nil:
			p.fold.counts.committed(done, time.Since(start))
			p.fold.pause("", nil)
			p.fold.advanced()
			return nil
		case !errors.Is(err, store.ErrDiskLow):
			if p.db.Damage() != nil {
				return &Stop{CodeDamaged, err}
			}
			return &Stop{CodeStore, err}
		}
		p.fold.pause(CodeDiskLow, err)
		select {
		case <-time.After(diskPause):
		case <-ctx.Done():
			return ctx.Err() // nothing of it was written, nor of what follows: it comes again after the restart
		}
	}
}
