package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestRandom commits made-up histories and compares the whole store with plain maps after each commit.
func TestRandom(t *testing.T) {
	rng := seeded(t)
	for range 30 {
		st := style{steps: 40, sources: 1 + rng.IntN(12), events: 1 + rng.IntN(12), value: []int{2, 300}[rng.IntN(2)], points: true}
		w, fs := newWorld(twoIndexes), vfs.NewMem()
		d, db, err := openStore(dataDir, options(fs), twoIndexes)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range history(rng, st) {
			var want Committed
			w, want = w.after(s)
			done, err := commitStep(db, s)
			if err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			if done != want {
				t.Fatalf("step %d: %+v, want %+v", i, done, want)
			}
			if rng.IntN(10) == 0 {
				if err := closeStore(d, db); err != nil {
					t.Fatal(err)
				}
				if d, db, err = openStore(dataDir, options(fs), twoIndexes); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.compare(db); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			if err := checkStore(db); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
		if err := closeStore(d, db); err != nil {
			t.Fatal(err)
		}
	}
}
