package main

import (
	"fmt"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// lost returns how many source keys at least a build of a fold with on_evict = "keep" would lose the rows of: of those that are
// live, each whose record is still there is one of the stream's messages. Exactly it is known only by listing the stream.
func (p *planner) lost(fc config.Fold, f *foldPlan) {
	if fc.Source.OnEvict != "keep" || f.act != runtime.ActStop || f.Messages == nil {
		return
	}
	live, known := p.live(fc.Name, f.Current)
	if !known {
		return
	}
	n := live - min(live, *f.Messages)
	f.Lost = &n
}

// live returns how many source keys the generation that serves has: the foldrun that runs says it, or the store.
func (p *planner) live(fold, generation string) (n uint64, known bool) {
	if runs, found := p.runs[fold]; found {
		return runs.Live, runs.Generation == generation
	}
	dir, err := store.OpenDir(p.config.DataDir, store.Options{ReadOnly: true, LockWait: lockWait})
	if err != nil {
		return 0, false
	}
	defer dir.Close()
	db, err := dir.Open(fold, generation)
	if err != nil {
		return 0, false
	}
	defer db.Close()
	return db.State().Live, true
}

// renamed returns the names of folds that are not configured any more, and whose generation is what a first build would make,
// but for the fold's name.
func (p *planner) renamed(x *runtime.Plan) (names []string) {
	all, err := store.SurveyFolds(p.config.DataDir)
	if err != nil || x.Act != runtime.ActFirst {
		return nil
	}
	configured := map[string]bool{}
	for _, fc := range p.config.Folds {
		configured[fc.Name] = true
	}
	for _, s := range all {
		for _, e := range s.Entries {
			was := e.Identity
			was.Fold, was.Limits = x.Configured.Fold, x.Configured.Limits
			if e.Standing == store.StandingCurrent && !configured[s.Fold] && e.Identity.Fold != "" && len(was.Changes(x.Configured)) == 0 {
				names = append(names, s.Fold)
			}
		}
	}
	return names
}

// notes says what a build costs beside time and disk.
func (f *foldPlan) notes() (lines []string) {
	switch {
	case f.Lost != nil && *f.Lost == 0:
		lines = append(lines, "no row is known to be lost: no more source keys are live than the stream holds messages")
	case f.Lost != nil:
		lines = append(lines, fmt.Sprintf("rows of at least %s would be lost: that many are live beyond the messages that the stream holds", counted(*f.Lost, "source key", "source keys")))
	}
	if f.GivesUp != "" {
		lines = append(lines, fmt.Sprintf("the way back, generation %s, is given up for the build", f.GivesUp))
	}
	for _, name := range f.Renamed {
		lines = append(lines, fmt.Sprintf("fold %s is not configured any more, and is of the same module, source and config: was it renamed? A fold's name is part of what its rows are made for: "+
			"under another it is built anew, and %s stays on disk (foldrun generations %s)", name, name, name))
	}
	return lines
}

// givesUp returns the way back that a build would end, "" for none.
func givesUp(x *runtime.Plan) string {
	switch x.Act {
	case runtime.ActBuild, runtime.ActWait, runtime.ActStop, runtime.ActRolledBack:
		if !x.Configured.Has(x.Previous.Generation) {
			return x.Previous.Generation
		}
	}
	return ""
}
