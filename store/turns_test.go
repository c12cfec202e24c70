package store

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store that yields writes each table in a turn; one that does not, in none.
func TestTurnsOfTables(t *testing.T) {
	var db *DB
	var in, out atomic.Int32 // tables that were begun while a turn was taken, and while none was
	fs := &hookFS{FS: vfs.NewMem(), usage: func() (vfs.DiskUsage, error) { return vfs.DiskUsage{AvailBytes: 1 << 40}, nil }}
	fs.before = func(kind, name string) error {
		if kind != "create" || !strings.HasSuffix(name, runSuffix) {
			return nil
		}
		if all := db.turns.Load(); all != nil && len(*all) > 0 {
			in.Add(1)
		} else {
			out.Add(1)
		}
		return nil
	}
	d, db, err := openStore(dataDir, options(fs), twoIndexes)
	ok(t, err)
	defer func() { ok(t, closeStore(d, db)) }()
	for n, s := range scattering(rand.New(rand.NewPCG(1, 1)), 3, 4000) {
		was, wasOut := in.Load(), out.Load()
		yields := n == 1
		db.Yield(yields)
		_, err := commitStep(db, s)
		ok(t, err)
		if yields != (in.Load() > was) || yields == (out.Load() > wasOut) {
			t.Errorf("yields %v: %d tables in a turn, %d in none", yields, in.Load()-was, out.Load()-wasOut)
		}
	}
}

// A commit of a store that yields does not begin while others have all turns.
func TestTurnOfCommit(t *testing.T) {
	held, free := open(t, vfs.NewMem(), twoIndexes...), open(t, vfs.NewMem(), twoIndexes...)
	held.Yield(true)
	var ends []func()
	for range cap(*held.turns.Load()) {
		ends = append(ends, held.Turn())
	}
	history := scattering(rand.New(rand.NewPCG(1, 1)), 10, 40)
	done := make(chan error)
	var ended atomic.Bool
	history[0].more = true // it only waits to be stored
	go func() {
		_, err := commitStep(held, history[0])
		ended.Store(true)
		done <- err
	}()
	for _, s := range history { // which takes as long as it takes that one ten times
		_, err := commitStep(free, s)
		ok(t, err)
	}
	if ended.Load() {
		t.Error("a commit ended without a turn")
	}
	for _, end := range ends {
		end()
	}
	ok(t, <-done)
	if n := len(*held.turns.Load()); n != 0 {
		t.Errorf("%d turns are still taken", n)
	}
}
