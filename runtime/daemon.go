package runtime

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/foldrun/foldrun/store"
)

// Daemon runs the folds of one process over one data directory. A fold that stops leaves the others alone, and goes on
// answering reads.
type Daemon struct {
	dir   *store.Dir
	folds []*Fold
}

// NewDaemon returns a daemon of these folds, which it owns.
func NewDaemon(dir *store.Dir, folds []*Fold) *Daemon {
	folds = slices.Clone(folds)
	builds := make(chan struct{}, 1)
	wanted := make(chan struct{})
	for _, f := range folds {
		f.builds, f.wanted = builds, wanted
	}
	slices.SortFunc(folds, func(x, y *Fold) int { return strings.Compare(x.Name(), y.Name()) })
	return &Daemon{dir, folds}
}

// Folds returns the folds, by name.
func (d *Daemon) Folds() []*Fold { return d.folds }

// Fold returns the fold of a name, nil if there is none.
func (d *Daemon) Fold(name string) *Fold {
	for _, f := range d.folds {
		if f.Name() == name {
			return f
		}
	}
	return nil
}

// Run runs all folds until ctx is done, and each to the end of what it has read. It returns when all of them have. A
// fold that stopped has said so in its log and status, and runs again when an operator says so: that is not Run's error.
func (d *Daemon) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, f := range d.folds {
		all.Go(func() { f.keep(ctx) })
	}
	<-ctx.Done()
	all.Wait()
}

// Close closes the folds, after Run has returned and reads have ended.
func (d *Daemon) Close(ctx context.Context) error {
	var errs []error
	for _, f := range d.folds {
		errs = append(errs, f.Close(ctx))
	}
	return errors.Join(errs...)
}
