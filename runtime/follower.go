package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// A follower is one generation of a fold, open, and what follows the source into it.
type follower struct {
	*Fold
	recipe  // what makes the generation; the fold's own unless another one is configured by now
	db      *store.DB
	build   atomic.Bool // nobody reads it yet
	counts  counter
	guest   atomic.Int64   // bytes of the module's instances
	heldAt  atomic.Int64   // when everything was folded last before what is under way now, by the server's clock, ns since 1970
	noted   bool           // what it took to build it is written down; owned by the supervisor
	begun   bool           // it held part of what it is built of when it was opened
	retries sync.WaitGroup // under way: see Fold.Retry
	from    *store.DB      // of the records that it is built from, nil where that is the source; owned by the supervisor until it runs
	resync  atomic.Bool    // from holds what the source does not any more, and the generation neither: see lost
	sweptOf atomic.Int64   // when the source keys of from had been compared with the stream's, as they were copied
	copying atomic.Bool    // records are being copied from from
	copied  atomic.Bool    // it was begun with records from from
	over    bool           // quarantine was over the budget that the operator lifted; owned by the committer

	// guarded by Fold.mu
	src      *source.Source  // nil until it is open
	sweeper  *sweeper        // while it runs
	alive    context.Context // ends when the follower is told to end
	swept    *SweepReport    // the last one
	startSeq uint64          // the cursor when the generation was opened
	mended   error           // the other history of the stream that the generation is being reconciled with
	paused   error           // why nothing is committed, a *Stop
}

func (f *Fold) follower(db *store.DB, build bool) *follower {
	g := &follower{Fold: f, recipe: f.recipe, db: db, startSeq: db.State().Position().Seq, begun: db.Partial()}
	g.build.Store(build)
	return g
}

// run follows the source into the generation until ctx is done, then finishes what was read. It returns nil then.
func (g *follower) run(ctx context.Context) error {
	later := g.idle()
	workers, err := g.workers(ctx, later)
	if err != nil {
		return g.unusable(err)
	}
	defer func() {
		for _, t := range workers {
			t.worker.Close(context.WithoutCancel(ctx))
		}
	}()
	if err := g.copyRecords(ctx, workers); err != nil || ctx.Err() != nil {
		return err
	}
	return g.follow(ctx, workers, later)
}

// sourceOptions say how the source is read. Where the store keeps the records, they are in what a batch yields too: it is
// smaller, so that both fit what memory a batch has.
func (g *follower) sourceOptions() source.Options {
	o := g.opt.Source
	if g.opt.KeepSource {
		o.BatchBytes = o.BatchBytes * 2 / 3
	}
	o.Due = g.due
	return o
}

func (g *follower) follow(ctx context.Context, workers []*transformer, later bool) error {
	src, err := source.Open(ctx, g.opt.Conn, g.sourceOptions())
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	g.set(func() { g.src = src })
	ctx, done := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { g.syncSeconds(ctx) })
	beside.Go(func() { g.compactLater(ctx) })
	defer beside.Wait()
	defer g.retries.Wait()
	defer done(nil)
	p := &pipeline{fold: g, db: g.db, pipe: source.NewPipe(g.opt.Batches), aside: make(chan *aside), over: make(chan struct{})}
	p.read, p.sweeper = p.feed, newSweeper(p, src)
	g.set(func() { g.sweeper, g.alive = p.sweeper, ctx })
	defer g.set(func() { g.sweeper = nil })
	at := g.db.State().Position()
	g.log.Info("fold started", "generation", g.db.Generation(), "stream", g.id.Stream, "seq", at.Seq, "build", g.build.Load())
	beside.Go(func() { p.sweeper.settleOwed(ctx) })
	if later {
		beside.Go(func() {
			if err := g.warmLater(ctx); err != nil {
				done(err)
			}
		})
	}
	if err := p.run(ctx, workers); err != nil {
		return err
	}
	if stop := (*Stop)(nil); errors.As(context.Cause(ctx), &stop) {
		return stop
	}
	at = g.db.State().Position()
	g.log.Info("fold stopped", "seq", at.Seq)
	return nil
}

// feed reads the source into the pipeline. Where the stream is found to hold another history than the one that was
// folded, and that may be mended in place, it is, and reading goes on.
func (p *pipeline) feed(ctx context.Context) error {
	for {
		err := p.sweeper.src.Run(ctx, p.db.State().Position(), p.pipe)
		stop := divergence(err)
		if stop == nil || !p.fold.mends(stop) {
			return err
		}
		p.fold.set(func() { p.fold.mended = stop })
		err = p.reconcile(ctx, stop)
		var held *Stop
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &held), errors.Is(err, store.ErrClosed):
			return err
		case err != nil: // the next proof finds the same, once the server answers
			p.fold.log.Warn("not reconciled", "code", stop.Code, "err", err)
		}
	}
}

// caughtUp says whether everything that the stream held by its leader's last word is committed.
func (g *follower) caughtUp() bool {
	g.mu.Lock()
	src := g.src
	g.mu.Unlock()
	if src == nil {
		return false
	}
	st := src.Status()
	return st.CaughtUp && st.State == source.StateReading && g.db.State().Position().Seq >= st.Seq
}

// isAway says whether the source is opened, and NATS away.
func (g *follower) isAway() bool {
	g.mu.Lock()
	src := g.src
	g.mu.Unlock()
	return src != nil && !src.Status().Connected
}

// due says whether anything expires at now, or would have to be judged anew, under the stream's MaxAge.
func (g *follower) due(now, maxAge int64) bool {
	if g.guards.off(guardClock) {
		return false
	}
	if g.opt.OnEvict == evictKeep {
		maxAge = 0
	}
	n, err := g.db.Due(now, maxAge, 1)
	return n > 0 || err != nil || g.db.State().MaxAge != maxAge
}

// workers starts one transformer a worker, each with an instance: a module that cannot start stops the fold now, unless that is
// left for later.
func (g *follower) workers(ctx context.Context, later bool) ([]*transformer, error) {
	var all []*transformer
	for range g.opt.Workers {
		all = append(all, g.transformer())
	}
	if later {
		return all, nil
	}
	return all, all[0].worker.Warm(ctx)
}

// idle says whether the module is not needed to start: it is not compiled yet, which means that it has made what serves, and it
// has folded something there.
func (g *follower) idle() bool {
	_, _, compiled := g.module.Compiled()
	return !compiled && g.startSeq > 0
}

// warmLater compiles the module and starts an instance of it once everything is folded: the start did not wait for that, and the
// first update should not. An update that comes sooner does it.
func (g *follower) warmLater(ctx context.Context) error {
	tick := time.NewTicker(gateEvery)
	defer tick.Stop()
	for !g.caughtUp() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	w := g.module.Worker()
	defer w.Close(context.WithoutCancel(ctx))
	return g.unusable(w.Warm(ctx))
}

// unusable is why a module stops the fold, nil if err is.
func (g *follower) unusable(err error) error {
	if err == nil {
		return nil
	}
	return &Stop{CodeModule, fmt.Errorf("fold %s: %w", g.opt.Name, err)}
}

func (g *follower) transformer() *transformer {
	return &transformer{worker: g.module.Worker(), module: g.module.Digest(), wantsDelete: g.module.Manifest().WantsDelete(),
		byMessage: g.opt.Source.KeyingMessage, keep: g.opt.OnEvict == evictKeep, keepsGood: g.opt.OnError == OnErrorKeep, keepsSource: g.opt.KeepSource,
		removed: map[int32]bool{}, limit: 2 * g.opt.Source.BatchBytes, guards: g.guards, turn: g.db.Turn}
}

// syncSeconds is the background half of sync = "1s".
func (g *follower) syncSeconds(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for g.dir.Sync() == store.SyncSecond {
		select {
		case <-tick.C:
			if err := g.db.Flush(); err != nil {
				g.log.Warn("sync failed", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// pause notes why nothing is committed, once; nil ends the pause.
func (g *follower) pause(why *Stop) {
	g.mu.Lock()
	changed := (g.paused == nil) != (why == nil)
	g.mu.Unlock()
	if !changed {
		return
	}
	if why == nil {
		g.set(func() { g.paused = nil })
		g.log.Info("fold goes on")
		return
	}
	g.set(func() { g.paused = why })
	g.log.Warn("fold paused", "code", why.Code, "err", why.Err, "hint", HintOf(why))
}

// running is a follower at work.
type running struct {
	*follower
	stop  context.CancelFunc
	ended chan error // has its error, once; nil when it is not at work
}

// follow sets a follower to work.
func follow(ctx context.Context, g *follower) running {
	ctx, stop := context.WithCancel(ctx)
	r := running{g, stop, make(chan error, 1)}
	go func() { r.ended <- g.run(ctx) }()
	return r
}

func (r *running) halt() {
	if r.ended != nil {
		r.stop()
		<-r.ended
		r.ended = nil
	}
}
