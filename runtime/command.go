package runtime

import (
	"context"
	"fmt"

	"github.com/foldrun/foldrun/hint"
)

// A command is what an operator asks of a fold.
type command struct {
	rebuild bool // else: resume
	accept  bool
	reply   chan error
}

// Rebuild has the fold build a generation anew from its stream, beside the one that serves, and switch to it if the
// gates let it. One that is held, or failed, is dropped first. It returns once that is under way, and a restart goes on
// with it.
func (f *Fold) Rebuild(ctx context.Context) error { return f.ask(ctx, command{rebuild: true}) }

// Resume has a fold that stopped, or whose build did, go on. With accept, the operator accepts what that loses: a switch
// that is held is made, and a stream with another history is followed. It returns once that is under way.
func (f *Fold) Resume(ctx context.Context, accept bool) error {
	return f.ask(ctx, command{accept: accept})
}

func (f *Fold) ask(ctx context.Context, c command) error {
	if f.broken != nil {
		return hint.Error(fmt.Errorf("fold %s cannot run: %w", f.opt.Name, f.broken), "mend that, and start foldrun again")
	}
	c.reply = make(chan error, 1)
	select {
	case f.commands <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-c.reply
}

// obey carries out a command while the fold runs. Where it refuses, the fold goes on; where it fails, part of it may be
// done, and the fold ends.
func (s *supervisor) obey(ctx context.Context, c command) (refused, failed error) {
	switch {
	case c.rebuild && s.next != nil && s.held == nil:
		return hint.Error(fmt.Errorf("fold %s: generation %s is being built already", s.opt.Name, s.next.db.Generation()), "foldrun status says how far it is"), nil
	case c.rebuild:
		if err := s.drop(); err != nil {
			return nil, &Stop{CodeStore, err}
		}
		return nil, s.begin(s.cause)
	case s.next != nil && s.held != nil && c.accept:
		return nil, s.change()
	case s.next != nil && s.held != nil:
		return hint.Error(fmt.Errorf("fold %s: %w", s.opt.Name, s.held), "%s", HintOf(s.held)), nil
	case s.held != nil: // the build failed
		s.grant(s.held, c.accept)
		s.set(func() { s.held = nil })
		return nil, s.begin(s.cause)
	}
	return hint.Error(fmt.Errorf("fold %s is not stopped", s.opt.Name), "foldrun status says what it does"), nil
}

// drop removes what is being built.
func (s *supervisor) drop() error {
	s.building.halt()
	g := s.building.follower
	s.building = running{}
	s.release()
	s.set(func() { s.next, s.held = nil, nil })
	s.retire()
	if g != nil {
		if err := g.db.Close(); err != nil {
			return err
		}
	}
	return s.dir.Finish(s.opt.Name)
}

// keep runs the fold until ctx is done, again after each stop that an operator ends.
func (f *Fold) keep(ctx context.Context) {
	for more := true; more; more = f.restart(ctx) {
		f.Run(ctx)
	}
}

// restart waits, after Run has returned, for a command that has the fold run again. It returns false when ctx is done.
func (f *Fold) restart(ctx context.Context) bool {
	if f.broken != nil {
		<-ctx.Done()
		return false
	}
	for {
		select {
		case c := <-f.commands:
			err := f.revive(c)
			c.reply <- err
			if err == nil {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// revive readies a fold that stopped to run as a command says. What it asks for is on disk when it returns.
func (f *Fold) revive(c command) error {
	if c.rebuild {
		if err := f.order(); err != nil {
			return err
		}
	}
	f.grant(f.stopped, c.accept)
	f.set(func() { f.stopped = nil })
	return nil
}

// order notes that a generation is to be built anew, in place of one whose build began: the next run builds it. A fold
// that has no generation builds one whatever is asked for.
func (f *Fold) order() error {
	if err := f.dir.Finish(f.opt.Name); err != nil {
		return err
	}
	current, err := f.dir.Current(f.opt.Name)
	if err != nil || current == "" {
		return err
	}
	_, err = f.prepare()
	return err
}
