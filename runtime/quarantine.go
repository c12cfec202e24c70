package runtime

import (
	"errors"
	"fmt"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// What becomes of a record that cannot be transformed: FoldOptions.OnError.
const (
	OnErrorQuarantine = "quarantine"     // it is held, and the rows of its source key are retracted
	OnErrorKeep       = "keep_last_good" // it is held, and the rows of its source key stay as the last good record made them
	OnErrorHalt       = "halt"           // the fold stops before it
)

// defaultBudget is that of a fold which says nothing of it.
var defaultBudget = store.Budget{Share: 0.01, Least: 100}

// budget returns what bounds quarantine now. An operator who accepted the loss lifted it, but not for its bytes.
func (g *follower) budget() *store.Budget {
	if g.lifted.Load() {
		return &store.Budget{Share: 1, Bytes: g.opt.Budget.Bytes}
	}
	return g.opt.Budget
}

// within ends the operator's acceptance once quarantine was over the budget and is not any more. owned by the committer
func (g *follower) within() {
	if !g.lifted.Load() {
		return
	}
	s := g.db.State()
	over := s.Quarantined > g.opt.Budget.Allows(s.Live)
	if g.over && !over {
		g.lifted.Store(false)
		g.log.Info("quarantine is within the error budget again", "quarantined", s.Quarantined, "live", s.Live)
	}
	g.over = over
}

// refused returns why a commit was refused for the failures in it, nil when that is not why. Nothing of it was written.
func (g *follower) refused(err error) *Stop {
	name := g.opt.Name
	var one *store.Refused
	switch {
	case errors.As(err, &one):
		return &Stop{CodeRecordFailed, hint.Error(fmt.Errorf("fold %s: %w", name, one),
			"mend the module, or put or delete the key at the source, then: foldrun resume %s; on_error = \"quarantine\" would set the record aside and go on", name)}
	case errors.Is(err, store.ErrBudget):
		return &Stop{CodeBudget, hint.Error(fmt.Errorf("fold %s: %w", name, err),
			"foldrun quarantine ls %s shows what failed before; mend the module, or raise error_budget, or: foldrun resume %s --accept-loss", name, name)}
	case errors.Is(err, store.ErrQuarantineFull):
		return &Stop{CodeQuarantineFull, hint.Error(fmt.Errorf("fold %s: %w", name, err),
			"foldrun quarantine ls %s shows what failed before; mend the module, or put or delete those keys at the source, then: foldrun resume %s", name, name)}
	}
	return nil
}

// grant notes what an operator accepts who has a fold go on that ended because of why: failures beyond the error budget
// where that is why, nothing where no loss would help, else what the next switch or reconcile loses.
func (f *Fold) grant(why error, accept bool) {
	code := ""
	if why != nil {
		code, _ = Describe(why)
	}
	switch code {
	case CodeBudget:
		f.lifted.Store(accept)
	case CodeRecordFailed, CodeQuarantineFull, CodePaused:
	default:
		f.accept.Store(acceptance(why, accept))
	}
}
