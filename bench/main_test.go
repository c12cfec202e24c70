// Package bench measures foldrun beside what it does not ship: a program written by hand, badger and bbolt. README.md has the commands.
package bench

import (
	"context"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/store"
)

var (
	rounds  = flag.Int("rounds", 5, "interleaved rounds")
	memory  = flag.Int64("memory", 1<<30, "the fold's memory budget, bytes")
	updates = flag.Int("updates", 1_000_000, "updates of a first build")
	synced  = flag.Int("synced", 10_000, "updates of one that is synced each time")
)

func TestMain(m *testing.M) {
	rig.Became()
	os.Exit(m.Run())
}

// startBroker starts a broker, and connects to it, until the test ends.
func startBroker(tb testing.TB) (*rig.Broker, *rig.Server) {
	tb.Helper()
	b, s, end, err := rig.StartSelf(tb.TempDir())
	must(tb, err)
	tb.Cleanup(func() { must(tb, end()) })
	return b, s
}

// openDir opens a data directory for one fold. A cache of 0 is what the budget leaves.
func openDir(tb testing.TB, path string, budget, cache int64) *store.Dir {
	tb.Helper()
	m, err := store.SplitMemory(budget, 1, cache)
	must(tb, err)
	d, err := store.OpenDir(path, store.Options{Memory: m})
	must(tb, err)
	return d
}

// scratch makes a directory, and returns what removes it.
func scratch(tb testing.TB) (path string, remove func()) {
	tb.Helper()
	path, err := os.MkdirTemp(tb.TempDir(), "")
	must(tb, err)
	return path, func() { must(tb, os.RemoveAll(path)) }
}

// median returns the middle of what of says of all.
func median[T any](all []T, of func(T) float64) float64 {
	var v []float64
	for _, x := range all {
		v = append(v, of(x))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

var background = context.Background()
