package store

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPeek looks at a fold whose directory another has: what it says is what the store says.
func TestPeek(t *testing.T) {
	path := t.TempDir()
	if p, err := PeekAt(path, "f"); err != nil || p.Current != "" {
		t.Fatalf("a fold of which nothing is there: %+v, %v", p, err)
	}
	d, db, err := openStore(path, Options{Memory: small}, twoIndexes)
	ok(t, err)
	ok(t, d.SetCurrent("f", db.Generation()))
	ok(t, db.KeepModule([]byte("wasm")))
	look := func() Peek {
		t.Helper()
		p, err := PeekAt(path, "f")
		ok(t, err)
		id := db.Identity()
		if wasm, err := p.Module(); p.Current != db.Generation() || !p.Identity.Has(p.Current) || len(p.Identity.Changes(id)) > 0 || string(wasm) != "wasm" || err != nil || p.Bytes == 0 {
			t.Fatalf("%+v, want %+v; module %q, %v", p, id, wasm, err)
		}
		return p
	}
	if p := look(); p.Built != (Built{}) || p.Next.Generation != "" || p.Paused != "" {
		t.Errorf("%+v", p)
	}
	id := db.Identity()
	id.Limits = maps.Clone(id.Limits)
	if id.Limits == nil {
		id.Limits = map[string]int64{}
	}
	id.Limits["fuel_per_record"] = 1 << 40
	ok(t, db.Raise(id))
	built := Built{At: time.Now().UTC().Round(0), Took: time.Minute, Updates: 12}
	ok(t, db.KeepBuilt(built))
	ok(t, d.Begin("f", Next{Generation: db.Generation() + "-2", Replaces: db.Generation()}))
	ok(t, d.Pause("f", time.Now()))
	ok(t, d.Hold("f", id))
	p := look()
	if p.Built.Took != built.Took || p.Built.Updates != 12 || p.Built.Bytes == 0 || !p.Built.At.Equal(built.At) || p.Next.Replaces != db.Generation() || p.Paused == "" {
		t.Errorf("%+v", p)
	}
	if held, err := p.Held(id); !held || err != nil {
		t.Errorf("held: %v, %v", held, err)
	}
	if next, err := p.Vacant(id); next != db.Generation()+"-2" || err != nil {
		t.Errorf("the next is %s, %v", next, err)
	}

	ok(t, os.Remove(filepath.Join(db.Path(), identityFile)))
	if _, err := PeekAt(path, "f"); !errors.Is(err, ErrNotDescribed) {
		t.Errorf("without its identity: %v", err)
	}
	ok(t, closeStore(d, db))
	d, err = OpenDir(path, Options{Memory: small})
	ok(t, err)
	db, err = d.Open("f", p.Current)
	ok(t, err)
	look()
	ok(t, closeStore(d, db))
}
