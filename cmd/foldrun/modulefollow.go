package main

import (
	"context"
	"sync"
	"time"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
)

// How often the object of a fold is looked at. Most of the time somebody tells that it was replaced.
const (
	lookEvery   = time.Minute            // and it is what the fold runs
	lookWaiting = 2 * time.Second        // and the fold has none
	lookNudged  = 200 * time.Millisecond // after somebody told, and then ever more seldom: the server tells before it has stored it
)

// A moduleWatch has folds take what the objects become that are their modules, as a reload would.
type moduleWatch struct {
	*reloader
	nudged  chan struct{}
	stops   map[string]func() error // of nudges, by connection and object
	refused map[string]string       // by fold, the sha256 and the signature of an object that was not taken
	told    map[string]string       // by fold, why its object could not be looked at
}

// follow watches objects until ctx is done. The function returned waits for the end of that.
func (r *reloader) follow(ctx context.Context) (wait func()) {
	w := &moduleWatch{r, make(chan struct{}, 1), map[string]func() error{}, map[string]string{}, map[string]string{}}
	var watching sync.WaitGroup
	watching.Go(func() { w.run(ctx) })
	return watching.Wait
}

func (w *moduleWatch) run(ctx context.Context) {
	defer func() {
		for _, stop := range w.stops {
			stop()
		}
	}()
	for told := time.Duration(0); ctx.Err() == nil; {
		again := w.look(ctx)
		if told *= 2; told > 0 && told < again {
			again = told
		} else {
			told = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		case <-w.nudged:
			told = lookNudged
			select {
			case <-ctx.Done():
			case <-time.After(told):
			}
		}
	}
}

// look looks at the objects of all folds, and says when to look again.
func (w *moduleWatch) look(ctx context.Context) (again time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	again = lookEvery
	for _, fc := range w.now.Folds {
		_, runs := w.modules.loaded[fc.Name]
		if fc.Module.Object == "" || fc.Module.SHA256 != "" && runs || w.modules.links[fc.Source.NATS].conn == nil {
			continue // it has what it is to have, for as long as it is configured so
		}
		w.nudge(fc)
		w.lookAt(ctx, fc)
		if w.modules.loaded[fc.Name] == "" {
			again = lookWaiting
		}
	}
	return again
}

func (w *moduleWatch) nudge(fc config.Fold) {
	key := fc.Source.NATS + " " + fc.Module.Object
	if w.stops[key] != nil {
		return
	}
	stop, err := w.modules.objects(fc).Nudge(fc.Module.Object, w.nudged)
	if err != nil {
		return // within a minute it is looked at all the same
	}
	w.stops[key] = stop
}

// lookAt has a fold take its object if that is another module.
func (w *moduleWatch) lookAt(ctx context.Context, fc config.Fold) {
	is, signature, err := w.modules.objects(fc).Look(ctx, fc.Module.Object)
	if err != nil {
		w.unseen(ctx, fc, err)
		return
	}
	delete(w.told, fc.Name)
	if is == w.modules.loaded[fc.Name] {
		if w.refused[fc.Name] != "" { // what was refused is there no more
			delete(w.refused, fc.Name)
			w.fold(fc.Name).Refuse(nil)
		}
		return
	}
	if is+signature == w.refused[fc.Name] {
		return
	}
	p, err := w.prepare(ctx, w.now, fc, fc)
	if err == nil && p != nil {
		err = w.take(ctx, *p)
	}
	switch {
	case ctx.Err() != nil || moduleCode(err) == runtime.CodeModuleAway: // the next look, or the next start, sees it
	case err != nil:
		w.refused[fc.Name] = is + signature
		w.fold(fc.Name).Refuse(err)
		code, text := runtime.Describe(err)
		w.log.Error("new module not taken: what runs goes on", "fold", fc.Name, "object", fc.Module.Object, "sha256", is, "code", code, "err", text, "hint", runtime.HintOf(err))
	case p != nil:
		next := "it is built beside what serves"
		if fc.Upgrade == string(runtime.UpgradeManual) {
			next = "foldrun apply " + fc.Name + " has it built"
		}
		w.log.Info("new module", "fold", fc.Name, "object", fc.Module.Object, "version", p.module.Version, "sha256", p.module.SHA256, "next", next)
	}
}

// unseen tells once why an object cannot be looked at.
func (w *moduleWatch) unseen(ctx context.Context, fc config.Fold, err error) {
	if text := err.Error(); w.told[fc.Name] != text && ctx.Err() == nil {
		w.told[fc.Name] = text
		w.log.Warn("the module's object cannot be looked at", "fold", fc.Name, "object", fc.Module.Object, "err", err, "hint", hint.Of(err))
	}
}
