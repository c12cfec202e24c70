package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/query"
)

// codeRefused is of an action that makes no sense in the state that its fold is in.
const codeRefused = "action_refused"

// An operated fold does what operators ask for.
type operated interface {
	Fold
	Rebuild(ctx context.Context) error
	Resume(ctx context.Context, accept bool) error
	Pause(ctx context.Context) error
	Apply(ctx context.Context, accept bool) error
	Rollback(ctx context.Context) error
	sweeper
}

// admin carries out what operators ask for. Each action leaves a line in the log: who asked, through which door, and how
// the fold stood before and after.
type admin struct{ *Server }

// routes are for who may act; all says that those are all folds.
func (a *admin) routes(all bool) {
	if all {
		a.route("POST /v1/reload", a.reload)
	}
	a.action("rebuild", a.rebuild)
	a.action("resume", a.resume)
	a.action("pause", a.pause)
	a.action("apply", a.apply)
	a.action("rollback", a.rollback)
	a.action("repair", a.repair)
	a.action("quarantine/retry", a.retry)
}

// An actor has a fold do something, and returns what is replied.
type actor func(r *http.Request, f Fold) (any, error)

// action makes POST /v1/folds/{fold}/name an action.
func (a *admin) action(name string, do actor) {
	a.route("POST /v1/folds/{fold}/"+name, func(w http.ResponseWriter, r *http.Request) error {
		fold := r.PathValue("fold")
		f, err := a.query.Fold(fold)
		if err != nil {
			return err
		}
		deadline := http.NewResponseController(w)
		deadline.SetWriteDeadline(time.Time{}) // an action takes as long as it takes
		before := stands(f)
		reply, err := do(r, f)
		deadline.SetWriteDeadline(time.Now().Add(replyTimeout))
		a.opt.Log.Info("admin", "action", name, "query", r.URL.RawQuery, "fold", fold, "who", caller(r), "door", peerOf(r),
			"before", before, "after", stands(f), "err", err)
		if err != nil {
			return err
		}
		return a.reply(w, r, reply)
	})
}

// stands says how a fold stands.
func stands(f Fold) string {
	s := f.Status()
	return fmt.Sprintf("%s %s seq %d generation %s", s.State, s.Code, s.Seq, s.Generation)
}

func operatedFold(f Fold) (operated, error) {
	x, ok := f.(operated)
	if !ok {
		return nil, &fault{http.StatusConflict, query.NotFollowing, "nothing follows the source of this fold", "start foldrun"}
	}
	return x, nil
}

// refused makes an error of a fold a fault.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return &fault{http.StatusConflict, codeRefused, err.Error(), hint.Of(err)}
}

// An operation is an action on the way to a fold, and how that shows what became of it.
type operation struct {
	*http.Request
	*params
	fold  Fold
	shows func(runtime.Status) bool
}

// have has the fold do something, and returns how it stands once it shows what became of that.
func (o operation) have(do func(x operated) error) (any, error) {
	x, err := operatedFold(o.fold)
	if err == nil {
		err = o.done()
	}
	if err == nil {
		err = refused(do(x))
	}
	if err != nil {
		return nil, err
	}
	return settled(o.Context(), x, o.shows), nil
}

func (a *admin) rebuild(r *http.Request, f Fold) (any, error) {
	return operation{r, parse(r), f, builds}.have(func(x operated) error { return x.Rebuild(r.Context()) })
}

func (a *admin) resume(r *http.Request, f Fold) (any, error) {
	p := parse(r)
	accept := p.flag("accept_loss")
	return operation{r, p, f, goesOn(f.Status().Seq)}.have(func(x operated) error { return x.Resume(r.Context(), accept) })
}

func (a *admin) pause(r *http.Request, f Fold) (any, error) {
	return operation{r, parse(r), f, isPaused}.have(func(x operated) error { return x.Pause(r.Context()) })
}

func (a *admin) apply(r *http.Request, f Fold) (any, error) {
	p := parse(r)
	force := p.flag("force")
	return operation{r, p, f, applied}.have(func(x operated) error { return x.Apply(r.Context(), force) })
}

func (a *admin) rollback(r *http.Request, f Fold) (any, error) {
	return operation{r, parse(r), f, standsStill}.have(func(x operated) error { return x.Rollback(r.Context()) })
}

func (a *admin) repair(r *http.Request, f Fold) (any, error) {
	x, err := operatedFold(f)
	if err == nil {
		err = parse(r).done()
	}
	if err != nil {
		return nil, err
	}
	found, err := x.Sweep(r.Context(), true)
	if err != nil {
		return nil, notFollowing(err)
	}
	return newKeyReport(r.PathValue("fold"), found), nil
}

// notFollowing makes why a fold could not do what it does while it follows its source a fault.
func notFollowing(err error) error {
	if errors.Is(err, runtime.ErrNotCompared) {
		return &fault{http.StatusServiceUnavailable, runtime.CodeBehind, strings.TrimPrefix(err.Error(), "runtime: "), "ask again once foldrun status shows that it has folded more"}
	}
	return &fault{http.StatusServiceUnavailable, query.NotFollowing, err.Error(), "see the fold's state in foldrun status, and ask again"}
}

func newKeyReport(fold string, found runtime.SweepReport) keyReport {
	all := keyReport{Fold: fold, OK: found.OK(), SweepReport: found}
	for _, k := range found.Keys {
		all.Keys = append(all.Keys, keyProblem{k.Kind, k.Source, k.Seq})
	}
	return all
}
