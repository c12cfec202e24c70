package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// begin asks for a build. cause is nil when an operator asked for it. An error ends the fold.
func (s *supervisor) begin(cause *Stop) error {
	if cause != nil {
		if err := s.guarded(cause); err != nil {
			return err
		}
		if s.opt.OnEvict == evictKeep && !s.accepts(foundCreated(cause)) && s.keptSource(cause) == nil {
			return &Stop{cause.Code, hint.Error(cause.Err, "with on_evict = \"keep\" rows that the stream no longer holds would be lost: "+
				"foldrun resume %s --accept-loss builds the fold anew from what the stream holds", s.opt.Name)}
		}
		s.log.Warn("building anew", "code", cause.Code, "err", cause.Err)
		s.set(func() { s.cause = cause })
	}
	if s.want = s.building.follower == nil; s.want {
		if err := s.fits(s.dropping); err != nil {
			s.want = false
			return err
		}
		s.rest()
		s.overdue = nil
		return s.unread(func() error { // the way back may be removed
			if _, err := s.prepare(s.ordered); err != nil {
				return &Stop{CodeStore, err}
			}
			return nil
		})
	}
	return nil
}

// attempt begins a build that an operator asks for. Where it cannot be begun nothing changes, if the source is followed.
func (s *supervisor) attempt(cause *Stop) (refused, failed error) {
	held, was := s.held, s.cause
	s.ordered = true
	err := s.begin(cause)
	s.now()
	if err == nil {
		s.set(func() { s.held = nil })
		return nil, nil
	}
	s.want, s.ordered = false, false
	if s.serving.ended == nil {
		return nil, err
	}
	s.set(func() { s.held, s.cause, s.queued = held, was, queued{} })
	return err, nil
}

// guarded returns why a build of what is configured does not begin by itself, though what serves cannot go on: an operator
// went back from it, or has the word on upgrades.
func (s *supervisor) guarded(cause *Stop) error {
	if cause.Code == CodeIdentity || cause.Code == CodeFormat || s.want {
		return nil
	}
	have, err := s.dir.Current(s.opt.Name)
	if err != nil || have == "" || s.id.Has(have) {
		return err
	}
	back, err := s.isRolledBack()
	if err != nil || !back && s.opt.Upgrade != UpgradeManual {
		return err
	}
	return &Stop{cause.Code, hint.Error(cause.Err, "what serves cannot go on, and what is configured is another generation: foldrun apply %s builds it", s.opt.Name)}
}

// returns says whether what is to be built is the way back.
func (s *supervisor) returns() bool {
	next, err := s.dir.Next(s.opt.Name)
	return err == nil && next.Generation != "" && !s.id.Has(next.Generation)
}

// build opens the generation that is to be built, and follows the source into it.
func (s *supervisor) build(ctx context.Context) error {
	s.want = false
	g, err := s.openNext(ctx)
	if !s.returns() && (store.IsDamage(err) || errors.Is(err, store.ErrLimits) || errors.Is(err, errPartial)) { // what an earlier run left of it
		err = s.dir.Finish(s.opt.Name)
		if err == nil {
			g, err = s.openNext(ctx)
		}
	}
	if err != nil {
		return s.failed(ctx, &Stop{CodeOf(err), err})
	}
	g.db.Yield(s.cur != nil)
	s.set(func() { s.next, s.held, s.queued = g, nil, queued{} })
	s.building = follow(ctx, g)
	return nil
}

func (s *supervisor) openNext(ctx context.Context) (*follower, error) {
	next, err := s.prepare(s.ordered)
	if err != nil {
		return nil, err
	}
	if !s.id.Has(next.Generation) {
		return s.openKept(ctx, next.Generation)
	}
	db, err := s.dir.Build(s.id, store.Number(next.Generation))
	if err != nil {
		return nil, err
	}
	if err := db.KeepModule(s.opt.Wasm); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	g := s.follower(db, true)
	g.from = s.keptSource(s.cause)
	switch begun := db.State().Position().Stream != ""; {
	case g.from == nil && db.Partial():
		return nil, errors.Join(errPartial, db.Close())
	case g.from != nil && begun && db.CopiedFrom() != g.from.Generation():
		g.from = nil // it was built of the stream
	}
	return g, nil
}

// errPartial says that a build began with records that cannot be had any more.
var errPartial = errors.New("runtime: part of what an earlier run built is of records that cannot be read now")

// prepare returns the generation that is to be built, and notes it in NEXT if none is yet: a build that waits for that of
// another fold survives a restart too. There it says too whether an operator asked for it, and what is wrong with what it replaces.
func (f *Fold) prepare(asked bool) (next store.Next, err error) {
	current, err := f.dir.Current(f.opt.Name)
	if err != nil {
		return next, err
	}
	next, err = f.dir.Next(f.opt.Name)
	if err == nil && next.Generation != "" && next.Generation == current { // what it replaced could not be removed
		err = f.dir.Finish(f.opt.Name)
		next = store.Next{}
	}
	if err == nil && next.Generation == "" {
		next, err = f.way(asked)
	}
	if err != nil {
		return next, err
	}
	noted := next
	if next.Generation == "" {
		next.Replaces = current
		if next.Generation, err = f.vacant(); err != nil {
			return next, err
		}
	}
	f.set(func() {
		f.queued.generation = next.Generation
		next.Asked = next.Asked || asked
		if c := f.cause; c != nil && isWrong(c.Code) {
			next.Cause, next.Created = c.Code, foundCreated(c)
		}
	})
	if next == noted {
		return next, nil
	}
	return next, f.dir.Begin(f.opt.Name, next)
}

// vacant returns the name of the next generation of what is configured.
func (f *Fold) vacant() (string, error) {
	n, err := f.dir.Vacant(f.id)
	if err != nil {
		return "", err
	}
	return f.id.Build(n)
}

// isWrong says whether a code is that what serves is wrong, and is not to be built of again.
func isWrong(code string) bool { return code == CodeDamaged || isDivergence(code) }

// begunFor is why an earlier run began a build, nil where that is not what was wrong with what it replaces.
func begunFor(next store.Next) *Stop {
	if next.Cause == "" {
		return nil
	}
	err := ofStream{fmt.Errorf("generation %s is built in the place of %s: an earlier run found that", next.Generation, next.Replaces), next.Created}
	return &Stop{next.Cause, hint.Error(err, "foldrun status says how far it is")}
}

// failed notes that the build ended: the fold holds until an operator has it begun again. What serves goes on, and follows
// the source if it did. Where nothing serves, the fold ends.
func (s *supervisor) failed(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, errRecords) && s.building.follower != nil {
		return s.fromSource(err)
	}
	code, text := Describe(err)
	s.answered.Store(0)
	s.release()
	s.log.Error("build stopped", "code", code, "err", text, "hint", HintOf(err))
	s.shut()
	if s.cur == nil {
		s.set(func() { s.next, s.queued = nil, queued{} })
		return err
	}
	still := "what serves follows the source meanwhile"
	if s.serving.ended == nil {
		still = "what serves answers reads and stands still"
	}
	held := &Stop{code, hint.Error(ofStream{fmt.Errorf("the build of the next generation stopped, %s: %s", still, text), foundCreated(err)}, "%s", HintOf(err))}
	s.set(func() { s.next, s.held, s.queued = nil, held, queued{} })
	return nil
}

// fromSource begins a build anew, from the source, whose records could not be read where they are kept. With on_evict = "keep"
// that is not what an operator asked for either.
func (s *supervisor) fromSource(err error) error {
	s.unreadable = true
	s.log.Warn("built anew from the source", "err", err)
	if err := s.drop(); err != nil {
		return &Stop{CodeStore, err}
	}
	cause := s.cause
	if cause == nil && s.opt.OnEvict == evictKeep {
		cause = &Stop{CodeDamaged, err}
	}
	refused, failed := s.attempt(cause)
	if refused != nil {
		s.set(func() { s.held = refused })
	}
	return failed
}

// change makes the generation that was built the one that serves. The one that was replaced is kept as the way back, or
// removed once its readers are gone.
func (s *supervisor) change(ctx context.Context) error {
	s.comparing.halt()
	s.serving.halt()
	if err := s.dir.Switch(s.opt.Name); err != nil {
		return &Stop{CodeStore, err}
	}
	old, g := s.serving.follower, s.building.follower
	g.noteBuilt()
	g.db.Yield(false)
	s.serving, s.building, s.ordered = s.building, running{}, false
	s.accept.Store(0)
	s.answered.Store(0)
	if old != nil {
		g.counts.add(old.counts.get(), old.counts.figures())
	}
	var held error
	if !s.id.Has(g.db.Generation()) {
		held = s.rolledBack()
	}
	s.set(func() {
		g.build.Store(false)
		s.cur, s.next, s.held, s.cause = g, nil, held, nil
	})
	s.log.Info("switched", "generation", g.db.Generation(), "seq", g.db.State().Position().Seq)
	kept, err := s.retain(ctx, old)
	switch {
	case kept:
		return nil
	case err != nil: // the next run retains it, or removes it
		s.release()
		s.later(s.closer(old))
		return err
	}
	s.release()
	s.discard(old)
	return nil
}

// discard removes the generation that was replaced, once its readers are gone.
func (s *supervisor) discard(old *follower) {
	shut := func() {}
	if old != nil {
		shut = s.closer(old)
	}
	s.removing.Store(true)
	s.later(func() {
		defer s.removing.Store(false)
		shut()
		if err := s.dir.Finish(s.name); err != nil {
			s.log.Warn("replaced generation not removed: the next start does it", "err", err)
		}
	})
}
