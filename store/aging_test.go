package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// An aged is one record of a fold whose stream has a MaxAge.
type aged struct {
	seq          uint64
	time, expiry int64
	row          int64 // when its row expires, 0 = never
}

// A calendar is what a store must hold under a MaxAge: plain maps.
type calendar struct {
	clock, maxAge int64
	records       map[string]aged
}

func (c *calendar) lives(r aged) bool {
	if r.expiry != 0 && r.expiry != Never && r.expiry <= c.clock {
		return false
	}
	return c.maxAge == 0 || r.expiry == Never || r.time > c.clock-c.maxAge
}

// settle drops what is due.
func (c *calendar) settle() {
	maps.DeleteFunc(c.records, func(_ string, r aged) bool { return !c.lives(r) })
	for k, r := range c.records {
		if r.row != 0 && r.row <= c.clock {
			r.row = -1 // gone, though its record lives
			c.records[k] = r
		}
	}
}

func (c *calendar) rows() (all []string) {
	for k, r := range c.records {
		if r.row >= 0 {
			all = append(all, fmt.Sprintf("%s %d", k, r.seq))
		}
	}
	slices.Sort(all)
	return all
}

func rowsOf(t testing.TB, db *DB) (all []string) {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	err = v.Scan(0, Range{}, func(r Row) bool {
		all = append(all, fmt.Sprintf("%s %s", r.Source, r.Value))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// put adds one record with one row to a batch.
func (r aged) put(t testing.TB, b *Batch, source string) {
	t.Helper()
	b.Put([]byte(source), r.seq, r.time, r.expiry)
	if err := b.Row(0, []byte(source), fmt.Append(nil, r.seq), r.row); err != nil {
		t.Fatal(err)
	}
	if err := b.End(); err != nil {
		t.Fatal(err)
	}
}

// TestMaxAge commits records under a MaxAge that is set, raised, lowered and removed at random, and compares the store
// with plain maps after each commit.
func TestMaxAge(t *testing.T) {
	rng := seeded(t)
	for range 20 {
		db := open(t, vfs.NewMem(), IndexSpec{"a", All})
		maxAgeHistory(t, db, rng)
	}
}

func maxAgeHistory(t *testing.T, db *DB, rng *rand.Rand) {
	c := &calendar{clock: 1000, records: map[string]aged{}}
	pos := Position{Stream: "S", Created: 1}
	for range 100 {
		b := NewBatch(db.Indexes())
		if rng.IntN(6) == 0 {
			c.maxAge = []int64{0, 50, 100, 300, 2000}[rng.IntN(5)]
		}
		if rng.IntN(2) == 0 {
			c.clock += rng.Int64N(60)
		}
		b.MaxAge = c.maxAge
		for _, k := range rng.Perm(12)[:rng.IntN(5)] {
			pos.Seq++
			source := fmt.Sprint("s", k)
			if rng.IntN(5) == 0 {
				b.Remove([]byte(source), pos.Seq, c.clock)
				delete(c.records, source)
				continue
			}
			r := aged{seq: pos.Seq, time: max(c.clock-rng.Int64N(120), 1)}
			switch rng.IntN(5) {
			case 0:
				r.expiry = Never
			case 1:
				r.expiry = c.clock + rng.Int64N(200) - 20
			}
			if rng.IntN(4) == 0 {
				r.row = c.clock + rng.Int64N(100)
			}
			r.put(t, b, source)
			c.records[source] = r
		}
		c.settle()
		if _, err := db.Commit(b, pos, c.clock); err != nil {
			t.Fatal(err)
		}
		if got, want := rowsOf(t, db), c.rows(); !slices.Equal(got, want) {
			t.Fatalf("at %d, MaxAge %d:\n is  %q\nwant %q", c.clock, c.maxAge, got, want)
		}
		s := db.State()
		if s.Live != uint64(len(c.records)) || s.MaxAge != c.maxAge {
			t.Fatalf("%d live under MaxAge %d; want %d under %d", s.Live, s.MaxAge, len(c.records), c.maxAge)
		}
		check(t, db)
	}
}

// A MaxAge that ends more than one commit may hold is reached by several.
func TestMaxAgeInSteps(t *testing.T) {
	const n = maxDue + 5000
	db := open(t, vfs.NewMem(), IndexSpec{"a", All})
	pos := Position{Stream: "S"}
	b := NewBatch(db.Indexes())
	for pos.Seq < n {
		b.Reset()
		for range 5000 {
			pos.Seq++
			aged{seq: pos.Seq, time: 1000 + int64(pos.Seq/1000)}.put(t, b, fmt.Sprint(pos.Seq))
			if pos.Seq%PointEvery == 0 || pos.Seq == n {
				break
			}
		}
		if _, err := db.Commit(b, pos, 2000); err != nil {
			t.Fatal(err)
		}
	}
	if due, err := db.Due(2000, 100, 10); err != nil || due != 0 {
		t.Errorf("%d due before the records are queued: %v", due, err)
	}
	b.Reset()
	b.MaxAge = 100
	for steps := 1; ; steps++ {
		done, err := db.Commit(b, pos, 2000)
		if err != nil {
			t.Fatal(err)
		}
		check(t, db)
		if s := db.State(); s.MaxAge == 100 {
			if s.Live != 0 || s.Aging != 0 || steps < 2 {
				t.Errorf("after %d commits %d are left", steps, s.Live)
			}
			return
		} else if s.MaxAge < 100 || done.Expired < maxDue || s.ExpiredTo != 2000 {
			t.Fatalf("one step came to MaxAge %d and ended %d", s.MaxAge, done.Expired)
		}
		if due, err := db.Due(2000, 100, 10); err != nil || due != 10 {
			t.Errorf("%d are due: %v", due, err)
		}
	}
}

// RemoveIf removes the record that it names, and no newer one; what is due of a source key goes all the same.
func TestRemoveIf(t *testing.T) {
	db := open(t, vfs.NewMem(), IndexSpec{"a", All})
	b := NewBatch(db.Indexes())
	aged{seq: 1}.put(t, b, "stale")
	aged{seq: 3}.put(t, b, "moved on")
	aged{seq: 4, row: 50}.put(t, b, "due")
	pos := Position{Stream: "S", Seq: 4}
	if _, err := db.Commit(b, pos, 10); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	b.RemoveIf([]byte("stale"), 1)
	b.RemoveIf([]byte("moved on"), 2)
	b.RemoveIf([]byte("due"), 2)
	b.RemoveIf([]byte("unknown"), 2)
	done, err := db.Commit(b, pos, 60)
	if err != nil || done.Removed != 1 || done.Retracted != 2 || done.Expired != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if got := rowsOf(t, db); !slices.Equal(got, []string{"moved on 3"}) || db.State().Live != 2 {
		t.Errorf("%q stand, %d live", got, db.State().Live)
	}
	if !b.Has([]byte("due")) || b.Has([]byte("other")) {
		t.Error("Has")
	}
}

// Check names what is wrong with the aging queue.
func TestCheckFindsAging(t *testing.T) {
	for _, x := range []struct {
		name, want string
		harm       func(w *pebble.Batch, s *State)
	}{
		{"not queued", `aging of source key "a": its lineage ages from 500, and it is not queued`,
			func(w *pebble.Batch, s *State) { w.Delete(appendQueueKey(nil, kindAging, 500, []byte("a")), nil) }},
		{"queued twice", `aging of source key "a": it is queued at 700, its lineage does not say so`,
			func(w *pebble.Batch, s *State) { w.Set(appendQueueKey(nil, kindAging, 700, []byte("a")), nil, nil) }},
		{"due", `aging of source key "a": was due and is still queued`,
			func(w *pebble.Batch, s *State) { s.MaxAge = 100 }},
		{"count", `state: 1 source keys in the aging queue, the state says 7`,
			func(w *pebble.Batch, s *State) { s.Aging = 7 }},
		{"no flag", `lineage of source key "a": the stream has a MaxAge, and it neither ages nor stays`,
			func(w *pebble.Batch, s *State) {
				w.Set(appendLineageKey(nil, []byte("a")), (&lineage{seq: 1, time: 500}).append(nil), nil)
			}},
	} {
		t.Run(x.name, func(t *testing.T) {
			db := openBroken(t, options(vfs.NewMem()), IndexSpec{"a", All})
			b := NewBatch(db.Indexes())
			b.MaxAge = 1000
			aged{seq: 1, time: 500}.put(t, b, "a")
			if _, err := db.Commit(b, Position{Stream: "S", Seq: 1}, 900); err != nil {
				t.Fatal(err)
			}
			check(t, db)
			w, s := db.pebble.NewBatch(), db.State().clone()
			x.harm(w, s)
			w.Set(keyState, s.append(nil), nil)
			if err := db.pebble.Apply(w, pebble.NoSync); err != nil {
				t.Fatal(err)
			}
			report, err := db.Check()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(report.Problems, func(p Problem) bool { return p.String() == x.want }) {
				t.Errorf("found %q, want %q", report.Problems, x.want)
			}
		})
	}
}
