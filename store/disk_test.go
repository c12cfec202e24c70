package store

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestMinFreeDisk: below the minimum, what memtables hold counted as used, a commit is refused before anything is
// written; reads go on, and so do commits when there is room again.
func TestMinFreeDisk(t *testing.T) {
	var avail atomic.Uint64
	var usageErr error
	avail.Store(1 << 40)
	writes := 0
	fs := &hookFS{FS: vfs.NewMem(), before: func(string, string) error { writes++; return nil }}
	fs.usage = func() (vfs.DiskUsage, error) {
		return vfs.DiskUsage{AvailBytes: avail.Load(), TotalBytes: 1 << 40}, usageErr
	}
	o := options(fs)
	o.MinFreeDisk = 1 << 30
	db := openBroken(t, o, twoIndexes...)
	h := []step{at(1, 0, event{source: "s", seq: 1, entries: []entry{{0, "k", "v", 0}}}), at(2, 0, event{source: "s", seq: 2})}
	w, _ := newWorld(twoIndexes).after(h[0])
	if _, err := commitStep(db, h[0]); err != nil {
		t.Fatal(err)
	}
	for _, low := range []uint64{0, 1 << 30, 1<<30 + uint64(small.Memtables()) - 1} {
		avail.Store(low)
		before := writes
		if _, err := commitStep(db, h[1]); !errors.Is(err, ErrDiskLow) {
			t.Errorf("with %d: %v", low, err)
		}
		if writes != before {
			t.Errorf("with %d: %d writes", low, writes-before)
		}
		if err := w.compare(db); err != nil {
			t.Error(err)
		}
	}
	usageErr = errors.New("no such thing")
	if _, err := commitStep(db, h[1]); !errors.Is(err, usageErr) {
		t.Error(err)
	}
	usageErr = nil
	avail.Store(1<<30 + uint64(small.Memtables()))
	if _, err := commitStep(db, h[1]); err != nil {
		t.Error(err)
	}
	w, _ = w.after(h[1])
	if err := errors.Join(w.compare(db), checkStore(db)); err != nil {
		t.Error(err)
	}
}

// TestFailedCommit: after a commit whose outcome is unknown nothing is committed until the store is opened again; what
// it then holds is the commit, or nothing of it.
func TestFailedCommit(t *testing.T) {
	broken := errors.New("broken")
	for _, happened := range []bool{false, true} {
		fs, fail := vfs.NewMem(), false
		o := options(fs)
		o.apply = func(p *pebble.DB, w *pebble.Batch, opt *pebble.WriteOptions) error {
			if !fail {
				return p.Apply(w, opt)
			}
			if happened {
				return errors.Join(p.Apply(w, opt), broken)
			}
			return broken
		}
		d, db, err := openStore(dataDir, o, twoIndexes)
		if err != nil {
			t.Fatal(err)
		}
		h := []step{at(1, 0, event{source: "s", seq: 1, entries: []entry{{0, "k", "v", 0}}}), at(2, 0, event{source: "s", seq: 2})}
		worlds := replay(twoIndexes, h)
		if _, err := commitStep(db, h[0]); err != nil {
			t.Fatal(err)
		}
		fail = true
		for range 2 {
			if _, err := commitStep(db, h[1]); !errors.Is(err, broken) {
				t.Errorf("%v", err)
			}
			fail = false // the next fails because of the first
		}
		if err := closeStore(d, db); err != nil {
			t.Fatal(err)
		}
		if d, db, err = openStore(dataDir, o, twoIndexes); err != nil {
			t.Fatal(err)
		}
		seq := db.State().Position().Seq
		if want := 1 + count(happened); seq != want {
			t.Errorf("cursor %d, want %d", seq, want)
		}
		if err := errors.Join(worlds[seq].compare(db), checkStore(db)); err != nil {
			t.Error(err)
		}
		if _, err := commitStep(db, at(3, 0)); err != nil {
			t.Error(err)
		}
		if err := closeStore(d, db); err != nil {
			t.Fatal(err)
		}
	}
}
