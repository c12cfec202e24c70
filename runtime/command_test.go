package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/foldrun/foldrun/store"
)

// TestSwitchFails has a switch that an operator asks for fail after what served was halted: the fold stops, visibly, and
// resumed it goes on with what it has.
func TestSwitchFails(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	for i := range 10 {
		c.put(fmt.Sprint("k", i), "ax=1")
	}
	c.fine(10)
	first := c.Status().Generation
	c.renew()
	c.await("a hold", func(st Status) bool { return st.State == StateHeld && st.Code == CodeHeld })
	check(t, os.WriteFile(filepath.Join(c.dir.FoldPath("f"), "NEXT"), []byte("no generation"), 0o644))
	if err := c.Resume(t.Context(), true); err == nil {
		t.Error("the switch was made")
	}
	st := c.awaitStop(CodeStore)
	if st.Generation != first || len(c.rows(0, store.Range{})) != 10 {
		t.Errorf("after the switch failed: %+v", st)
	}
	check(t, c.Resume(t.Context(), true))
	c.await("one key", func(st Status) bool { return st.Live == 1 })
	equal(t, "rows", c.rows(0, store.Range{}), `"x" "one" "1"`)
	whole(t, c.Store())
	c.stop()
}

// TestRebuildOutlives asks a fold that stopped to be built anew, and starts it again before it could be: the next run
// builds it, also where builds are for operators to begin. A build whose place the new one takes is dropped.
func TestRebuildOutlives(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	path, o := t.TempDir(), s.modelFold("edge")
	r := start(t, path, store.Options{}, o)
	r.reach(last)
	first := r.Status().Generation
	r.stop()
	check(t, os.Remove(filepath.Join(path, "folds", "f", first, "module.wasm"))) // else it would be followed

	o.Collisions, o.Upgrade = nil, UpgradeManual
	r = start(t, path, store.Options{}, o)
	if code, _ := Describe(r.wait()); code != CodeIdentity {
		t.Fatalf("stopped with %s", code)
	}
	check(t, r.dir.Begin("f", store.Next{Generation: first + "-7", Replaces: first}))
	if run, err := r.revive(t.Context(), command{do: verbRebuild}); !run || err != nil {
		t.Fatal(run, err)
	}
	if next := must(r.dir.Next("f"))(t); next.Generation == first+"-7" || next.Replaces != first {
		t.Errorf("asked for is %+v", next)
	}
	r.close()

	r = start(t, path, store.Options{}, o)
	r.await("a switch", func(st Status) bool { return st.Generation != first })
	r.stop()
	r = start(t, path, store.Options{}, o)
	r.reach(s.put(kv, "k", []byte("ax=2")))
	if st := r.Status(); st.Build != nil {
		t.Errorf("it is built again: %+v", st)
	}
	r.stop()
}

// TestPause pauses a fold that follows: it answers reads and stands still, also after a restart, until it is resumed. One
// that stopped can be paused too, and stops again where it did.
func TestPause(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.OnError = OnErrorHalt })
	c.run()
	first := c.put("a", "ax=1")
	c.fine(first)
	paused := func(st Status) bool { return st.State == StatePaused }
	for range 2 { // twice is once
		check(t, c.Pause(t.Context()))
		c.await("a pause", paused)
	}
	c.put("a", "ax=2")
	for range 2 {
		if st := c.Status(); st.Code != CodePaused || st.Seq != first || st.Hint != "foldrun resume f" {
			t.Errorf("%+v", st)
		}
		equal(t, "rows", c.rows(0, store.Range{}), `"x" "a" "1"`)
		if err := c.Rebuild(t.Context()); err == nil || c.Status().State != StatePaused {
			t.Errorf("a rebuild of a fold that is paused: %v", err)
		}
		c.halt()
		c.run()
		c.await("a pause", paused)
	}
	check(t, c.Resume(t.Context(), true))
	if c.accept.Load() != 0 {
		t.Error("a loss is accepted of which nobody was told")
	}
	c.fine(first + 1)
	c.put("bad", "T")
	c.awaitStop(CodeRecordFailed)
	check(t, c.Pause(t.Context()))
	c.await("a pause", paused)
	check(t, c.Resume(t.Context(), false))
	c.awaitStop(CodeRecordFailed)
	c.halt()
}

// TestPauseBuild pauses a fold that builds: the build goes on after the pause.
func TestPauseBuild(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	for i := range 10 {
		c.put(fmt.Sprint("k", i), "ax=1")
	}
	c.fine(10)
	c.renew()
	held := func(st Status) bool { return st.State == StateHeld && st.Code == CodeHeld }
	c.await("a hold", held)
	next := c.Status().Build.Generation
	check(t, c.Pause(t.Context()))
	c.await("a pause", func(st Status) bool { return st.State == StatePaused })
	check(t, c.Resume(t.Context(), false))
	c.await("a hold", held)
	if st := c.Status(); st.Build == nil || st.Build.Generation != next || len(c.rows(0, store.Range{})) != 10 {
		t.Errorf("after the pause: %+v", st)
	}
	c.stop()
}
