package runtime

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// TestRebuild builds a generation anew because an operator says so, twice, and again under a daemon that restarts a
// stopped fold.
func TestRebuild(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E", MaxMsgsPerSubject: 1})
	k.run()
	k.keys("a", "b")
	k.agree(2)
	first := k.r.Store().Generation()
	for _, want := range []string{first + "-2", first + "-3"} {
		check(t, k.r.Rebuild(t.Context()))
		k.r.await("a switch", func(Status) bool { return k.r.Store().Generation() == want })
		k.agree(2)
	}
	k.keys("c")
	k.agree(3)
	var refused error
	if refused = k.r.Resume(t.Context(), false); refused == nil {
		t.Error("a fold that follows was resumed")
	}
	k.halt()
	k.run()
	k.agree(3)
	if is := k.r.Store().Generation(); is != first+"-3" {
		t.Errorf("after a restart generation %s serves", is)
	}
	k.halt()
}

// TestBuildGoesOn stops a fold while it holds a build: the next run goes on with that one, holds again, and a rebuild
// drops it.
func TestBuildGoesOn(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E", MaxMsgsPerSubject: 1})
	k.run()
	k.keys("a", "b", "c", "d")
	k.agree(4)
	k.anew()
	k.keys("a")
	held := func(st Status) bool { return st.Code == CodeHeld }
	k.r.await("a hold", held)
	built := k.r.Status().Build.Generation
	k.halt()
	k.run()
	k.r.await("a hold again", held)
	if is := k.r.Status().Build.Generation; is != built {
		t.Errorf("generation %s was being built, now it is %s", built, is)
	}
	k.keys("b", "c", "d")
	check(t, k.r.Rebuild(t.Context()))
	k.r.await("a switch", func(st Status) bool { return st.Build == nil && st.Code == "" })
	k.agree(4)
	k.halt()
}

// TestOneBuildAtATime has all folds of a daemon build anew at once.
func TestOneBuildAtATime(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("B", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	dir := openDir(t, t.TempDir(), store.Options{Memory: must(store.SplitMemory(128<<20, 5, 0))(t)})
	var folds []*Fold
	for i := range 4 {
		o := s.modelFold("B")
		o.Name = fmt.Sprint("f", i)
		folds = append(folds, must(NewFold(t.Context(), dir, o))(t))
	}
	d := NewDaemon(dir, folds)
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	for _, f := range folds {
		r := &runner{Fold: f, t: t, done: done}
		r.reach(last)
		check(t, f.Rebuild(t.Context()))
	}
	for _, f := range folds {
		r := &runner{Fold: f, t: t, done: done}
		r.await("a switch", func(st Status) bool {
			if building(folds) > 1 {
				t.Error("two folds build at once")
			}
			return strings.HasSuffix(st.Generation, "-2")
		})
	}
	end()
	<-done
	check(t, d.Close(context.WithoutCancel(t.Context())))
	check(t, dir.Close())
}

// building returns how many folds build at once: those that did when it looked at each, and do when it looks again.
func building(folds []*Fold) (n int) {
	did := folds
	for range 2 {
		var do []*Fold
		for _, f := range did {
			if b := f.Status().Build; b != nil && b.State != StateQueued {
				do = append(do, f)
			}
		}
		did = do
	}
	return len(did)
}
