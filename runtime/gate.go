package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// gate switches to the generation that is being built once it has caught up, if what it holds is not less than half of
// what serves, and it answers the gate queries; a rollback needs no gate. Else the fold holds: the old generation serves on until the new one has as much, or an operator decides.
func (s *supervisor) gate(ctx context.Context) error {
	g := s.next
	if s.building.ended == nil || !g.caughtUp() && !s.asFar(g) {
		return nil
	}
	if s.id.Has(g.db.Generation()) && !s.accepts(g.db.State().Position().Created) && s.cur != nil {
		if why := fewerRows(s.cur.db, g.db); why != nil {
			s.hold(g, CodeHeld, why)
			return nil
		}
		if s.fails(g) {
			return nil
		}
	}
	if s.lacks(ctx, g) {
		return nil
	}
	return s.change(ctx)
}

// fails says whether what was built does not answer the gate queries, and holds it then. It is asked once a commit.
func (s *supervisor) fails(g *follower) bool {
	if len(s.opt.Gates) == 0 {
		return false
	}
	if is := g.db.State(); is == s.asked {
		return true
	} else if why := s.unanswered(g.db); why != nil {
		s.asked = is
		s.hold(g, CodeGate, why)
		return true
	}
	return false
}

// asFar says whether a generation that was built from kept records is where the one that serves is, while NATS is away and
// neither can go on.
func (s *supervisor) asFar(g *follower) bool {
	if g.from == nil || s.cur == nil || s.cur.db != g.from || g.copying.Load() || !g.isAway() {
		return false
	}
	is, was := g.db.State().Position(), g.from.State().Position()
	return is.Stream != "" && is.Seq == was.Seq && is.Created == was.Created
}

// lacks says whether what was built of kept records lacks some that only what serves still has, or has some that a sweep removed
// there meanwhile, or that cannot be said yet. It is brought up to what serves then.
func (s *supervisor) lacks(ctx context.Context, g *follower) bool {
	if g.from == nil || s.serving.ended == nil { // what stands still is as it was copied
		return false
	}
	again := g.from.State().Swept > max(g.sweptOf.Load(), g.db.State().Swept)
	if !again && s.opt.OnEvict == evictKeep {
		lacks, err := lost(g.from, g.db)
		switch {
		case errors.Is(err, errSooner):
			return true
		case err != nil:
			s.log.Warn("what was built is not compared with what serves", "err", err)
			return !store.IsDamage(err)
		}
		again = lacks
	}
	if !again {
		return false
	}
	s.log.Info("what serves is another than was copied", "generation", g.db.Generation())
	s.building.halt()
	g.resync.Store(true)
	s.building = follow(ctx, g)
	return true
}

// hold notes why what was built does not serve. It is news when it begins.
func (s *supervisor) hold(g *follower, code string, why error) {
	held := &Stop{code, hint.Error(fmt.Errorf("generation %s is built and does not serve: %w", g.db.Generation(), why),
		"if that is as it should be: foldrun resume %s --accept-loss; else mend the source, then: foldrun rebuild %s", s.opt.Name, s.opt.Name)}
	switch {
	case s.held == nil:
		s.log.Error("switch held", "code", held.Code, "err", held.Err, "hint", HintOf(held))
	case s.held.Error() == held.Error():
		return
	}
	s.set(func() { s.held = held })
}

// errFewer says that a switch would lose too much.
var errFewer = errors.New("less than half of what serves")

// fewerRows compares the indexes that both generations have.
func fewerRows(old, built *store.DB) error {
	was, is := old.State(), built.State()
	for i, x := range built.Indexes() {
		j := slices.IndexFunc(old.Indexes(), func(y store.IndexSpec) bool { return y.Name == x.Name })
		if j >= 0 && tooFew(is.Indexes[i].Rows, was.Indexes[j].Rows) {
			return fmt.Errorf("its index %s has %d rows, the one that serves %d: %w", x.Name, is.Indexes[i].Rows, was.Indexes[j].Rows, errFewer)
		}
	}
	return nil
}

func tooFew(is, was uint64) bool { return is < was-was/2 }
