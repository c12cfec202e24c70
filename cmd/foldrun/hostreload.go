package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/registry"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// A reloader reads the configuration again while its folds run. What it holds now is checked whole first: with any mistake,
// and where more has changed than folds that are there, nothing changes.
type reloader struct {
	dir     *store.Dir
	folds   []*runtime.Fold
	log     *slog.Logger
	hangups <-chan os.Signal

	mu      sync.Mutex
	modules *modules
	now     *config.Config // what runs
}

// onHangup reloads at each SIGHUP until ctx is done. The function returned waits for the end of that.
func (r *reloader) onHangup(ctx context.Context) (wait func()) {
	var listening sync.WaitGroup
	listening.Go(func() {
		for {
			select {
			case <-r.hangups:
			case <-ctx.Done():
				return
			}
			if did, err := r.reload(ctx); err != nil {
				r.log.Error("configuration not taken: nothing changes", "err", err, "hint", hint.Of(err))
			} else {
				r.log.Info("configuration read again", "changed", did.Changed, "unchanged", did.Unchanged)
			}
		}
	})
	return listening.Wait
}

// takeTime is how long the folds together may take to stop for what they become.
const takeTime = time.Minute

// reload takes what the file holds now.
func (r *reloader) reload(ctx context.Context) (did serve.Reloaded, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := config.Load(r.now.Path)
	if err != nil {
		return did, hint.Error(err, "foldrun check -c %s lists what is wrong", r.now.Path)
	}
	if what := r.now.Beside(c); len(what) > 0 {
		return did, hint.Error(fmt.Errorf("%s: what only a start takes up has changed: %s", c.Path, strings.Join(what, ", ")),
			"start foldrun again: a reload takes up what has changed within folds that run already")
	}
	var ready []prepared
	for i, fc := range c.Folds {
		p, err2 := r.prepare(ctx, c, fc, r.now.Folds[i])
		if p != nil {
			ready = append(ready, *p)
			did.Changed = append(did.Changed, fc.Name)
		}
		r.fold(fc.Name).Refuse(err2)
		err = errors.Join(err, err2)
	}
	if err != nil {
		for _, p := range ready {
			err = errors.Join(err, p.Close(ctx))
		}
		return serve.Reloaded{}, err
	}
	did.Unchanged = len(c.Folds) - len(did.Changed)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeTime) // what is begun is not left half done
	defer cancel()
	for _, p := range ready {
		if err2 := r.take(ctx, p); err2 != nil {
			err = errors.Join(err, err2, p.Close(ctx))
			i := slices.IndexFunc(c.Folds, func(f config.Fold) bool { return f.Name == p.config.Name })
			c.Folds[i] = r.now.Folds[i] // it differs still, at the next reload
		}
	}
	r.now = c
	return did, err
}

func (r *reloader) fold(name string) *runtime.Fold {
	return r.folds[slices.IndexFunc(r.folds, func(f *runtime.Fold) bool { return f.Name() == name })]
}

// prepared is what a fold is to become.
type prepared struct {
	*runtime.Prepared
	config config.Fold
	module registry.Module
}

// prepare returns what a fold is to become, nil if that is what it is.
func (r *reloader) prepare(ctx context.Context, c *config.Config, fc, was config.Fold) (*prepared, error) {
	l := r.modules.links[fc.Source.NATS]
	module, err := r.modules.load(ctx, fc)
	if err == nil && l.err != nil {
		err = &runtime.Stop{Code: runtime.CodeConnection, Err: l.err}
	}
	if err != nil || fc.Same(was) && r.fold(fc.Name).Runs(module.Wasm) {
		return nil, err
	}
	o := r.modules.options(c, fc, r.log)
	o.Wasm = module.Wasm
	p, err := runtime.Prepare(ctx, r.dir, o)
	if err != nil {
		return nil, err
	}
	return &prepared{p, fc, module}, nil
}

// take has a fold become what was prepared.
func (r *reloader) take(ctx context.Context, p prepared) error {
	if err := r.fold(p.config.Name).Configure(ctx, p.Prepared); err != nil {
		return errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	}
	r.modules.ran(p.config, p.module)
	return nil
}
