package store

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/foldrun/foldrun/hint"
)

// TestGutted takes files away from a store, one kind at a time, as a copy or a removal does that stops half-way: the
// store does not open, says damage, and names what to remove. Above all it is not taken for a new one.
func TestGutted(t *testing.T) {
	whole := vfs.NewCrashableMem()
	_, table := tables(t, whole)
	for _, kinds := range [][]string{{"marker.manifest."}, {"MANIFEST-"}, {".sst"}, {"marker.manifest.", "MANIFEST-"}, {"marker.manifest.", ".sst"}} {
		fs := whole.CrashClone(vfs.CrashCloneCfg{})
		dir := fs.PathDir(table)
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		removed := 0
		for _, name := range names {
			for _, kind := range kinds {
				if strings.HasPrefix(name, kind) || strings.HasSuffix(name, kind) {
					if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
						t.Fatal(err)
					}
					removed++
				}
			}
		}
		if removed < len(kinds) {
			t.Fatalf("%q: %d files removed of %q", kinds, removed, names)
		}
		_, _, err = openStore(dataDir, options(fs), twoIndexes)
		if !IsDamage(err) || !strings.Contains(hint.Of(err), dir) {
			t.Errorf("without %q: %v; hint %q", kinds, err, hint.Of(err))
		}
	}
}
