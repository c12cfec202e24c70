package runtime

import (
	"context"
	"log/slog"

	"github.com/foldrun/foldrun/store"
)

// Broken returns a fold that could not be made of its options. Its Run ends at once with why, which its status shows; what
// it built before answers reads. Of o it uses Name, Staleness and Log.
func Broken(dir *store.Dir, o FoldOptions, why error) *Fold {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Fold{recipe: recipe{opt: FoldOptions{Name: o.Name, Staleness: o.Staleness}}, name: o.Name, sweepPause: sweepPause, farBehind: farBehind, dir: dir, log: o.Log.With("fold", o.Name),
		moved: make(chan struct{}), commands: make(chan command), broken: why}
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
