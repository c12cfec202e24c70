package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// open opens a store on fs for a test; check asserts at its end that it is whole.
func open(t testing.TB, fs vfs.FS, specs ...IndexSpec) *DB {
	t.Helper()
	d, err := OpenDir("data", Options{fs: fs, Fatal: func(dir string, err error) { panic(fmt.Sprint(dir, ": ", err)) }})
	if err != nil {
		t.Fatal(err)
	}
	db, err := d.Create(Identity{Fold: "f", Indexes: specs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		check(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func check(t testing.TB, db *DB) {
	t.Helper()
	r, err := db.Check()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Errorf("check: %s", p)
	}
}

func TestFirst(t *testing.T) {
	db := open(t, vfs.NewMem(), IndexSpec{"a", All}, IndexSpec{"b", Latest})
	b := NewBatch(db.Indexes())
	b.Put([]byte("s1"), 1, 100, 0)
	b.Row(0, []byte("k"), []byte("v1"), 0)
	b.Row(1, []byte("k"), []byte("w1"), 0)
	if err := b.End(); err != nil {
		t.Fatal(err)
	}
	b.Put([]byte("s0"), 2, 101, 0)
	b.Row(0, []byte("k"), []byte("v2"), 0)
	b.Row(1, []byte("k"), []byte("w2"), 300)
	b.End()
	done, err := db.Commit(b, Position{Stream: "S", Seq: 2, Time: 101}, 101)
	t.Log(done, err)
	check(t, db)
	show := func() {
		v, err := db.View()
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		for i := range db.Indexes() {
			err := v.Scan(i, Range{}, func(r Row) bool { t.Logf("%d %q %q %q %d", i, r.Key, r.Source, r.Value, r.Seq); return true })
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%+v", v.State())
	}
	show()
	b.Reset()
	b.Remove([]byte("s1"), 3, 400)
	done, err = db.Commit(b, Position{Stream: "S", Seq: 3, Time: 400}, 400)
	t.Log(done, err)
	show()
}
