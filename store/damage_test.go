package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/foldrun/foldrun/hint"
)

// tables makes a store whose rows are all in one table, of many blocks, and returns the table's name.
func tables(t *testing.T, fs vfs.FS) (w *world, table string) {
	rng := seeded(t)
	s := step{pos: Position{Stream: "S", Seq: 400}, now: 1}
	for i := range 400 {
		value := make([]byte, 200) // that does not compress
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		s.events = append(s.events, event{source: fmt.Sprint(i), seq: uint64(i + 1),
			entries: []entry{{0, fmt.Sprint(i % 100), string(value), 0}, {1, fmt.Sprint(i % 100), string(value), 0}}})
	}
	o := options(fs)
	o.Memory.Memtable = mib // no ingestion, which cuts tables by kind
	d, db, err := openStore(dataDir, o, twoIndexes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commitStep(db, s); err != nil {
		t.Fatal(err)
	}
	if err := db.pebble.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	levels, err := db.pebble.SSTables()
	if err != nil || len(levels[6]) != 1 {
		t.Fatal(levels, err)
	}
	if err := closeStore(d, db); err != nil {
		t.Fatal(err)
	}
	w, _ = newWorld(twoIndexes).after(s)
	return w, fs.PathJoin(db.path, fmt.Sprintf("%06d.sst", levels[6][0].FileNum))
}

// TestDamage flips bytes all over a table: what is read is right, or an error, and Check says damage; the other folds
// of the directory go on.
func TestDamage(t *testing.T) {
	const flips = 24
	whole := vfs.NewCrashableMem()
	w, table := tables(t, whole)
	seen := 0
	for i := range flips {
		fs := whole.CrashClone(vfs.CrashCloneCfg{})
		b, err := fs.UnsafeGetFileDataBuffer(table)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)*i/flips] ^= 0x40
		d, err := OpenDir(dataDir, options(fs))
		if err != nil {
			t.Fatal(err)
		}
		other, err := d.Create(Identity{Fold: "other", Indexes: twoIndexes})
		if err != nil {
			t.Fatal(err)
		}
		db, err := d.Create(Identity{Fold: "f", Indexes: twoIndexes})
		if err == nil {
			seen += judgeDamage(t, db, w)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		} else if seen++; !pebble.IsCorruptionError(err) || hint.Of(err) == "" {
			t.Errorf("open: %v", err)
		}
		if _, err := commitStep(other, sabotaged[0]); err != nil {
			t.Error(err)
		}
		check(t, other)
		if err := closeStore(d, other); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of %d flips were seen", seen, flips)
	if seen < flips*5/6 {
		t.Error("too few flips were seen")
	}
}

// judgeDamage returns 1 when the damage was seen, and asserts that if it was not, nothing is wrong.
func judgeDamage(t *testing.T, db *DB, w *world) int {
	differs := w.compare(db)
	if differs != nil && !pebble.IsCorruptionError(differs) {
		t.Errorf("served what is not there: %v", differs)
	}
	r, err := db.Check()
	if err != nil {
		t.Errorf("check: %v", err)
		return 0
	}
	says := slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Kind == "damage" })
	if says != (r.Found > 0) || says != (db.Damage() != nil) || differs != nil && !says {
		t.Errorf("read: %v; check found %v; damage: %v", differs, r.Problems, db.Damage())
	}
	return int(count(says))
}
