package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/foldrun/foldrun/store"
)

// A Prepared is what a fold can be made into: options that hold, with a module that is compiled.
type Prepared struct{ recipe recipe }

// Prepare checks and compiles, as NewFold does, what a fold is to become, and starts an instance of its module. Its error is a *Stop. What is not given to
// Configure is to be closed.
func Prepare(ctx context.Context, dir *store.Dir, o FoldOptions) (*Prepared, error) {
	r, err := newRecipe(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	w := r.module.Worker()
	err = w.Warm(ctx)
	w.Close(ctx)
	if err != nil {
		return nil, errors.Join(&Stop{CodeModule, fmt.Errorf("fold %s: %w", o.Name, err)}, r.module.Close(ctx))
	}
	return &Prepared{r}, nil
}

// Runs reports whether the fold is configured with this module.
func (f *Fold) Runs(wasm []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Equal(f.opt.Wasm, wasm)
}

// Close frees the module.
func (p *Prepared) Close(ctx context.Context) error { return p.recipe.module.Close(ctx) }

// Configure has the fold be what was prepared, of the same name, as if it had been started with it: it stops following its
// source, takes up the new options and follows again, or has another generation built beside the one that serves. Reads go
// on meanwhile. A fold that is broken or stopped is started. It returns once the fold has stopped for it.
func (f *Fold) Configure(ctx context.Context, p *Prepared) error {
	if p.recipe.opt.Name != f.name {
		return fmt.Errorf("runtime: fold %s cannot become fold %s", f.name, p.recipe.opt.Name)
	}
	return f.send(ctx, command{do: verbConfigure, with: p})
}

// Refuse notes, for the status, why the fold does not become what it was to be: what it is goes on. Nil takes that back, as
// Configure does.
func (f *Fold) Refuse(why error) {
	f.mu.Lock()
	same := f.refused == nil && why == nil
	f.mu.Unlock()
	if !same {
		f.set(func() { f.refused = why })
	}
}

// A configured is why a run ends of a fold that goes on as something else.
type configured struct{ with *Prepared }

func (*configured) Error() string { return "runtime: the fold was configured anew" }

// becomes returns what a fold goes on as whose run ended with err, nil if it does not.
func becomes(err error) *Prepared {
	var c *configured
	if errors.As(err, &c) {
		return c.with
	}
	return nil
}

// become makes the fold what was prepared. It does not run.
func (f *Fold) become(ctx context.Context, p *Prepared) {
	old := f.module
	f.accept.Store(0) // what an operator accepted was of what the fold was
	f.lifted.Store(false)
	f.set(func() { f.recipe, f.broken, f.refused = p.recipe, nil, nil })
	if old == nil || f.cur != nil && f.cur.module == old {
		return // it is closed with what it made
	}
	if err := old.Close(ctx); err != nil {
		f.log.Warn("module not closed", "err", err)
	}
}
