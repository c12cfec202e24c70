package runtime

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// daemon runs folds until the test ends.
func daemon(t *testing.T, dir *store.Dir, folds ...*Fold) (stop func()) {
	t.Helper()
	d := NewDaemon(dir, folds)
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		d.Run(ctx)
		close(done)
	}()
	return func() {
		t.Helper()
		end()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("the daemon does not end")
		}
		for _, f := range folds {
			if db := f.Store(); db != nil {
				whole(t, db)
			}
		}
		check(t, d.Close(context.WithoutCancel(t.Context())))
		check(t, dir.Close())
	}
}

// TestBrokenFollows: a fold whose configured module may not run follows on with the one that made what serves, says so,
// takes no commands but a module that may, and then goes on with that.
func TestBrokenFollows(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	path, o := t.TempDir(), s.modelFold("edge")
	o.Collisions = nil
	r := start(t, path, store.Options{}, o)
	r.reach(s.put(kv, "k", []byte("ax=1")))
	first := r.Status().Generation
	r.stop()

	wasm := testModule(t, "echo")
	o.Wasm = nil
	refused := &Stop{CodeUntrusted, hint.Error(errors.New("it is not signed"), "sign it")}
	dir := openDir(t, path, store.Options{})
	f := Broken(dir, o, refused)
	stop := daemon(t, dir, f)
	last := s.put(kv, "l", []byte("ax=2"))
	awaitStatus(t, f, func(st Status) bool { return st.Seq >= last && st.State == StateHeld })
	if st := f.Status(); st.Code != CodeUntrusted || st.Hint != "sign it" || st.Generation != first || st.Indexes[0].Rows != 2 {
		t.Errorf("while it is refused: %+v", st)
	}
	if err := f.Pause(t.Context()); !errors.Is(err, refused) {
		t.Errorf("pause: %v", err)
	}
	o.Wasm = wasm
	check(t, f.Configure(t.Context(), must(Prepare(t.Context(), dir, o))(t)))
	awaitStatus(t, f, func(st Status) bool { return st.State == StateFollowing && st.Generation != first })
	last = s.put(kv, "m", []byte("v"))
	awaitStatus(t, f, func(st Status) bool { return st.Seq >= last })
	if st := f.Status(); st.Module != "echo" || st.Indexes[0].Rows != 3 {
		t.Errorf("afterwards: %+v", st)
	}
	check(t, f.Pause(t.Context()))
	stop()
}

// TestBrokenFirst: a fold that has nothing yet waits for its module, and begins with it.
func TestBrokenFirst(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	o := s.modelFold("edge")
	wasm := o.Wasm
	o.Wasm = nil
	dir := openDir(t, t.TempDir(), store.Options{})
	f := Broken(dir, o, &Stop{CodeModuleAway, errors.New("away")})
	stop := daemon(t, dir, f)
	awaitStatus(t, f, func(st Status) bool { return st.State == StateStopped && st.Code == CodeModuleAway })
	o.Wasm = wasm
	check(t, f.Configure(t.Context(), must(Prepare(t.Context(), dir, o))(t)))
	awaitStatus(t, f, func(st Status) bool { return st.Seq >= last && st.State == StateFollowing })
	stop()
}
