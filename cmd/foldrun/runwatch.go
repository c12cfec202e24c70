package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/registry"
)

// A runWatch runs folds for an author: when the configuration or a module has changed, everything stops in grace and starts
// with what the files hold now. That is the way of any restart, so a new module builds its index beside the one that
// serves. A change that could not start is told, and changes nothing.
type runWatch struct {
	foldRun
	files []string // that it was made of when it could last be read, the modules included
}

// watch returns when ctx is done, or when the folds cannot run.
func (w *runWatch) watch(ctx context.Context) error {
	for {
		running, stop := context.WithCancel(ctx)
		was, over := w.stamps(), make(chan struct{})
		go func() {
			defer close(over)
			w.wait(running, was)
			stop()
		}()
		err := w.run(running)
		stop()
		<-over
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// wait returns when there is something to start anew for, or when ctx is done.
func (w *runWatch) wait(ctx context.Context, was map[string]stamp) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	seen := was
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := w.stamps()
		settled := same(seen, now) // a file that is being written changes again
		seen = now
		if !settled || same(was, now) {
			continue
		}
		if w.good(ctx, was, now) {
			return
		}
		was = now
	}
}

// stamps returns the stamps of the configuration's files and of the modules; of what cannot be read there is none.
func (w *runWatch) stamps() map[string]stamp {
	if c, err := config.Load(w.path); err == nil {
		w.files = filesOf(w.path, c)
	}
	all := map[string]stamp{}
	for _, path := range append([]string{w.path}, w.files...) {
		if info, err := os.Stat(path); err == nil {
			all[path] = stamp{info.ModTime(), info.Size()}
		}
	}
	return all
}

// filesOf lists the files that a configuration is made of.
func filesOf(path string, c *config.Config) []string {
	files := []string{path}
	for _, pattern := range c.Include {
		included, _ := filepath.Glob(pattern) // a bad pattern is no configuration
		files = append(files, included...)
	}
	for _, f := range c.Folds {
		if f.Module.Path != "" {
			files = append(files, f.Module.Path, f.Module.Path+registry.Suffix)
		}
	}
	return files
}

// good says whether what has changed can be started, and tells why it cannot.
func (w *runWatch) good(ctx context.Context, was, now map[string]stamp) bool {
	c, err := config.Load(w.path)
	var problems *config.Problems
	if errors.As(err, &problems) && !problems.Fatal() {
		err = nil // a start goes on without the folds that have mistakes, and says which
	}
	if err != nil {
		w.log.Error("change not taken", "file", w.path, "err", err, "hint", hint.Of(err))
		return false
	}
	for _, f := range c.Folds {
		path := f.Module.Path
		if f.Module.Object != "" || was[path].equal(now[path]) {
			continue
		}
		module, err := onlyLooking(c, nil).load(ctx, f)
		if err == nil {
			err = inspectModule(ctx, path, module.Wasm).err
		}
		if err != nil {
			w.log.Error("change not taken", "fold", f.Name, "file", path, "err", err, "hint", hint.Of(err))
			return false
		}
	}
	for path := range now {
		if !was[path].equal(now[path]) {
			w.log.Info("file changed, starting anew", "file", path)
		}
	}
	for path := range was {
		if _, there := now[path]; !there {
			w.log.Info("file gone, starting anew", "file", path)
		}
	}
	return true
}
