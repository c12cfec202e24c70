package runtime

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/foldrun/foldrun/store"
)

// TestHaltDuringUpgrade: with on_divergence = "halt" a stream that is made anew stops the fold also while another generation waits to
// be built, or is built and follows: neither is made of the new stream until an operator accepts it.
func TestHaltDuringUpgrade(t *testing.T) {
	for name, queued := range map[string]bool{"queued": true, "built": false} {
		t.Run(name, func(t *testing.T) {
			c := newClinic(t, 1, func(o *FoldOptions) { o.OnDiverged = DivergedHalt })
			c.run()
			c.fine(c.put("k", "ax=1"))
			first := c.Status().Generation
			if queued {
				c.builds <- struct{}{} // another fold builds
			}
			another(&c.o, 1)
			c.o.Gates = []GateQuery{{Name: "two", Index: "a", AtLeast: 2, AtMost: AnyNumber}}
			c.configure()
			c.await("a build", func(st Status) bool {
				return st.Build != nil && (queued && st.Build.State == StateQueued || st.Code == CodeGate)
			})
			c.renew()
			for range 2 {
				if st := c.awaitStop("source_recreated"); st.Generation != first {
					t.Errorf("%+v", st)
				}
				equal(t, "rows", c.rows(0, store.Range{}), `"x" "k" "1"`)
				check(t, c.Resume(t.Context(), false))
			}
			c.awaitStop("source_recreated")
			if queued {
				<-c.builds
			}
			check(t, c.Resume(t.Context(), true))
			last := c.put("two", "ax=2")
			c.await("the upgrade", func(st Status) bool { return st.Generation != first && st.Seq == last && st.State == StateFollowing })
			equal(t, "rows", c.rows(0, store.Range{}), `"x" "one" "1"`, `"x" "two" "2"`)
			whole(t, c.Store())
			c.stop()
		})
	}
}

// TestHaltOfBuild: where what serves stands still, since its module is gone, the build alone finds the stream made anew, and is held.
func TestHaltOfBuild(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.OnDiverged = DivergedHalt })
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	c.stop()
	check(t, os.Remove(filepath.Join(c.path, "folds", "f", first, "module.wasm")))
	another(&c.o, 1)
	c.o.Gates = []GateQuery{{Name: "two", Index: "a", AtLeast: 2, AtMost: AnyNumber}}
	c.run()
	c.await("a build", func(st Status) bool { return st.Code == CodeGate })
	c.renew()
	last := c.put("two", "ax=2") // by which the gate is passed
	held := func(st Status) bool {
		return st.State == StateHeld && st.Code == "source_recreated" && st.Build == nil && st.Generation == first
	}
	c.await("a hold", held)
	check(t, c.Resume(t.Context(), false))
	c.await("a hold", held)
	equal(t, "rows", c.rows(0, store.Range{}), `"x" "k" "1"`)
	check(t, c.Resume(t.Context(), true))
	c.await("the upgrade", func(st Status) bool { return st.Generation != first && st.Seq == last && st.State == StateFollowing })
	equal(t, "rows", c.rows(0, store.Range{}), `"x" "one" "1"`, `"x" "two" "2"`)
	c.stop()
}
