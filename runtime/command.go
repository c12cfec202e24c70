package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foldrun/foldrun/hint"
)

// A command is what an operator asks of a fold.
type command struct {
	do     verb
	accept bool      // of verbResume and verbApply
	with   *Prepared // of verbConfigure
	reply  chan error
}

type verb int

const (
	verbResume verb = iota
	verbRebuild
	verbPause
	verbApply
	verbRollback
	verbConfigure
)

// Rebuild has the fold build a generation anew from its stream, beside the one that serves, and switch to it if the
// gates let it. One that is held, or failed, is dropped first. It returns once that is under way, and a restart goes on
// with it.
func (f *Fold) Rebuild(ctx context.Context) error { return f.ask(ctx, command{do: verbRebuild}) }

// Resume has a fold that stopped or is paused, or whose build stopped, go on. With accept, the operator accepts what that loses: a switch
// that is held is made, and a stream with another history is followed. It returns once that is under way.
func (f *Fold) Resume(ctx context.Context, accept bool) error {
	return f.ask(ctx, command{accept: accept})
}

// Pause has the fold stop following its source, until Resume, through restarts. Reads go on; what is being built is built
// on after the pause. It returns once that is noted; what was read is finished after it.
func (f *Fold) Pause(ctx context.Context) error { return f.ask(ctx, command{do: verbPause}) }

// Apply has what is configured serve: it ends a rollback, or calls off one that is under way, or ends a wait: that of
// upgrade = "manual", or for a moment that was drawn. With accept, what was built
// and is held replaces what serves. It returns once that is under way.
func (f *Fold) Apply(ctx context.Context, accept bool) error {
	return f.ask(ctx, command{do: verbApply, accept: accept})
}

// Rollback has the generation that the last upgrade replaced serve again, and holds it until what is configured changes,
// or Apply. It returns once that is under way, which takes a moment: the generation has followed the source.
func (f *Fold) Rollback(ctx context.Context) error { return f.ask(ctx, command{do: verbRollback}) }

func (f *Fold) ask(ctx context.Context, c command) error {
	f.mu.Lock()
	why := f.broken
	f.mu.Unlock()
	if why != nil {
		return hint.Error(fmt.Errorf("fold %s cannot run: %w", f.name, why), "mend that, then: foldrun reload")
	}
	return f.send(ctx, c)
}

func (f *Fold) send(ctx context.Context, c command) error {
	c.reply = make(chan error, 1)
	select {
	case f.commands <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-c.reply
}

// obey carries out a command while the fold runs, and replies. Its error ends the fold.
func (s *supervisor) obey(ctx context.Context, c command) error {
	before := len(s.waits)
	refused, end := s.carryOut(ctx, c)
	s.await()
	switch {
	case isPaused(end), becomes(end) != nil:
		c.reply <- nil
	case end != nil:
		c.reply <- end
	case refused == nil && len(s.waits) > before:
		s.unsaid = append(s.unsaid, c.reply)
	default:
		c.reply <- refused
	}
	return end
}

// carryOut carries out a command. Where it refuses, the fold goes on. An end is that the fold is paused, or that the
// command failed: part of it may be done then.
func (s *supervisor) carryOut(ctx context.Context, c command) (refused, end error) {
	switch {
	case c.do == verbConfigure:
		return nil, &configured{c.with}
	case c.do == verbPause:
		return s.suspend()
	case c.do == verbRollback:
		return s.rollback()
	case c.do == verbApply:
		return s.apply(ctx, c)
	case isRolledBack(s.held):
		return s.held, nil
	case c.do == verbRebuild && s.next == nil && !s.want && s.cur != nil && !s.id.Has(s.cur.db.Generation()):
		c.do = verbApply
		return s.apply(ctx, c)
	case c.do == verbRebuild && s.held == nil && (s.next != nil || s.want && s.returns()): // the way back is not what is configured
		return hint.Error(fmt.Errorf("fold %s: generation %s is being built already", s.opt.Name, s.nextName()), "foldrun status says how far it is"), nil
	case c.do == verbRebuild:
		if s.next == nil && s.held == nil { // there is nothing to drop: what cannot be begun changes nothing
			return s.attempt(s.cause)
		}
		if err := s.drop(); err != nil {
			return nil, &Stop{CodeStore, err}
		}
		refused, end = s.attempt(s.cause)
		if refused != nil {
			s.set(func() { s.held = refused })
		}
		return refused, end
	case s.next != nil && s.held != nil && c.accept:
		return nil, s.change(ctx)
	case s.next != nil && s.held != nil:
		return hint.Error(fmt.Errorf("fold %s: %w", s.opt.Name, s.held), "%s", HintOf(s.held)), nil
	case s.held != nil: // the build failed
		s.grant(s.held, c.accept)
		cause := s.cause
		if have := s.cur; cause == nil && have != nil && !s.id.Has(have.db.Generation()) {
			cause = s.recipe.differs(have.db.Generation(), have.db.Identity())
		}
		return s.attempt(cause)
	}
	return hint.Error(fmt.Errorf("fold %s is not stopped", s.opt.Name), "foldrun status says what it does"), nil
}

// drop removes what is being built, once its readers are gone: a way back that is to serve again was read before.
func (s *supervisor) drop() error {
	s.building.halt()
	s.shut()
	s.release()
	s.set(func() { s.next, s.held = nil, nil })
	return s.finish()
}

// finish removes what NEXT names, once its readers are gone.
func (s *supervisor) finish() error {
	err := s.unread(func() error { return s.dir.Finish(s.opt.Name) })
	s.dropping = len(s.waits) > 0
	return err
}

// shut closes what is being built, and does not run any more, once its readers are gone.
func (s *supervisor) shut() {
	s.comparing.halt()
	if g := s.building.follower; g != nil {
		s.later(s.closer(g))
	}
	s.building, s.ordered = running{}, false
}

// keep runs the fold until ctx is done, again after each stop that an operator ends.
func (f *Fold) keep(ctx context.Context) {
	for more := true; more; {
		err := f.Run(ctx)
		if p := becomes(err); p != nil {
			f.become(ctx, p)
			continue
		}
		more = f.restart(ctx)
	}
}

// restart waits, after Run has returned, for a command that has the fold run again. It returns false when ctx is done. What
// removes a generation waits for who reads it: see unread.
func (f *Fold) restart(ctx context.Context) bool {
	var late []command
	defer func() {
		for _, c := range late {
			c.reply <- f.cutOff()
		}
	}()
	for {
		var gone chan any
		if len(late) > 0 {
			gone = f.closing
		}
		var now []command
		select {
		case c := <-f.commands:
			if (c.do == verbRebuild || c.do == verbApply) && !isPaused(f.stopped) && !f.closed() {
				late = append(late, c)
				continue
			}
			now = []command{c}
		case <-gone:
			f.closing = nil
			now, late = late, nil
		case <-ctx.Done():
			return false
		}
		for i, c := range now {
			run, err := f.revive(ctx, c)
			c.reply <- err
			if run {
				late = append(late, now[i+1:]...)
				return true
			}
		}
	}
}

// suspend notes that the fold is paused, and returns why it ends; refused where that cannot be noted.
func (f *Fold) suspend() (refused, paused error) {
	now := time.Now()
	if err := f.dir.Pause(f.opt.Name, now); err != nil {
		return err, nil
	}
	return nil, f.pausedSince(now.UTC().Format(time.RFC3339))
}

func (f *Fold) pausedSince(since string) *Stop {
	return &Stop{CodePaused, hint.Error(fmt.Errorf("an operator paused it at %s", since), "foldrun resume %s", f.opt.Name)}
}

// paused returns why the fold does not run, if an operator paused it.
func (f *Fold) paused() error {
	since, paused, err := f.dir.Paused(f.opt.Name)
	switch {
	case err != nil:
		return &Stop{CodeStore, err}
	case paused:
		return f.pausedSince(since)
	}
	return nil
}

// isRolledBack says whether an error is that an operator rolled a fold back.
func isRolledBack(err error) bool {
	var stop *Stop
	return errors.As(err, &stop) && stop.Code == CodeRolledBack
}

// isPaused says whether an error is that an operator paused a fold.
func isPaused(err error) bool {
	var stop *Stop
	return errors.As(err, &stop) && stop.Code == CodePaused
}

// revive readies a fold that stopped to run as a command says, if it is to. What the command asks for is on disk when it
// returns.
func (f *Fold) revive(ctx context.Context, c command) (run bool, err error) {
	switch {
	case c.do == verbConfigure:
		f.become(ctx, c.with)
		return true, nil
	case c.do == verbPause && isPaused(f.stopped):
		return false, nil
	case c.do == verbPause:
		refused, paused := f.suspend()
		if refused == nil {
			f.stop(paused)
		}
		return false, refused
	case c.do == verbRollback:
		return false, hint.Error(fmt.Errorf("fold %s: %w", f.opt.Name, f.stopped), "see to that first: foldrun resume %s", f.opt.Name)
	case (c.do == verbRebuild || c.do == verbApply) && isPaused(f.stopped):
		return false, hint.Error(fmt.Errorf("fold %s: %w", f.opt.Name, f.stopped), "foldrun resume %s, then ask again", f.opt.Name)
	case c.do == verbRebuild, c.do == verbApply:
		if err = f.fits(true); err == nil {
			err = f.dir.Unhold(f.opt.Name)
		}
		if err == nil {
			err = f.anew()
		}
	case isPaused(f.stopped):
		err = f.dir.Unpause(f.opt.Name)
	}
	if err != nil {
		return false, err
	}
	f.grant(f.stopped, c.accept)
	if f.answered.Store(0); c.accept || c.do == verbRebuild || c.do == verbApply {
		f.answered.Store(foundCreated(f.stopped))
	}
	f.set(func() { f.stopped, f.held, f.cause = nil, nil, nil }) // so that none of it is taken for what comes of the command
	return true, nil
}

// anew notes that a generation is to be built anew, in place of one whose build began: the next run builds it. A fold
// that has no generation builds one whatever is asked for.
func (f *Fold) anew() error {
	if err := f.dir.Finish(f.opt.Name); err != nil {
		return err
	}
	current, err := f.dir.Current(f.opt.Name)
	if err != nil || current == "" {
		return err
	}
	_, err = f.prepare(true)
	return err
}
