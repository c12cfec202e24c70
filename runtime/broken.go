package runtime

import (
	"context"
	"errors"

	"github.com/foldrun/foldrun/store"
)

// Broken returns a fold that could not be made of its options. Its status shows why. What it built before answers reads, and
// follows the source with the module that made it, if o has a connection; else its Run ends at once. Configure mends it.
func Broken(dir *store.Dir, o FoldOptions, why error) *Fold {
	f := newFold(dir, recipe{opt: o.complete(dir)})
	f.broken = why
	return f
}

// runBroken follows the source into the generation that serves, with its own module, if that can be done.
func (s *supervisor) runBroken(ctx context.Context) error {
	s.openIdle()
	if s.cur == nil || s.opt.Conn == nil || s.paused() != nil || !s.goOn(ctx) {
		return s.broken
	}
	code, text := Describe(s.broken)
	s.log.Error("what is configured cannot run: what serves goes on", "code", code, "err", text, "hint", HintOf(s.broken))
	s.set(func() { s.held = s.broken })
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.serving.ended:
		s.serving.ended = nil
		if ctx.Err() != nil {
			return nil
		}
		code, text := Describe(err)
		s.log.Warn("the generation that serves stands still", "code", code, "err", text)
		return errors.Join(s.broken, err)
	case c := <-s.commands:
		return s.obey(ctx, c)
	}
}

// openIdle opens the current generation, if there is one, to be read.
func (f *Fold) openIdle() {
	if f.cur != nil {
		return
	}
	have, err := f.dir.Current(f.opt.Name)
	if err == nil && have == "" {
		return
	}
	var db *store.DB
	if err == nil {
		db, err = f.dir.Open(f.opt.Name, have)
	}
	if err != nil {
		f.log.Warn("store not opened", "err", err)
		return
	}
	f.set(func() { f.cur = f.follower(db, false) })
}

// Try makes a fold as NewFold does, starts an instance of its module, which is given its configuration, and closes both.
// It returns the fold's identity. It needs no data directory. Its error is a *Stop.
func Try(ctx context.Context, o FoldOptions) (id store.Identity, err error) {
	f := &recipe{opt: o}
	if err := f.compile(ctx); err != nil {
		return id, err
	}
	defer f.module.Close(ctx)
	w := f.module.Worker()
	defer w.Close(ctx)
	if err := w.Warm(ctx); err != nil {
		return id, &Stop{CodeModule, err}
	}
	return f.id, nil
}
