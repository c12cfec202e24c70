package store

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// TestBuildMerged: a build compacts nothing until it ends, and then all of it.
func TestBuildMerged(t *testing.T) {
	x := scatter(t, 0, Options{})
	x.history = scattering(seeded(t), 120, 4000)
	x.worlds = replay(twoIndexes, x.history)
	for i := range x.history {
		x.history[i].more = i < len(x.history)-1
		if !x.history[i].more {
			ok(t, x.db.join())
			if n := x.db.depth(); n < l0Depth+l0Depth/2 {
				t.Errorf("%d tables above one another: Pebble compacts the build by itself", n)
			}
		}
		x.commit()
	}
	ok(t, x.db.Settle(t.Context()))
	if n := x.tables(); n > 2 {
		t.Errorf("%d tables on a read's way, once the build is merged", n)
	}
}

// TestBuildClosed: a store may be closed while what was built is being merged.
func TestBuildClosed(t *testing.T) {
	x := scatter(t, 0, Options{})
	x.history = scattering(seeded(t), 120, 4000)
	x.worlds = replay(twoIndexes, x.history)
	for i := range x.history {
		x.history[i].more = i < len(x.history)-1
		x.commit()
	}
	if x.db.building.merging.Load() == 0 {
		t.Error("nothing is being merged")
	}
	x.reopen()
	x.agrees()
}

func TestHoldBack(t *testing.T) {
	var x building
	is := func(what string, held bool) {
		t.Helper()
		if x.held.Load() != held {
			t.Errorf("%s: held is %v", what, !held)
		}
	}
	commit := func(more, known, ended bool) {
		t.Helper()
		if x.holdBack(more, known) != ended {
			t.Errorf("a commit with more = %v: ended is %v", more, !ended)
		}
	}
	commit(true, true, false)
	is("a build", true)
	x.ingested(heldDepth - 1)
	is("a build that is nearly too deep", true)
	x.ingested(heldDepth)
	is("a build that is too deep", false)
	commit(true, true, false)
	is("the same, one commit later", false)
	commit(false, true, true)
	is("its end", false)
	commit(true, true, false)
	is("one that begins again", true)
	commit(true, false, false)
	is("one whose source keys are not known any more", false)
	commit(false, false, true)
	commit(false, false, false)
}

// TestColumns: lists of keys from all over are cut at the same places each time, whatever keys they are; and keys that only grow are
// cut too.
func TestColumns(t *testing.T) {
	rng, at := seeded(t), &columns{}
	const size = 10_000
	list := func(keys int, key func(int) uint64) *staged {
		s := &staged{}
		for i := range keys {
			from := s.mark()
			s.slab = binary.BigEndian.AppendUint64(s.slab, key(i))
			mid := s.mark()
			s.slab = append(s.slab, make([]byte, 92)...)
			s.set(listRow, from, mid)
		}
		s.sort()
		return s
	}
	first := func(s *staged) (keys [][]byte) {
		t.Helper()
		pieces := s.cut(at, size)
		if got := slices.Concat(pieces...); !slices.Equal(got, s.sorted[listRow]) {
			t.Fatal("the pieces are not the list")
		}
		for i, p := range pieces[1:] {
			if n := 100 * len(p); n > 2*size+100 || n < size/2 && i < len(pieces)-2 {
				t.Errorf("piece %d of %d has %d bytes", i, len(pieces)-1, n)
			}
			keys = append(keys, s.at(p[0].key))
		}
		return keys
	}
	anywhere := func(int) uint64 { return rng.Uint64() }
	first(list(2000, anywhere))
	known := len(at[listRow])
	for range 50 {
		for i, key := range first(list(2000, anywhere))[1:] {
			before := slices.IndexFunc(at[listRow], func(cut []byte) bool { return bytes.Compare(cut, key) > 0 })
			if before < 0 {
				before = len(at[listRow])
			}
			if before != i+1 {
				t.Fatalf("table %d begins behind cut %d", i+1, before-1)
			}
		}
	}
	if n := len(at[listRow]); n != known {
		t.Errorf("%d columns, and %d later", known, n)
	}
	for n := range 10 {
		first(list(1000, func(i int) uint64 { return 1<<63 + uint64(n*1000+i) }))
	}
}
