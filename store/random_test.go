package store

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// eitherWay opens a store that keeps no records, or one that does.
var eitherWay = []func(string, Options, []IndexSpec) (*Dir, *DB, error){openStore, openKeeping}

// TestRandom commits made-up histories and compares the whole store with plain maps after each commit.
func TestRandom(t *testing.T) {
	rng := seeded(t)
	for round := range 30 {
		open := eitherWay[round%2]
		st := style{steps: 40, sources: 1 + rng.IntN(12), events: 1 + rng.IntN(12), value: []int{2, 300}[rng.IntN(2)], points: true}
		w, fs := newWorld(twoIndexes), vfs.NewMem()
		d, db, err := open(dataDir, options(fs), twoIndexes)
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
				if d, db, err = open(dataDir, options(fs), twoIndexes); err != nil {
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

// TestWaiting commits made-up histories of which most commits wait for those that follow, and compares the whole store with
// plain maps whenever it is stored. What waits when the store is closed comes again.
func TestWaiting(t *testing.T) {
	rng := seeded(t)
	waited, stored := 0, 0
	for round := range 30 {
		open := eitherWay[round%2]
		st := style{steps: 60, sources: 1 + rng.IntN(30), events: 1 + rng.IntN(12), value: []int{2, 300, 2000}[rng.IntN(3)], points: true}
		h := wait(rng, history(rng, st))
		at, fs := replay(twoIndexes, h), vfs.NewMem()
		d, db, err := open(dataDir, options(fs), twoIndexes)
		ok(t, err)
		w := at[0]
		for i := 0; i < len(h); i++ {
			var want Committed
			w, want = w.after(h[i])
			done, err := commitStep(db, h[i])
			if err != nil || done != want {
				t.Fatalf("step %d: %+v, want %+v: %v", i, done, want, err)
			}
			if got, want := db.Ahead().Position().Seq, h[i].pos.Seq; got != want {
				t.Fatalf("step %d: ahead at %d, want %d", i, got, want)
			}
			waited += int(count(db.Waiting()))
			if rng.IntN(20) == 0 {
				ok(t, closeStore(d, db))
				d, db, err = open(dataDir, options(fs), twoIndexes)
				ok(t, err)
				seq := db.State().Position().Seq
				w = at[seq]
				for i = 0; i < len(h) && h[i].pos.Seq <= seq; i++ {
				}
				i--
			}
			if db.Waiting() {
				continue
			}
			stored++
			if err := errors.Join(w.compare(db), checkStore(db)); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
		ok(t, closeStore(d, db))
	}
	if waited < 100 || stored < 100 {
		t.Errorf("%d commits waited, %d were stored", waited, stored)
	}
}
