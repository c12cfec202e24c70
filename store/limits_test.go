package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// commits does steps and compares with the model after each.
func commits(t *testing.T, db *DB, steps ...step) {
	t.Helper()
	w := newWorld(db.Indexes())
	for i, s := range steps {
		var want Committed
		w, want = w.after(s)
		done, err := commitStep(db, s)
		if err != nil || done != want {
			t.Fatalf("step %d: %+v, want %+v: %v", i, done, want, err)
		}
		if err := w.compare(db); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
}

func at(seq uint64, now int64, events ...event) step {
	return step{pos: Position{Stream: "S", Seq: seq}, now: now, events: events}
}

// TestManyEntries: one record with ten thousand entries, of which some then change, go and come.
func TestManyEntries(t *testing.T) {
	db := open(t, vfs.NewMem(), twoIndexes...)
	entries := func(from, to int) (all []entry) {
		for i := from; i < to; i++ {
			all = append(all, entry{uint16(i % 2), fmt.Sprintf("k%05d", i*7919%10007), fmt.Sprint(i % 3 * from), 0})
		}
		return all
	}
	commits(t, db,
		at(1, 0, event{source: "s", seq: 1, entries: entries(0, 10_000)}),
		at(2, 0, event{source: "s", seq: 2, entries: entries(0, 10_000)}),
		at(3, 0, event{source: "s", seq: 3, entries: entries(5_000, 10_000)}),
		at(4, 0, event{source: "s", seq: 4, kind: changeRemove}))
}

// TestBigValues: values of 1 MB, each larger than a memtable, in one batch and over each other.
func TestBigValues(t *testing.T) {
	db := open(t, vfs.NewMem(), twoIndexes...)
	big := func(c string) string { return strings.Repeat(c, 1<<20) }
	commits(t, db,
		at(2, 0, event{source: "s1", seq: 1, entries: []entry{{0, "k", big("a"), 0}, {1, "k", big("b"), 0}}},
			event{source: "s2", seq: 2, entries: []entry{{0, "k", big("c"), 0}, {1, big("k")[:30_000], "v", 0}}}),
		at(3, 0, event{source: "s1", seq: 3, entries: []entry{{0, "k", big("a"), 0}, {1, "k", big("d"), 0}}}),
		at(4, 0, event{source: big("s")[:30_000], seq: 4, entries: []entry{{1, "k", "", 0}}}),
		at(5, 0, event{source: "s1", seq: 5, kind: changeRemove}))
}

// TestMassExpiry: more source keys are due at once than one commit takes: the clock stands where all before it is gone,
// and the next commits go on.
func TestMassExpiry(t *testing.T) {
	db := open(t, vfs.NewMem(), twoIndexes...)
	const n = maxDue + 3000
	b := NewBatch(db.Indexes())
	for i := range uint64(n) {
		b.Put(fmt.Append(nil, "s", i), i+1, 1, 1000+int64(i/10)) // ten each at one time
		if err := b.Row(0, []byte("k"), nil, 0); err != nil {
			t.Fatal(err)
		}
		if i+1 == PointEvery || i == n-1 {
			if _, err := db.Commit(b, Position{Stream: "S", Seq: i + 1}, 1); err != nil {
				t.Fatal(err)
			}
			b.Reset()
		}
	}
	gone := 0
	for range 5 {
		done, err := db.Commit(b, Position{Stream: "S", Seq: n}, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		s := db.State()
		gone += done.Expired
		if done.Expired > maxDue+10 || done.Expired != done.Retracted || s.Live != uint64(n-gone) {
			t.Fatalf("%+v, %+v", done, s)
		}
		if s.ExpiredTo < 1_000_000 && s.ExpiredTo != 1000+int64(gone/10)-1 {
			t.Fatalf("%d are gone, the clock stands at %d", gone, s.ExpiredTo)
		}
		check(t, db)
		if s.ExpiredTo == 1_000_000 {
			break
		}
	}
	if gone != n {
		t.Errorf("%d of %d are gone", gone, n)
	}
}

// TestViews: a view stands while commits go on beside it, and shows one commit whole.
func TestViews(t *testing.T) {
	db := open(t, vfs.NewMem(), twoIndexes...)
	h := history(seeded(t), style{steps: 60, sources: 20, events: 20, value: 100})
	worlds := replay(twoIndexes, h)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				v, err := db.View()
				if err != nil {
					t.Error(err)
					return
				}
				seq := v.State().Position().Seq
				var rows uint64
				if err := v.Scan(0, Range{}, func(Row) bool { rows++; return true }); err != nil {
					t.Error(err)
				}
				if want := worlds[seq].state().Indexes[0].Rows; rows != want {
					t.Errorf("%d rows at %d, want %d", rows, seq, want)
				}
				v.Close()
			}
		})
	}
	old, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range h {
		if _, err := commitStep(db, s); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
	if err := old.Scan(0, Range{}, func(Row) bool { t.Error("a row from after the view"); return false }); err != nil {
		t.Error(err)
	}
	old.Close()
}

// TestClosed: every method after Close says so, and a batch may be filled from memory that is used again.
func TestClosed(t *testing.T) {
	d, db, err := openStore(dataDir, options(vfs.NewMem()), twoIndexes)
	if err != nil {
		t.Fatal(err)
	}
	b, buf := NewBatch(twoIndexes), []byte("xx")
	b.Put(buf[:1], 1, 0, 0)
	if err := b.Row(0, buf, buf, 0); err != nil {
		t.Fatal(err)
	}
	copy(buf, "yy")
	if err := b.End(); err != nil || b.Len() != 1 || !bytes.Contains(b.slab, []byte("xxxxx")) {
		t.Errorf("%q: %v", b.slab, err)
	}
	if err := errors.Join(closeStore(d, db), db.Close(), db.Flush()); err != nil {
		t.Error(err)
	}
	if _, err := db.View(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := db.Check(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := db.Commit(b, Position{Stream: "S", Seq: 1}, 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
