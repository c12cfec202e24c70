package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestPin keeps a view while all its rows are replaced, written to files and compacted, and the store is closed: it reads
// what it was opened with, and the store closes once it is closed.
func TestPin(t *testing.T) {
	db := openBroken(t, options(vfs.NewMem()), IndexSpec{Name: "a", Collisions: All})
	write := func(value string) {
		b := NewBatch(db.Indexes())
		for i := range 500 {
			b.Put(fmt.Appendf(nil, "s%d", i), db.State().Position().Seq+1, 1, 0)
			b.Row(0, fmt.Appendf(nil, "k%d", i), []byte(value), 0)
			b.End()
		}
		if _, err := db.Commit(b, Position{Stream: "S", Created: 1, Seq: db.State().Position().Seq + 1, Time: 1}, 1); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	v, err := db.Pin()
	if err != nil {
		t.Fatal(err)
	}
	reads := func() {
		t.Helper()
		n := 0
		err := v.Scan(0, Range{}, func(r Row) bool {
			n++
			return string(r.Value) == "old"
		})
		if err != nil || n != 500 || v.State().Position().Seq != 1 {
			t.Fatalf("%d rows as they were, seq %d, %v", n, v.State().Position().Seq, err)
		}
	}
	for range 3 {
		write("new")
		if err := db.pebble.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := db.pebble.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
			t.Fatal(err)
		}
		reads()
	}
	check(t, db)
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	for { // until Close has begun
		v, err := db.View()
		if err != nil {
			break
		}
		v.Close()
	}
	reads()
	select {
	case err := <-closed:
		t.Fatalf("closed under a view: %v", err)
	default:
	}
	v.Close()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}
