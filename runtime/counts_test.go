package runtime

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/foldrun/foldrun/store"
)

// TestBuiltIsCounted: what a build took is written down when its last batch is counted, not while the store alone has that.
func TestBuiltIsCounted(t *testing.T) {
	path := t.TempDir()
	dir := must(store.OpenDir(path, store.Options{Sync: store.SyncNever}))(t)
	db := must(dir.Create(store.Identity{Fold: "f", Indexes: []store.IndexSpec{{Name: "main", Collisions: store.All}}}))(t)
	g := new(Fold).follower(db, false)
	written := func() bool {
		_, err := os.Stat(filepath.Join(path, "folds", "f", db.Generation(), "built.json"))
		return err == nil
	}
	g.counts.store()
	if g.noteBuilt(); written() {
		t.Error("it is written down before anything is counted")
	}
	g.counts.folded(2, 2)
	if g.noteBuilt(); !written() {
		t.Error("it is not written down")
	}
	check(t, db.Close())
	check(t, dir.Close())
}
