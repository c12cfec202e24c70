package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/foldrun/foldrun/store"
)

func (h Histogram) count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// TestFigures counts what a fold does, for metrics; a generation that replaces another counts on.
func TestFigures(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Budget, o.DiskQuota = &store.Budget{Share: 1}, 1<<40 })
	c.run()
	for i := range 20 {
		c.fine(c.put(fmt.Sprint("k", i), "ax=1"))
	}
	c.fine(c.put("bad", "T"))
	counted := func(updates, fuel uint64) { // which follows on the commit, and on what workers did for it
		t.Helper()
		eventually(t, "count of all", func() bool {
			x := c.Figures()
			return c.Status().Counts.Updates == updates && x.Fuel.count() == fuel && x.Failed["trap"] == updates/21 && x.Frames > 20
		})
	}
	counted(21, 20)
	x := c.Figures()
	st := c.Status()
	if n := x.Commit.count(); n != st.Counts.Batches || x.Pull.count() == 0 || x.Transform.count() == 0 || x.Commit.Sum <= 0 {
		t.Errorf("%d commits of %d, %+v", n, st.Counts.Batches, x)
	}
	if x.Fuel.count() != 20 || x.Fuel.Sum < 20 || x.Frames < 21 || x.Instances < 2 || x.Failed["trap"] != 1 || len(x.Failed) != 1 {
		t.Errorf("of the module: %+v", x)
	}
	if x.Memory < 64<<10 || x.Compile <= 0 || x.Cached || x.Build != nil {
		t.Errorf("%+v", x)
	}
	v := must(c.Store().View())(t)
	m := c.Figures().Serving
	if m == nil || m.DiskBytes == 0 || m.Views != 1 || m.Memtables == 0 || m.WriteAmp <= 0 {
		t.Errorf("of the store: %+v", m)
	}
	check(t, v.Close())
	first := st.Generation
	check(t, c.Rebuild(t.Context()))
	c.await("a switch", func(st Status) bool { return st.Generation != first })
	counted(2*21, 2*20)
	eventually(t, "end of what was replaced", func() bool { // CURRENT and what serves are left
		return len(must(os.ReadDir(filepath.Join(c.path, "folds", "f")))(t)) == 2
	})
	y := c.Figures()
	if y.Commit.count() <= x.Commit.count() || y.Fuel.count() != 2*x.Fuel.count() || y.Failed["trap"] != 2 || y.Serving.Views != 0 {
		t.Errorf("after the switch %+v, before it %+v", y, x)
	}
	other := filepath.Join(c.path, "folds", "f", "0123456789abcdef") // another generation
	check(t, os.Mkdir(other, 0o755))
	check(t, os.WriteFile(filepath.Join(other, "weight"), make([]byte, 1<<20), 0o644))
	if z := c.Figures(); y.Disk == 0 || z.Disk-y.Disk < 1<<19 || z.Quota != 1<<40 || c.Status().Quota != z.Quota {
		t.Errorf("of the disk: %d, then %d, of %d", y.Disk, z.Disk, z.Quota)
	}
	c.end()
	<-c.done
	if m := c.Figures().Memory; m != 0 {
		t.Errorf("%d bytes of instances that are closed", m)
	}
	c.close()
	if m := c.Figures().Serving; m != nil {
		t.Errorf("of a store that is closed: %+v", m)
	}
}

// TestHistogram adds histograms of which one, or both, saw nothing.
func TestHistogram(t *testing.T) {
	var h, none, other Histogram
	h.add(none)
	h.observe(.001)
	h.observe(7)
	h.add(none)
	other.add(h)
	other.observe(.0011)
	if h.count() != 2 || other.count() != 3 || other.Counts[1] != 1 || other.Counts[2] != 1 || other.Counts[len(secondBounds)] != 1 || other.Sum != 7.0021 {
		t.Errorf("%+v, %+v", h, other)
	}
}
