package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// gateEvery is how often it is asked whether a generation that is being built has caught up.
const gateEvery = 100 * time.Millisecond

// A supervisor is one call of Run. It decides which generation serves; followers do the work.
//
//	the fold has none                  build it, in the open: it serves from the start
//	it has the one that is configured  follow the source into it
//	an operator rolled back            follow the source into what he went back to, and nothing else
//	it has another one                 follow the source into it with its own module, and build the one that is configured beside it
//	a divergence, damage, an operator  build one more of the same identity beside it
//	the build has caught up            if the gates let it: switch, remove the one that was replaced; else hold
//
// What is being built stands in the fold's NEXT file, so that a restart goes on with it.
type supervisor struct {
	*Fold
	serving, building running          // of Fold.cur and Fold.next
	want              bool             // a build is to begin, as soon as no other fold builds
	moment            <-chan time.Time // when it may, nil: now
	have              bool             // this fold holds the place in builds
	previous          running          // of Fold.prev
	comparing         running          // lost, of what is being built
	ordered           bool             // what is to be built is not spread: an operator asked for it, or damaged files have it built
	overdue           <-chan time.Time // when the way back is given up
	rests             bool             // it is not followed because an earlier run was just closing it
	waits             []func() error   // what is not done under readers: see unread
	unsaid            []chan error     // replies to the commands that wait for that
	dropping          bool             // of what waits, something is to remove what NEXT names
	asked             *store.State     // of what was built, when it did not answer the gate queries
	askAfter          time.Time        // they are not asked again before
	unreadable        bool             // the records that what serves keeps could not be read
}

// Run follows the source until ctx is done, then finishes what was read. It returns nil then; a *Stop, or a
// *source.Stop, says why the fold cannot go on. Reads are served until Close. It may be called again after it has
// returned.
func (f *Fold) Run(ctx context.Context) error {
	s := &supervisor{Fold: f}
	f.set(func() { f.stopped, f.held, f.cause, f.queued = nil, nil, nil, queued{} })
	err := s.run(ctx)
	s.end()
	if err != nil && becomes(err) == nil {
		f.stop(err)
	}
	return err
}

func (s *supervisor) run(ctx context.Context) error {
	if s.broken != nil {
		return s.runBroken(ctx)
	}
	if err := s.paused(); err != nil {
		s.openIdle()
		return err
	}
	err := s.open(ctx)
	if err != nil {
		return err
	}
	if !s.want {
		s.answered.Store(0)
	}
	tick := time.NewTicker(gateEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := s.step(ctx, tick.C); err != nil {
			return err
		}
	}
	return nil
}

// step waits for one event and acts on it. Its error ends the fold.
func (s *supervisor) step(ctx context.Context, tick <-chan time.Time) error {
	var slot chan struct{}
	var ask, asked chan struct{}
	s.await()
	if len(s.waits) > 0 && s.closing == nil {
		return s.ready(ctx)
	}
	if s.want && !s.have && s.closing == nil && s.moment == nil { // what is built may be what is being closed
		slot, ask = s.builds, s.wanted
	}
	if s.previous.follower != nil {
		asked = s.wanted
	}
	var damaged <-chan struct{}
	if s.serving.follower != nil && s.building.follower == nil && !s.want && s.held == nil {
		damaged = s.serving.db.Damaged()
	}
	if s.building.ended == nil && !s.untimed() {
		tick = nil
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.serving.ended:
		s.serving.ended = nil
		return s.stopped(ctx, err)
	case <-damaged:
		return s.damaged()
	case ask <- struct{}{}: // whoever follows a way back in the place of a build rests
		return nil
	case <-asked:
		s.rest()
		return nil
	case <-s.moment:
		s.now()
		return nil
	case slot <- struct{}{}:
		s.have = true
		return s.build(ctx)
	case err := <-s.previous.ended:
		s.previous.ended = nil
		s.log.Warn("the way back is not followed", "generation", s.prev.db.Generation(), "err", err)
		s.rest()
		return nil
	case <-s.overdue:
		return s.letGo()
	case <-s.closing:
		s.closing = nil
		return s.wake(ctx)
	case err := <-s.building.ended:
		s.building.ended = nil
		return s.failed(ctx, err)
	case err := <-s.comparing.ended:
		s.comparing.stop()
		s.comparing.ended = nil
		return s.compared(ctx, err)
	case <-tick:
		if s.untimed() && s.serving.caughtUp() {
			s.serving.noteBuilt()
		}
		return s.gate(ctx)
	case c := <-s.commands:
		return s.obey(ctx, c)
	}
}

// untimed says whether the fold's first generation is being built, and what that takes is to be written down.
func (s *supervisor) untimed() bool {
	return s.serving.ended != nil && s.serving.startSeq == 0 && !s.serving.noted
}

// end lets what is at work finish.
func (s *supervisor) end() {
	for _, r := range []*running{&s.serving, &s.building} {
		r.halt()
	}
	s.said(s.cutOff())
	s.rest()
	s.release()
	s.set(func() { s.next, s.queued = nil, queued{} })
	s.shut()
}

// release lets another fold build.
func (s *supervisor) release() {
	if s.have {
		<-s.builds
		s.have = false
	}
}

// open opens the generation that serves and follows the source into it if it is the one that is configured. Where that
// cannot be, a build begins.
func (s *supervisor) open(ctx context.Context) error {
	if s.closed() { // else an earlier run is just removing something
		if err := s.dir.Tidy(s.opt.Name); err != nil {
			return &Stop{CodeStore, err}
		}
	}
	if err := s.resume(); err != nil {
		return &Stop{CodeStore, err}
	}
	have, err := s.dir.Current(s.opt.Name)
	if err != nil {
		return &Stop{CodeStore, err}
	}
	if have == "" {
		return s.first(ctx)
	}
	err = s.openCurrent(ctx, have)
	s.serving.follower = s.cur
	switch {
	case err != nil && (store.IsDamage(err) || errors.Is(err, store.ErrNoGeneration)):
		return s.begin(&Stop{CodeDamaged, err})
	case errors.Is(err, store.ErrFormat) && s.want: // an operator asked for it: nothing else begins one
		return s.begin(&Stop{CodeFormat, err})
	case err != nil:
		return &Stop{CodeOf(err), err}
	case !s.id.Has(have), s.id.Lowers(s.cur.db.Identity()) != "":
		return s.upgrade(ctx)
	}
	if err := errors.Join(s.cur.db.Raise(s.id), s.cur.db.KeepModule(s.opt.Wasm)); err != nil {
		return &Stop{CodeStore, err}
	}
	s.serving = follow(ctx, s.cur)
	err = s.recall(ctx)
	if !s.want { // else it may be on the way back
		err = errors.Join(err, s.dir.Unhold(s.opt.Name))
	}
	if err != nil {
		return &Stop{CodeStore, err}
	}
	s.spread()
	return nil
}

// resume deals with a build that an earlier run began: one that replaced the current generation is finished, one of
// what is configured goes on, any other is removed.
func (s *supervisor) resume() error {
	next, err := s.dir.Next(s.opt.Name)
	if errors.Is(err, store.ErrNext) {
		s.log.Warn("removed", "err", err)
		return s.dir.Forget(s.opt.Name)
	}
	if err != nil || next.Generation == "" {
		return err
	}
	current, err := s.dir.Current(s.opt.Name)
	if err != nil {
		return err
	}
	switched := next.Generation == current
	keeps := switched && s.keepsBack(next.Replaces, current)
	if switched && (s.removing.Load() || !keeps && !s.closed()) { // by an earlier run: it removes what was replaced, or closes it
		return nil
	}
	p, err := s.dir.Previous(s.opt.Name)
	if err != nil {
		return err
	}
	back, err := s.isRolledBack()
	if err != nil {
		return err
	}
	if s.want = s.goesOn(next, current, back); s.want {
		s.ordered = next.Asked
		s.set(func() { s.queued.generation, s.cause = next.Generation, begunFor(next) })
		if !s.id.Has(next.Generation) {
			s.set(func() { s.cause = s.goingBack(next.Generation) })
		}
		if p.Generation == next.Generation {
			return s.dir.Return(s.opt.Name, next.Asked) // which was not finished
		}
		return nil
	}
	switch {
	case keeps:
		return s.dir.Retain(s.opt.Name, time.Now().Add(s.opt.Rollback))
	case next.Generation == p.Generation: // a Return that was not finished, and is not wanted any more
		return s.dir.Forget(s.opt.Name)
	}
	return s.finish()
}

// first opens the generation of a fold that has none, and follows the source into it.
func (s *supervisor) first(ctx context.Context) error {
	db, err := s.dir.Create(s.id)
	if err != nil {
		return &Stop{CodeOf(err), err}
	}
	if err := errors.Join(db.KeepModule(s.opt.Wasm), s.dir.SetCurrent(s.opt.Name, db.Generation())); err != nil {
		return &Stop{CodeStore, errors.Join(err, db.Close())}
	}
	s.set(func() { s.cur = s.follower(db, false) })
	s.serving = follow(ctx, s.cur)
	return nil
}

// openCurrent opens the generation that serves, unless a run before has, and can still commit to it.
func (s *supervisor) openCurrent(ctx context.Context, have string) error {
	if g := s.cur; g != nil && g.db.Generation() == have && g.db.Failed() == nil {
		m := s.stray(g)
		s.set(func() { s.cur = s.follower(g.db, false) })
		return closeModule(ctx, m)
	} else if g != nil {
		if err := errors.Join(g.db.Close(), closeModule(ctx, s.stray(g))); err != nil {
			s.log.Warn("store not closed", "err", err)
		}
	}
	s.set(func() { s.cur = nil })
	db, err := s.dir.Open(s.opt.Name, have)
	if err != nil {
		return err
	}
	s.set(func() { s.cur = s.follower(db, false) })
	return nil
}

// upgrade follows the source into the generation that serves, with its own module, and has the one that is configured
// built, or says why not.
func (s *supervisor) upgrade(ctx context.Context) error {
	follows := s.goOn(ctx)
	back, err := s.isRolledBack()
	p, err2 := s.dir.Previous(s.opt.Name) // which begin may take
	if err = errors.Join(err, err2); err != nil {
		return &Stop{CodeStore, err}
	}
	var waits error
	stop := s.recipe.differs(s.cur.db.Generation(), s.cur.db.Identity())
	if s.cause != nil && isWrong(s.cause.Code) {
		stop = s.cause
	}
	standing := s.standing(back)
	standing.kept = s.keptSource(stop) != nil
	switch s.act(standing) {
	case ActContinue:
		if !back { // else on the way back there was another upgrade before
			waits = s.begin(stop)
		}
	case ActRolledBack:
		s.log.Warn("rolled back: what is configured does not serve", "generation", s.cur.db.Generation(), "hint", "foldrun apply "+s.opt.Name)
		waits = s.rolledBack()
	case ActWait:
		waits = &Stop{stop.Code, hint.Error(stop.Err, "foldrun apply %s builds it beside the one that serves; or put the old module and configuration back", s.opt.Name)}
	default:
		waits = s.begin(stop)
	}
	if !s.id.Has(p.Generation) {
		s.spread()
	}
	if !follows {
		return waits
	}
	s.set(func() { s.held = waits })
	if waits == nil {
		return nil
	}
	if err := s.recall(ctx); err != nil { // while an operator is waited for, the way back is kept as ever
		return &Stop{CodeStore, err}
	}
	return nil
}

// standing is how the fold stands, once the generation that serves is open.
func (s *supervisor) standing(back bool) standing {
	db := s.cur.db
	return standing{current: db.Generation(), identity: db.Identity(), back: back, underway: s.want, accepted: s.accepts(acceptAny)}
}

// goOn follows the source into the generation that serves, though another one is configured. It reports whether that can
// be done: where it cannot, the generation answers reads and stands still.
func (s *supervisor) goOn(ctx context.Context) bool {
	r, err := s.kept(ctx, s.cur.db)
	if err != nil {
		s.log.Warn("the generation that serves stands still until it is replaced", "generation", s.cur.db.Generation(), "err", err)
		return false
	}
	g := s.follower(s.cur.db, false)
	g.recipe = r
	s.set(func() { s.cur = g })
	s.serving = follow(ctx, g)
	return true
}
