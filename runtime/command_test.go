package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/foldrun/foldrun/store"
)

// renew deletes the clinic's bucket and makes it again, with one key.
func (c *clinic) renew() uint64 {
	c.t.Helper()
	check(c.t, c.s.js.DeleteKeyValue(c.t.Context(), "edge"))
	c.kv = c.s.bucket("edge", 1)
	return c.put("one", "ax=1")
}

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

	o.Collisions, o.Upgrade = nil, UpgradeManual
	r = start(t, path, store.Options{}, o)
	if code, _ := Describe(r.wait()); code != CodeIdentity {
		t.Fatalf("stopped with %s", code)
	}
	check(t, r.dir.Begin("f", store.Next{Generation: first + "-7", Replaces: first}))
	check(t, r.revive(command{rebuild: true}))
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
