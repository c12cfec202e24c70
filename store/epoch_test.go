package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// stampKeys is how many source keys putStamped writes.
const stampKeys = 50

// putStamped commits a row of each of some source keys, whose value is the seq of the commit.
func putStamped(db *DB, more bool) error {
	seq := db.Ahead().Position().Seq + 1
	b := NewBatch(db.Indexes())
	b.More = more
	for i := range stampKeys {
		b.Put(fmt.Appendf(nil, "s%d", i), seq, 1, 0)
		b.Row(0, fmt.Appendf(nil, "k%d", i%5), binary.BigEndian.AppendUint64(nil, seq), 0)
		if err := b.End(); err != nil {
			return err
		}
	}
	_, err := db.Commit(b, Position{Stream: "S", Created: 1, Seq: seq}, 1)
	return err
}

// stamped returns the seq of a view, all rows of which must be those of the commit of that seq, by get and by scan, and its
// lineages too.
func stamped(v *View) (uint64, error) {
	seq, n := v.State().Position().Seq, 0
	wrong := error(nil)
	count := func(r Row) bool {
		n++
		if is := binary.BigEndian.Uint64(r.Value); is != seq {
			wrong = fmt.Errorf("a view of seq %d has a row of seq %d", seq, is)
		}
		return true
	}
	err := v.Scan(0, Range{}, count)
	for i := range 5 {
		if err == nil {
			err = v.Get(0, fmt.Appendf(nil, "k%d", i), Range{Reverse: i%2 == 1}, count)
		}
	}
	if err == nil {
		err = v.Lineages(nil, func(l Lineage) bool {
			if l.Seq != seq {
				wrong = fmt.Errorf("a view of seq %d has a lineage of seq %d", seq, l.Seq)
			}
			return true
		})
	}
	if o, found, oerr := v.Owner([]byte("s1")); err == nil && seq > 0 && (oerr != nil || !found || o.Seq != seq) {
		err = fmt.Errorf("a view of seq %d has an owner of seq %d: %w", seq, o.Seq, oerr)
	}
	if want := 2 * stampKeys; err == nil && wrong == nil && seq > 0 && n != want {
		wrong = fmt.Errorf("a view of seq %d has %d rows, not %d", seq, n, want)
	}
	if err == nil {
		err = wrong
	}
	return seq, err
}

// seqOfView opens a view and returns its seq.
func seqOfView(t *testing.T, db *DB) uint64 {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	seq, err := stamped(v)
	if err != nil {
		t.Error(err)
	}
	return seq
}

// TestViewDuringCommit opens views just before and just after Pebble has taken a commit, while Commit has not returned: each
// is of the one commit or the other, whole, and one that was opened before stays what it was.
func TestViewDuringCommit(t *testing.T) {
	for _, by := range []string{"batch", "ingestion"} {
		for _, shared := range []bool{true, false} { // whether a reader's epoch is there when the commit begins
			t.Run(fmt.Sprintf("%s, shared=%t", by, shared), func(t *testing.T) {
				var db *DB
				looks := 0
				look := func(commit func() error) error {
					looks++
					at := db.State().Position().Seq
					if seq := seqOfView(t, db); seq != at {
						t.Errorf("before a commit after %d a view is of seq %d", at, seq)
					}
					if !shared {
						db.retireEpoch()
					}
					err := commit()
					want := at
					if !shared { // what can be seen is what is read
						want++
					}
					for range 2 {
						if seq := seqOfView(t, db); seq != want {
							t.Errorf("while a commit after %d returns a view is of seq %d, not %d", at, seq, want)
						}
					}
					return err
				}
				o := options(vfs.NewMem())
				if by == "batch" {
					o.apply = func(p *pebble.DB, w *pebble.Batch, sync *pebble.WriteOptions) error {
						return look(func() error { return p.Apply(w, sync) })
					}
				} else {
					o.Memory.Memtable = 2 * kib // whatever is committed is more than half of it
					o.ingest = func(p *pebble.DB, paths []string) error {
						return look(func() error { return p.Ingest(t.Context(), paths) })
					}
				}
				db = openBroken(t, o, IndexSpec{Name: "a", Collisions: All})
				for n := range uint64(4) {
					old, err := db.View()
					if err != nil {
						t.Fatal(err)
					}
					if err := putStamped(db, false); err != nil {
						t.Fatal(err)
					}
					if seq, err := stamped(old); err != nil || seq != n {
						t.Errorf("a view of seq %d is of seq %d after a commit: %v", n, seq, err)
					}
					if seq := seqOfView(t, db); seq != n+1 {
						t.Errorf("after commit %d a view is of seq %d", n+1, seq)
					}
					old.Close()
				}
				if looks != 4 {
					t.Errorf("%d commits were looked at, not 4", looks)
				}
				check(t, db)
			})
		}
	}
}

// TestViewsBesideCommits has readers open views, several over one epoch, while commits are stored, one by one and after a
// wait: rows, lineages and seq of each are of one commit, and no reader goes back.
func TestViewsBesideCommits(t *testing.T) {
	db := open(t, vfs.NewMem(), IndexSpec{Name: "a", Collisions: All})
	const last = 300
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for before := uint64(0); before < last; {
				known := db.State().Position().Seq
				v, err := db.View()
				if err != nil {
					t.Error(err)
					return
				}
				seq, err := stamped(v)
				v.Close()
				if err != nil || seq < before || seq < known {
					t.Errorf("a view of seq %d after one of %d, where %d was stored: %v", seq, before, known, err)
					return
				}
				before = seq
			}
		})
	}
	for n := range last {
		if err := putStamped(db, n%10 < 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := putStamped(db, false); err != nil {
		t.Fatal(err)
	}
	readers.Wait()
}

// TestEpochExpires: what no commit retires does not hold memory and files for long. Whoever reads then reads on.
func TestEpochExpires(t *testing.T) {
	db := open(t, vfs.NewMem(), IndexSpec{Name: "a", Collisions: All})
	if err := putStamped(db, false); err != nil {
		t.Fatal(err)
	}
	seqOfView(t, db)
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for range 2 { // it is old when it is seen for the second time
		db.expireEpoch()
	}
	if db.epochs.now != nil {
		t.Error("an epoch is there that was seen twice")
	}
	if seq, err := stamped(v); err != nil || seq != 1 {
		t.Errorf("a view of an epoch that expired: seq %d, %v", seq, err)
	}
	if seq := seqOfView(t, db); seq != 1 {
		t.Errorf("seq %d after the epoch expired", seq)
	}
	w, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.epoch == v.epoch {
		t.Error("a view after the epoch expired is of that epoch")
	}
}

// TestEpochExpiresBesideClose: once Close has begun, it is Close that ends the epoch: the timer's goroutine, for which nothing
// waits, would close iterators while Pebble closes.
func TestEpochExpiresBesideClose(t *testing.T) {
	db := openBroken(t, options(vfs.NewMem()), IndexSpec{Name: "a", Collisions: All})
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	for begun := false; !begun; runtime.Gosched() {
		db.closeMu.RLock()
		begun = db.closed
		db.closeMu.RUnlock()
	}
	for range 3 {
		db.expireEpoch()
	}
	db.epochs.mu.Lock()
	is := db.epochs.now
	db.epochs.mu.Unlock()
	if is != v.epoch {
		t.Error("the epoch expired while the store was being closed")
	}
	if err := errors.Join(v.Close(), <-closed); err != nil {
		t.Error(err)
	}
}
