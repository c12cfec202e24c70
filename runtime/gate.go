package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// gate switches to the generation that is being built once it has caught up, if what it holds is not less than half of
// what serves, or an operator accepted that, and it answers the gate queries; a rollback needs no gate. Else the fold holds: the
// old generation serves on until the new one has as much, or an operator decides. What is damaged replaces nothing.
func (s *supervisor) gate(ctx context.Context) error {
	g := s.next
	passes, err := s.passes(ctx, g)
	switch {
	case !passes, s.lacks(ctx, g):
		return err
	case s.outlives(g):
		s.compare(ctx, g)
		return nil
	}
	return s.change(ctx)
}

// passes says whether what was built may serve, as far as it is asked at each tick, and holds it if not. The error is what
// becomes of the fold where that is damaged.
func (s *supervisor) passes(ctx context.Context, g *follower) (bool, error) {
	if s.building.ended == nil {
		return false, nil
	}
	if err := g.db.Damage(); err != nil {
		return false, s.failed(ctx, &Stop{CodeDamaged, hint.Error(err, "foldrun rebuild %s drops what was built, and builds it anew", s.opt.Name)})
	}
	if !g.caughtUp() && !s.asFar(g) {
		return false, nil
	}
	if !s.id.Has(g.db.Generation()) || s.cur == nil {
		return true, nil
	}
	if why := fewerRows(s.cur.db, g.db); why != nil && !s.accepts(g.db.State().Position().Created) {
		s.hold(g, CodeHeld, why)
		return false, nil
	}
	return !s.fails(ctx, g), nil
}

// gateShare bounds what is spent on asking gate queries again: they rest so many times as long as they took.
const gateShare = 20

// fails says whether what was built does not answer the gate queries, or could not be asked, and holds it then. It is asked
// once a commit.
func (s *supervisor) fails(ctx context.Context, g *follower) bool {
	if len(s.opt.Gates) == 0 {
		return false
	}
	is, began := g.db.State(), time.Now()
	if is == s.asked || began.Before(s.askAfter) {
		return true
	}
	why, err := s.unanswered(ctx, g.db)
	if err == nil && why == nil {
		return false
	}
	s.askAfter = time.Now().Add(gateShare * time.Since(began))
	if err != nil {
		s.log.Warn("the gate queries could not be asked", "generation", g.db.Generation(), "err", err)
		return true
	}
	s.asked = is
	s.hold(g, CodeGate, why)
	return true
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

// mayDiffer says whether what was built of kept records may be another than what they are of: what stands still is as it was copied.
func (s *supervisor) mayDiffer(g *follower) bool { return g.from != nil && s.serving.ended != nil }

// lacks says whether what was built of kept records has some that a sweep removed meanwhile from what serves. It is brought up to
// that then, once that is as far.
func (s *supervisor) lacks(ctx context.Context, g *follower) bool {
	if !s.mayDiffer(g) || g.from.State().Swept <= max(g.sweptOf.Load(), g.db.State().Swept) {
		return false
	}
	if g.from.State().Position().Seq >= g.db.State().Position().Seq {
		s.catchUp(ctx, g)
	}
	return true
}

// outlives says whether what serves may hold records that the stream does not any more, and that what was built lacks.
func (s *supervisor) outlives(g *follower) bool { return s.mayDiffer(g) && s.opt.OnEvict == evictKeep }

// compare asks lost of what was built, beside the supervisor: it goes through all source keys.
func (s *supervisor) compare(ctx context.Context, g *follower) {
	if s.comparing.ended != nil {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	s.comparing = running{g, stop, make(chan error, 1)}
	go func(ended chan<- error) {
		if s.compares != nil {
			s.compares()
		}
		err := g.from.Damage()
		if err == nil {
			err = lost(ctx, g.from, g.db)
		}
		ended <- err
	}(s.comparing.ended)
}

// compared makes the switch, if lost found nothing and what was built passes still. Else the next tick asks anew.
func (s *supervisor) compared(ctx context.Context, lost error) error {
	g := s.comparing.follower
	if ctx.Err() != nil || errors.Is(lost, errSooner) {
		return nil
	}
	passes, err := s.passes(ctx, g)
	switch {
	case !passes, s.lacks(ctx, g):
		return err
	case errors.Is(lost, errLost):
		s.catchUp(ctx, g)
		return nil
	case lost != nil:
		s.uncompared(g, lost)
		return nil
	}
	return s.change(ctx)
}

// catchUp brings what was built of kept records up to what serves.
func (s *supervisor) catchUp(ctx context.Context, g *follower) {
	s.log.Info("what serves is another than was copied", "generation", g.db.Generation())
	s.comparing.halt()
	s.building.halt()
	g.resync.Store(true)
	s.building = follow(ctx, g)
}

// uncompared notes that nobody can say whether what was built has all that only what serves still has: because that is damaged,
// and an operator decides, or for a reason that may pass.
func (s *supervisor) uncompared(g *follower, err error) {
	if g.from.Damage() == nil {
		s.log.Warn("what was built is not compared with what serves", "err", err)
		return
	}
	s.hold(g, CodeDamaged, fmt.Errorf("with on_evict = \"keep\" it may lack what only the one that serves has, which cannot be read: %w", err))
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
