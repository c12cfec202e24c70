package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// The way back. A generation that an upgrade replaced is kept for FoldOptions.Rollback, and follows the source: a rollback
// makes it the one that is built next, and the gate lets it serve once it has caught up, which takes no time. What was
// rolled back from is kept likewise, so apply is as quick.
//
// It follows in the place of a build. When another fold wants that, it rests: it stays on disk, and catches up when it is
// wanted.

// retain keeps the generation that was replaced, if an upgrade replaced it: one that was built anew for what had become of
// its stream or its files is no way back. It reports whether it does.
func (s *supervisor) retain(ctx context.Context, old *follower) (bool, error) {
	if old == nil {
		return s.retainUnread()
	}
	if !old.id.Has(old.db.Generation()) || !s.keepsBack(old.db.Generation(), s.cur.db.Generation()) {
		return false, nil
	}
	until := time.Now().Add(s.opt.Rollback)
	if err := s.dir.Retain(s.opt.Name, until); err != nil {
		return false, &Stop{CodeStore, err}
	}
	g := s.follower(old.db, true)
	g.recipe = old.recipe
	s.keepUntil(ctx, g, until)
	s.log.Info("kept as the way back", "generation", g.db.Generation(), "until", until)
	return true, nil
}

// retainUnread is retain of what was not open, where that is for its format: it rests, for the foldrun that wrote it.
func (s *supervisor) retainUnread() (bool, error) {
	n, err := s.dir.Next(s.opt.Name)
	if err != nil {
		return false, &Stop{CodeStore, err}
	}
	if !s.keepsBack(n.Replaces, n.Generation) || s.dir.Readable(s.opt.Name, n.Replaces) == nil {
		return false, nil
	}
	s.release()
	if err := s.dir.Retain(s.opt.Name, time.Now().Add(s.opt.Rollback)); err != nil {
		return false, &Stop{CodeStore, err}
	}
	s.overdue = time.After(s.opt.Rollback)
	return true, nil
}

func (s *supervisor) keepUntil(ctx context.Context, g *follower, until time.Time) {
	s.previous = follow(ctx, g)
	s.overdue = time.After(time.Until(until))
	s.set(func() { s.prev, s.prevUntil = g, until })
}

// recall goes on with what an earlier run kept as the way back.
func (s *supervisor) recall(ctx context.Context) error {
	p, err := s.dir.Previous(s.opt.Name)
	if err != nil || p.Generation == "" || s.want {
		return err
	}
	until := p.Until
	if s.opt.Rollback == 0 { // by now nothing is to be kept
		until = time.Now()
	}
	s.overdue = time.After(time.Until(until))
	if s.rests = !s.closed(); s.rests {
		return nil // an earlier run is just closing it
	}
	if !time.Now().Before(until) || p.Generation == s.cur.db.Generation() {
		return s.dir.Release(s.opt.Name)
	}
	select {
	case s.builds <- struct{}{}:
		s.have = true
	default:
		return nil // another fold builds
	}
	g, err := s.openKept(ctx, p.Generation)
	if err != nil {
		s.log.Warn("the way back is not followed", "generation", p.Generation, "err", err)
		s.release()
		return nil
	}
	s.keepUntil(ctx, g, p.Until)
	return nil
}

// wake goes on with a way back that rested because an earlier run was closing it.
func (s *supervisor) wake(ctx context.Context) error {
	if !s.rests || s.building.follower != nil || len(s.waits) > 0 {
		return nil
	}
	s.rests = false
	if err := s.recall(ctx); err != nil {
		return &Stop{CodeStore, err}
	}
	return nil
}

// openKept opens a generation that is not the one that is configured.
func (s *supervisor) openKept(ctx context.Context, generation string) (*follower, error) {
	db, err := s.dir.Open(s.opt.Name, generation)
	if err != nil {
		return nil, err
	}
	g := s.follower(db, true)
	if s.id.Has(generation) {
		return g, nil
	}
	if g.recipe, err = s.kept(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return g, nil
}

// rest has what is kept as the way back follow no more, and closes it. It stays on disk.
func (s *supervisor) rest() {
	g := s.previous.follower
	if g == nil {
		return
	}
	s.previous.halt()
	s.previous = running{}
	s.release()
	s.set(func() { s.prev = nil })
	s.later(s.closer(g))
}

// letGo gives up the way back.
func (s *supervisor) letGo() error {
	s.rest()
	s.overdue = nil
	return s.unread(func() error {
		if err := s.dir.Release(s.opt.Name); err != nil {
			s.log.Warn("the way back is not removed: the next start does it", "err", err)
		}
		s.set(func() {})
		return nil
	})
}

// rollback has the generation that the last upgrade replaced serve again, and holds it against what is configured.
func (s *supervisor) rollback() (refused, failed error) {
	p, err := s.dir.Previous(s.opt.Name)
	switch {
	case err != nil:
		return err, nil
	case s.next != nil || s.want:
		return hint.Error(fmt.Errorf("fold %s: a generation is being built", s.opt.Name), "foldrun status says how far it is; foldrun rebuild %s begins anew", s.opt.Name), nil
	case s.dropping:
		return s.stillRead(), nil
	case p.Generation == "":
		return hint.Error(fmt.Errorf("fold %s has no generation to go back to", s.opt.Name),
			"one that an upgrade replaced is kept for rollback_window; else put the old module and configuration back: that is an upgrade too"), nil
	case s.dir.Readable(s.opt.Name, p.Generation) != nil:
		return hint.Error(s.dir.Readable(s.opt.Name, p.Generation), "run the foldrun that wrote it"), nil
	case s.opt.OnEvict == evictKeep && s.previous.follower == nil:
		return hint.Error(fmt.Errorf("fold %s keeps what its stream evicts, and generation %s did not follow all the while: rows would be lost", s.opt.Name, p.Generation),
			"put the old module and configuration back, and foldrun resume %s --accept-loss", s.opt.Name), nil
	case s.cur == nil || !s.id.Has(s.cur.db.Generation()):
		return s.notFrom(), nil
	}
	if err := s.dir.Hold(s.opt.Name, s.id); err != nil {
		return nil, &Stop{CodeStore, err}
	}
	return nil, s.goBack(p, s.goingBack(p.Generation))
}

// notFrom says why nothing is gone back from: what is configured does not serve.
func (s *supervisor) notFrom() error {
	back, err := s.isRolledBack()
	switch {
	case err != nil:
		return err
	case back:
		return hint.Error(fmt.Errorf("fold %s was rolled back already", s.opt.Name), "foldrun apply %s has what is configured serve again", s.opt.Name)
	}
	return hint.Error(fmt.Errorf("fold %s does not serve what is configured: there is nothing to go back from", s.opt.Name),
		"have what serves stay: put its module and configuration back, then foldrun reload; after that foldrun rollback %s goes back from it", s.opt.Name)
}

// stillRead is why a fold does not go back or forth: NEXT would name something else than what is to be removed.
func (s *supervisor) stillRead() error {
	return hint.Error(fmt.Errorf("fold %s: a generation that is to be removed is still read", s.opt.Name), "ask again once its readers have ended")
}

// goBack has the way back serve, once it has caught up.
func (s *supervisor) goBack(p store.Previous, cause *Stop) error {
	if err := s.dir.Return(s.opt.Name, true); err != nil {
		return &Stop{CodeStore, err}
	}
	s.overdue = nil
	s.set(func() { s.cause, s.held = cause, nil })
	if g := s.previous.follower; g != nil {
		s.building, s.previous = s.previous, running{}
		s.set(func() { s.next, s.prev = g, nil })
		return nil
	}
	s.want = true
	s.set(func() { s.queued.generation = p.Generation })
	return nil
}

// goingBack is why a fold is to serve another generation than what is configured, until it does.
func (s *supervisor) goingBack(to string) *Stop {
	return &Stop{CodeRolledBack, hint.Error(fmt.Errorf("fold %s is being rolled back: generation %s serves once it has caught up", s.opt.Name, to),
		"foldrun status says what it waits for; foldrun apply %s calls it off, and after that has what is configured serve again", s.opt.Name)}
}

// comesBack says whether a rollback is under way: what an operator went back from serves until what he went back to has caught up.
func (s *supervisor) comesBack() (bool, error) {
	if s.cur == nil || !s.id.Has(s.cur.db.Generation()) || !s.returns() {
		return false, nil
	}
	return s.isRolledBack()
}

// callOff has what is configured go on serving, and what was to serve again be the way back again.
func (s *supervisor) callOff(ctx context.Context) error {
	until := time.Now().Add(s.opt.Rollback)
	if err := s.dir.Stay(s.opt.Name, until); err != nil {
		return &Stop{CodeStore, err}
	}
	s.want, s.ordered = false, false
	s.set(func() { s.next, s.cause, s.held, s.queued = nil, nil, nil, queued{} })
	if g := s.building.follower; g != nil {
		s.previous, s.building = s.building, running{}
		s.overdue = time.After(time.Until(until))
		s.set(func() { s.prev, s.prevUntil = g, until })
		return nil
	}
	if err := s.recall(ctx); err != nil {
		return &Stop{CodeStore, err}
	}
	return nil
}

// rolledBack is why a fold does not serve what is configured, after a rollback.
func (s *supervisor) rolledBack() *Stop {
	return &Stop{CodeRolledBack, hint.Error(fmt.Errorf("fold %s was rolled back: its module and configuration do not serve", s.opt.Name),
		"mend them, and foldrun reload; or have this one serve again: foldrun apply %s", s.opt.Name)}
}

// isRolledBack says whether a rollback stands, for what is configured now.
func (s *supervisor) isRolledBack() (bool, error) { return s.dir.Holds(s.opt.Name, s.id) }

// apply has what is configured serve: it ends a rollback, also one that is under way, or a wait for an operator, or for its moment. With accept, what was built and is
// held serves whatever it lacks.
func (s *supervisor) apply(ctx context.Context, c command) (refused, failed error) {
	p, err := s.dir.Previous(s.opt.Name)
	back, err2 := s.comesBack()
	switch err = errors.Join(err, err2); {
	case err != nil:
		return err, nil
	case back:
		return nil, s.callOff(ctx)
	case s.next != nil && s.held != nil:
		c.do = verbResume
		return s.carryOut(ctx, c)
	case s.moment != nil:
		if refused = s.order(); refused == nil {
			s.grant(s.cause, c.accept)
			s.now()
		}
		return refused, nil
	case s.next != nil || s.want:
		return hint.Error(fmt.Errorf("fold %s: generation %s is being built already", s.opt.Name, s.nextName()), "foldrun status says how far it is"), nil
	case s.dropping:
		return s.stillRead(), nil
	case s.cur == nil || s.id.Has(s.cur.db.Generation()) && s.held == nil:
		return hint.Error(fmt.Errorf("fold %s: what is configured serves", s.opt.Name), "change its module or configuration, then: foldrun reload"), nil
	}
	if p.Generation != "" && s.id.Has(p.Generation) {
		if err := s.dir.Unhold(s.opt.Name); err != nil {
			return nil, &Stop{CodeStore, err}
		}
		return nil, s.goBack(p, s.recipe.differs(s.cur.db.Generation(), s.cur.db.Identity()))
	}
	s.grant(s.held, c.accept)
	if refused, failed = s.attempt(s.recipe.differs(s.cur.db.Generation(), s.cur.db.Identity())); refused != nil || failed != nil {
		return refused, failed
	}
	if err := s.dir.Unhold(s.opt.Name); err != nil {
		return nil, &Stop{CodeStore, err}
	}
	return nil, nil
}

func (f *Fold) nextName() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next != nil {
		return f.next.db.Generation()
	}
	return f.queued.generation
}

// keepsBack says whether a generation is replaced by an upgrade, and so is to be kept as the way back.
func (f *Fold) keepsBack(old, built string) bool {
	return f.opt.Rollback > 0 && old != "" && !store.SameIdentity(old, built)
}

// way readies the generation that is to be built: the one that is kept as the way back, if that is of what is configured,
// else another, for which the way back is given up.
func (f *Fold) way(asked bool) (next store.Next, err error) {
	p, err := f.dir.Previous(f.opt.Name)
	if err != nil || p.Generation == "" {
		return next, err
	}
	if !f.id.Has(p.Generation) {
		return next, f.dir.Release(f.opt.Name)
	}
	if err := f.dir.Return(f.opt.Name, asked); err != nil {
		return next, err
	}
	return f.dir.Next(f.opt.Name)
}
