package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// madeKey returns a derived key of few letters, so that many share beginnings; zeros and ones among them, and lengths around that
// which a filter knows beginnings by.
func madeKey(rng *rand.Rand) []byte {
	key := make([]byte, rng.IntN(5))
	if rng.IntN(10) == 0 {
		key = append(bytes.Repeat([]byte{'k'}, mostPrefix-6), key...)
	}
	for i := range key {
		if key[i] == 0 {
			key[i] = []byte{0, 1, 'a', 'b', 0xff}[rng.IntN(5)]
		}
	}
	return key
}

// madeRange returns a range of keys, or one key.
func madeRange(rng *rand.Rand) (r Range) {
	switch rng.IntN(4) {
	case 0:
		r.get, r.key = true, madeKey(rng)
	case 1:
		r.Prefix = madeKey(rng)
	case 2:
		r.Start, r.End = madeKey(rng), madeKey(rng)
	case 3:
		r.Prefix, r.Start = madeKey(rng), madeKey(rng)
	}
	if rng.IntN(3) == 0 {
		r.After = &Mark{Key: madeKey(rng), Source: []byte("s1")}
	}
	r.Reverse, r.Keys = rng.IntN(2) == 0, rng.IntN(3) == 0
	return r
}

// TestBeginnings: a filter has whatever is asked for of a row that was added to it, and little else; full, it has everything.
func TestBeginnings(t *testing.T) {
	rng := seeded(t)
	for round := range 300 {
		size := 0
		w := newBeginnings(1<<16, []int{0, 4096}[round%2], func(bytes int) { size += bytes })
		var rows [][]byte
		for range 1 + rng.IntN(50) {
			rows = append(rows, appendRowKey(nil, uint16(1+rng.IntN(2)), madeKey(rng), fmt.Appendf(nil, "s%d", rng.IntN(3))))
			w.add(rows[len(rows)-1])
		}
		c := &cursor{}
		for range 200 {
			r := madeRange(rng)
			c.bound(1, &r, r.Keys)
			if bytes.Compare(c.lower, c.upper) >= 0 {
				continue
			}
			begin, hash := asked(c.lower, c.upper)
			for _, row := range rows {
				if bytes.Compare(row, c.lower) >= 0 && bytes.Compare(row, c.upper) < 0 && !w.has(begin, hash) {
					t.Fatalf("row %x is within [%x, %x), and nothing was written that begins with %x", row, c.lower, c.upper, begin)
				}
			}
		}
		if size != w.bytes() || size == 0 {
			t.Fatalf("a filter of %d bytes said that it takes %d", w.bytes(), size)
		}
	}
	w := newBeginnings(1<<20, 0, func(int) {})
	others := func() (n int) {
		for i := range 10_000 {
			lower := appendRowPrefix(nil, 1, fmt.Appendf(nil, "other%d", i))
			if w.has(asked(lower, appendSuccessor(nil, lower))) {
				n++
			}
		}
		return n
	}
	for i := range 3_000 {
		w.add(appendRowKey(nil, 1, fmt.Appendf(nil, "k%d", i*7919), []byte("s")))
	}
	if n := others(); n > 50 {
		t.Errorf("%d of 10,000 others are held to be written", n)
	}
	for i := 0; !w.all.Load(); i++ {
		w.add(appendRowKey(nil, 1, fmt.Appendf(nil, "more%d", i*7919), []byte("s")))
	}
	if n := others(); n != 10_000 || w.bytes() > 1<<20 {
		t.Errorf("a full filter of %d bytes has %d of 10,000", w.bytes(), n)
	}
}

// A held is a view, and the rows that it must see: by source, the value of each key.
type held struct {
	view *View
	rows map[string]map[string]string
}

// read reads a range of a held view, and compares it with what is known. It returns which base would do.
func (h *held) read(r Range) (by int, err error) {
	var want, is []string
	c := &cursor{}
	c.bound(0, &r, r.Keys)
	for source, rows := range h.rows {
		for key, value := range rows {
			k := appendRowKey(nil, 0, []byte(key), []byte(source))
			if bytes.Compare(k, c.lower) < 0 || bytes.Compare(k, c.upper) >= 0 {
				continue
			}
			if r.Keys {
				want = append(want, fmt.Sprintf("%x", appendRowPrefix(nil, 0, []byte(key))))
			} else {
				want = append(want, fmt.Sprintf("%x %s", k, value))
			}
		}
	}
	slices.Sort(want)
	if want = slices.Compact(want); r.Reverse {
		slices.Reverse(want)
	}
	f := func(row Row) bool {
		if r.Keys {
			is = append(is, fmt.Sprintf("%x", appendRowPrefix(nil, 0, row.Key)))
		} else {
			is = append(is, fmt.Sprintf("%x %s", appendRowKey(nil, 0, row.Key, row.Source), row.Value))
		}
		return true
	}
	if r.get {
		err = h.view.Get(0, r.key, r, f)
	} else {
		err = h.view.Scan(0, r, f)
	}
	if err == nil && !slices.Equal(is, want) {
		err = fmt.Errorf("a view of seq %d read %+v: %q, not %q", h.view.State().Position().Seq, r, is, want)
	}
	return slices.Index(h.view.epoch.bases, h.view.epoch.baseOf(c.lower, c.upper)), err
}

// TestBases commits at random, with flushes, compactions, ingestions, rewinds and what expires between, and reads views that were
// opened then and before: each sees what was there, by whichever base it reads, and all of them are used.
func TestBases(t *testing.T) {
	rng := seeded(t)
	const ingestions = -2
	by := map[int]int{}
	for round := range 12 {
		o := options(vfs.NewMem())
		o.Memory.Memtable = []int64{8 * kib, 32 * kib, mib}[round%3]
		ingested := 0
		o.ingest = func(p *pebble.DB, paths []string) error {
			ingested++
			return p.Ingest(t.Context(), paths)
		}
		db := openBroken(t, o, IndexSpec{Name: "a", Collisions: All})
		more := []int{9, rng.IntN(10), 1}[round%3] // commits of ten that wait
		rows, seq := map[string]map[string]string{}, uint64(0)
		var views []held
		t.Cleanup(func() { // before the store is closed, which waits for them
			for _, h := range views {
				h.view.Close()
			}
		})
		for range 600 {
			if err := somethingOf(t, rng, db, rows, &seq, rng.IntN(10) < more); err != nil {
				t.Fatal(err)
			}
			if !db.Waiting() {
				v, err := db.View()
				if err != nil {
					t.Fatal(err)
				}
				views = append(views, held{v, maps.Clone(rows)})
			}
			for range 3 {
				if len(views) == 0 {
					break
				}
				i := len(views) - 1
				if rng.IntN(2) == 0 {
					i = rng.IntN(len(views))
				}
				n, err := views[i].read(madeRange(rng))
				if err != nil {
					t.Fatal(err)
				}
				by[n]++
				if len(views) > 5 {
					views[i].view.Close()
					views = slices.Delete(views, i, i+1)
				}
			}
		}
		for _, h := range views {
			h.view.Close()
		}
		views = nil
		db.epochs.mu.Lock()
		for _, b := range db.epochs.bases {
			if b.epochs > 1 {
				t.Errorf("%d epochs read a base, and nobody reads", b.epochs)
			}
		}
		db.epochs.mu.Unlock()
		by[ingestions] += ingested
		check(t, db)
	}
	t.Logf("reads by base: %v", by)
	for _, n := range []int{-1, 0, 1, ingestions} {
		if by[n] < 20 {
			t.Errorf("%d reads by base %d", by[n], n)
		}
	}
}

// somethingOf commits to a store, more says whether that may wait, or has it do something that commits nothing. rows is what is in it then; seq is that of the last
// commit.
func somethingOf(t *testing.T, rng *rand.Rand, db *DB, rows map[string]map[string]string, seq *uint64, more bool) error {
	switch rng.IntN(20) {
	case 0:
		return db.pebble.Compact(t.Context(), []byte{0}, []byte{0xff}, false)
	case 1:
		return db.pebble.Flush()
	case 2:
		db.expireEpoch()
		return nil
	case 3:
		db.retireEpoch()
		return nil
	}
	b := NewBatch(db.Indexes())
	*seq++
	if rng.IntN(30) == 0 && !db.Waiting() {
		b.Rewind = true
		_, err := db.Commit(b, Position{Stream: "S", Created: 1, Seq: *seq - min(*seq, 3)}, 1)
		return err
	}
	b.More = more
	for _, i := range rng.Perm(40)[:1+rng.IntN(3)] {
		source := fmt.Sprintf("s%d", i)
		if rng.IntN(4) == 0 {
			b.Remove([]byte(source), *seq, 1)
			delete(rows, source)
			continue
		}
		its := map[string]string{}
		b.Put([]byte(source), *seq, 1, 0)
		for range rng.IntN(3) {
			key, value := madeKey(rng), fmt.Sprintf("%d.%0*d", *seq, rng.IntN(400), 0)
			if its[string(key)] != "" {
				continue
			}
			its[string(key)] = value
			if err := b.Row(0, key, []byte(value), 0); err != nil {
				return err
			}
		}
		if err := b.End(); err != nil {
			return err
		}
		rows[source] = its
	}
	_, err := db.Commit(b, Position{Stream: "S", Created: 1, Seq: *seq}, 1)
	return err
}

// TestNotedBeforeSeen: a commit is in its era before Pebble has it.
func TestNotedBeforeSeen(t *testing.T) {
	var db *DB
	looks := 0
	o := options(vfs.NewMem())
	look := func() {
		looks++
		lower := appendRowPrefix(nil, 0, []byte("k1"))
		if !db.epochs.era.written.has(asked(lower, appendSuccessor(nil, lower))) {
			t.Error("Pebble has a commit that is in no era")
		}
	}
	o.apply = func(p *pebble.DB, w *pebble.Batch, sync *pebble.WriteOptions) error {
		look()
		return p.Apply(w, sync)
	}
	o.ingest = func(p *pebble.DB, paths []string) error {
		look()
		return p.Ingest(t.Context(), paths)
	}
	for _, memtable := range []int64{mib, 8 * kib} { // the second ingests
		o.Memory.Memtable = memtable
		o.fs = vfs.NewMem()
		db = openBroken(t, o, IndexSpec{Name: "a", Collisions: All})
		if err := putStamped(db, false); err != nil {
			t.Fatal(err)
		}
	}
	if looks != 2 {
		t.Errorf("%d commits were looked at, not 2", looks)
	}
}

// TestBasesBesideCommits has readers beside commits of which each writes one of some rows, while the memtable is flushed again
// and again: each view sees the last commit of each row, bases are used, and no more is held when nobody reads.
func TestBasesBesideCommits(t *testing.T) {
	const last, groups = 1500, 100
	db := open(t, vfs.NewMem(), IndexSpec{Name: "a", Collisions: All})
	key := func(group uint64) []byte { return fmt.Appendf(nil, "g%03d/", group) }
	var readers sync.WaitGroup
	var based atomic.Int64
	read := func(rng *rand.Rand) (seq uint64, err error) {
		v, err := db.View()
		if err != nil {
			return 0, err
		}
		defer v.Close()
		seq = v.State().Position().Seq
		for range 8 {
			group := rng.Uint64N(groups)
			want, is := uint64(0), uint64(0) // the last seq of the group, up to that of the view
			if seq >= group {
				want = seq - (seq-group)%groups
			}
			f := func(r Row) bool {
				is = binary.BigEndian.Uint64(r.Value)
				return true
			}
			if rng.IntN(2) == 0 {
				err = v.Get(0, key(group), Range{}, f)
			} else {
				err = v.Scan(0, Range{Prefix: key(group), Reverse: rng.IntN(2) == 0}, f)
			}
			if err != nil || is != want {
				return seq, fmt.Errorf("a view of seq %d has group %d of seq %d, not %d: %w", seq, group, is, want, err)
			}
			lower := appendRowPrefix(nil, 0, key(group))
			if v.epoch.baseOf(lower, appendSuccessor(nil, lower)) != nil {
				based.Add(1)
			}
		}
		return seq, nil
	}
	for i := range 3 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for seq := uint64(0); seq < last; {
				var err error
				if seq, err = read(rng); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := uint64(1); n <= last; n++ {
		b := NewBatch(db.Indexes())
		b.Put(key(n%groups), n, 1, 0)
		value := append(binary.BigEndian.AppendUint64(nil, n), make([]byte, 100)...)
		if err := b.Row(0, key(n%groups), value, 0); err != nil {
			t.Fatal(err)
		}
		if err := b.End(); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Commit(b, Position{Stream: "S", Created: 1, Seq: n}, 1); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
	if based.Load() == 0 || db.epochs.era.n < 5 {
		t.Errorf("%d reads had a base, over %d eras", based.Load(), db.epochs.era.n)
	}
	for range 6 {
		db.expireEpoch()
	}
	if x := &db.epochs; x.now != nil || len(x.bases) > 0 {
		t.Errorf("an epoch (%t) and %d bases are there that nobody reads", x.now != nil, len(x.bases))
	}
}
