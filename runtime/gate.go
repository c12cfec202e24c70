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
// what serves; a rollback needs no gate. Else the fold holds: the old generation serves on until the new one has as much, or an operator decides.
func (s *supervisor) gate(ctx context.Context) error {
	g := s.next
	if s.building.ended == nil || !g.caughtUp() {
		return nil
	}
	if s.id.Has(g.db.Generation()) && !s.accepts(g.db.State().Position().Created) && s.cur != nil {
		if why := fewerRows(s.cur.db, g.db); why != nil {
			s.hold(g, why)
			return nil
		}
	}
	return s.change(ctx)
}

// hold notes why what was built does not serve. It is news when it begins.
func (s *supervisor) hold(g *follower, why error) {
	held := &Stop{CodeHeld, hint.Error(fmt.Errorf("generation %s is built and does not serve: %w", g.db.Generation(), why),
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
