package runtime

import (
	"context"
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

// compiled says whether a fold's module is.
func compiled(f *Fold) bool {
	_, _, done := f.module.Compiled()
	return done
}

// reopened makes a fold anew over what an earlier run left, and does not run it.
func reopened(t *testing.T, path string, o FoldOptions) *Fold {
	t.Helper()
	dir := openDir(t, path, store.Options{})
	f := must(NewFold(t.Context(), dir, o))(t)
	t.Cleanup(func() {
		check(t, f.Close(context.WithoutCancel(t.Context())))
		check(t, dir.Close())
	})
	return f
}

// runs runs a fold until it is told to stop.
func runs(t *testing.T, f *Fold) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// TestCompileWhenNeeded: a start over what the module has made does not wait for it to be compiled. It is when an update comes,
// or once everything is folded. Where a limit is another, it is compiled at once.
func TestCompileWhenNeeded(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("lazy", 1)
	path, o := t.TempDir(), s.modelFold("lazy")
	s.put(kv, "k", []byte("ax=1"))
	t.Run("first", func(t *testing.T) {
		f := reopened(t, path, o)
		if !compiled(f) {
			t.Error("the module of a fold that has no generation is not compiled")
		}
		defer runs(t, f)()
		awaitStatus(t, f, func(st Status) bool { return st.CaughtUp && st.Seq == 1 })
	})
	t.Run("an update", func(t *testing.T) {
		f := reopened(t, path, o)
		if compiled(f) {
			t.Error("the module is compiled before it is needed")
		}
		last := s.put(kv, "l", []byte("ax=2"))
		defer runs(t, f)()
		awaitStatus(t, f, func(st Status) bool { return st.Seq >= last })
		if st := f.Status(); st.Indexes[0].Rows != 2 || !compiled(f) {
			t.Errorf("compiled %t, %+v", compiled(f), st)
		}
	})
	t.Run("idle", func(t *testing.T) {
		f := reopened(t, path, o)
		if compiled(f) {
			t.Error("the module is compiled before it is needed")
		}
		defer runs(t, f)()
		tick, late := time.NewTicker(10*time.Millisecond), time.NewTimer(patience)
		defer tick.Stop()
		defer late.Stop()
		for !compiled(f) {
			select {
			case <-tick.C:
			case <-late.C:
				t.Fatalf("not compiled though everything is folded: %+v", f.Status())
			}
		}
	})
	t.Run("another limit", func(t *testing.T) {
		o := o
		o.Module.Memory = 128 << 20
		if f := reopened(t, path, o); !compiled(f) {
			t.Error("the module is not compiled though its memory is another")
		}
	})
}

// TestCompileFailed: a module that never started stops its fold at each start, though the generation that it would make is there.
func TestCompileFailed(t *testing.T) {
	s := newSite(t)
	s.bucket("odd", 1)
	path, o := t.TempDir(), s.modelFold("odd")
	o.Wasm, o.Collisions, o.Module.Config = testModule(t, "odd"), nil, []byte(`{"trap": true}`)
	for range 2 {
		t.Run("start", func(t *testing.T) {
			f := reopened(t, path, o)
			defer runs(t, f)()
			awaitStatus(t, f, func(st Status) bool { return st.State == StateStopped && st.Code == CodeModule })
		})
	}
}
