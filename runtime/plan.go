package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/store"
)

// An Act is what a start does with a fold's generations.
type Act string

const (
	ActNothing    Act = "nothing"      // goes on with the generation that serves
	ActFirst      Act = "first_build"  // builds the fold's first, which serves from the start
	ActAdopt      Act = "adopt_limits" // goes on with the one that serves, with raised limits, and tries again what failed
	ActBuild      Act = "build"        // builds another beside the one that serves, which it replaces once it has caught up
	ActReturn     Act = "return"       // the same, of the one that is kept as the way back: it has only to catch up
	ActContinue   Act = "continue"     // goes on with a build that an earlier run began
	ActWait       Act = "wait"         // upgrade = "manual": goes on with the one that serves until an operator applies what is configured
	ActRolledBack Act = "rolled_back"  // an operator went back from what is configured: goes on with the one that serves
	ActRefuse     Act = "refuse"       // stops: the one that serves is of a store format that is not read
	ActStop       Act = "stop"         // rows would be lost that the stream holds no more: an operator must accept that
)

// Changes reports whether what is configured is not what serves.
func (a Act) Changes() bool { return a != ActNothing }

// standing is what a start decides by, beside what is configured.
type standing struct {
	current  string
	identity store.Identity // of it
	back     bool           // an operator went back from what is configured
	underway bool           // a build that an earlier run began goes on
	accepted bool           // an operator accepts the loss of rows
	foreign  bool           // it cannot be read, for its format
	kept     bool           // what is built reads the records that the generation which serves keeps
}

// act says what a start does with a fold: the one place that decides it, for the fold and for who asks before.
func (r *recipe) act(s standing) Act {
	fits := r.id.Has(s.current) && r.id.Lowers(s.identity) == ""
	switch {
	case s.current == "":
		return ActFirst
	case s.foreign && !s.underway:
		return ActRefuse
	case s.underway && (fits || s.back):
		return ActContinue
	case fits && len(s.identity.Changes(r.id)) > 0:
		return ActAdopt
	case fits:
		return ActNothing
	case s.back:
		return ActRolledBack
	case r.opt.Upgrade == UpgradeManual && !s.underway:
		return ActWait
	case r.opt.OnEvict == evictKeep && !s.accepted && !s.kept:
		return ActStop
	case s.underway:
		return ActContinue
	}
	return ActBuild
}

// differs says in what the generation that serves is not the one that is configured.
func (r *recipe) differs(current string, old store.Identity) *Stop {
	want, err := r.id.Generation()
	changes := old.Changes(r.id)
	switch {
	case err != nil:
	case len(changes) == 1 && changes[0].Field == "format":
		err = fmt.Errorf("fold %s: this foldrun writes store format %s, generation %s is of format %s", r.opt.Name, changes[0].Is, current, changes[0].Was)
	case r.id.Has(current) && r.id.Lowers(old) != "":
		err = fmt.Errorf("fold %s: %s: what generation %s holds might have failed under that", r.opt.Name, r.id.Lowers(old), current)
	default:
		err = fmt.Errorf("fold %s: its module or configuration makes generation %s, current is %s: %s", r.opt.Name, want, current, old.Differs(r.id))
	}
	return &Stop{CodeIdentity, err}
}

// goesOn says whether a build that an earlier run began is gone on with: it is of what is configured, or the way back.
func (r *recipe) goesOn(next store.Next, current string, back bool) bool {
	return next.Generation != "" && next.Generation != current && (back || r.id.Has(next.Generation))
}

// A Plan is what a start would do with a fold.
type Plan struct {
	store.Peek                // what stands
	Act        Act            // what a start does with it
	Configured store.Identity // what is to be
	Why        error          // what is configured is not what serves; nil where it is, or will be without a build
	Will       string         // the generation that would serve in the end
	Kept       bool           // a build reads the records that the generation which serves keeps, not the stream
	Changes    []store.Change // of the identity, with the limits
	Old, New   abi.Manifest   // of the modules; the old one's is the zero value where it is not known
}

// PlanFold says what a start would do with a fold, of which peek is what its data directory says. The module is tried as a
// start would. Its error is a *Stop.
func PlanFold(ctx context.Context, peek store.Peek, o FoldOptions) (p Plan, err error) {
	r := &recipe{opt: o}
	if r.id, err = Try(ctx, o); err != nil {
		return p, err
	}
	p = Plan{Peek: peek, Configured: r.id, Will: peek.Current}
	back, err := peek.Held(r.id)
	if err != nil {
		return p, &Stop{CodeStore, err}
	}
	underway := r.goesOn(peek.Next, peek.Current, back)
	kept := peek.Current != "" && r.copies(peek.Identity)
	foreign := peek.Readable()
	p.Act = r.act(standing{current: peek.Current, identity: peek.Identity, back: back, underway: underway, foreign: foreign != nil, kept: kept})
	if p.New, _, err = abi.ReadManifest(o.Wasm); err != nil {
		return p, &Stop{CodeModule, err}
	}
	if peek.Current != "" {
		p.Changes = peek.Identity.Changes(r.id)
		if wasm, err := peek.Module(); err == nil {
			p.Old, _, _ = abi.ReadManifest(wasm)
		}
	}
	switch p.Act {
	case ActContinue:
		p.Will, p.Kept = peek.Next.Generation, kept
	case ActFirst, ActBuild, ActWait, ActStop, ActRolledBack:
		p.Kept = kept
		if p.Will, err = peek.Vacant(r.id); err != nil {
			return p, &Stop{CodeStore, err}
		}
		if r.id.Has(peek.Previous.Generation) {
			p.Will = peek.Previous.Generation
			if p.Act == ActBuild {
				p.Act = ActReturn
			}
		}
	}
	if p.Act == ActRefuse {
		p.Why = foreign
		return p, nil
	}
	if p.Act.Changes() && p.Act != ActFirst && p.Act != ActAdopt && len(p.Changes) > 0 {
		p.Why = r.differs(peek.Current, peek.Identity).Err
	}
	return p, nil
}

// Estimate returns how long a build would take, of a stream that holds so many messages, as fast as the last one went: 0
// where that is not known. One that reads kept records takes no longer than one that read the stream.
func (p *Plan) Estimate(messages uint64) time.Duration {
	if p.Built.Updates == 0 || p.Built.Copied && !p.Kept {
		return 0
	}
	return time.Duration(float64(p.Built.Took) / float64(p.Built.Updates) * float64(messages))
}

// noteBuilt writes down what it took to build a generation that has caught up, if this run did it from nothing: of one
// that went on where another run had stopped it is not known.
func (g *follower) noteBuilt() {
	if g.noted || g.startSeq != 0 || g.begun {
		return
	}
	updates, took, whole := g.counts.sinceFirst()
	if !whole {
		return // it is asked again
	}
	if g.noted = true; updates == 0 {
		return
	}
	if err := g.db.KeepBuilt(store.Built{At: time.Now().UTC(), Took: took, Updates: updates, Copied: g.copied.Load()}); err != nil {
		g.log.Warn("what the build took is not written down", "err", err)
	}
}
