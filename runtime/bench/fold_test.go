package bench

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// drain reads n messages with nats.go's ordered consumer and counts them.
func (b *broker) drain(tb testing.TB, n int) { b.drainFrom(tb, 1, n) }

// drainFrom is drain from a seq on.
func (b *broker) drainFrom(tb testing.TB, seq uint64, n int) {
	must(tb, b.Drain(context.Background(), "bench", seq, n))
}

// catchUp folds n updates into an empty store and checks what it holds.
func catchUp(tb testing.TB, s *broker, wasm []byte, n int) {
	f, end := start(tb, s, wasm)
	wait(f, uint64(n))
	if at := f.Status().Indexes[0].Rows; at != uint64(n) {
		tb.Fatalf("%d rows of %d updates", at, n)
	}
	end()
}

// start runs a fold of the bucket over a store of its own, and returns what ends it.
func start(tb testing.TB, s *broker, wasm []byte) (*runtime.Fold, func()) {
	tb.Helper()
	path, err := os.MkdirTemp(tb.TempDir(), "data")
	must(tb, err)
	f, end := startIn(tb, s, wasm, path)
	return f, func() {
		end()
		os.RemoveAll(path)
	}
}

// startIn is start over a data directory that stays.
func startIn(tb testing.TB, s *broker, wasm []byte, path string) (*runtime.Fold, func()) {
	tb.Helper()
	d := openDir(tb, path, 1)
	f, end := run(tb, d, runtime.FoldOptions{Name: "bench", Conn: s.nc, Source: source.Options{Bucket: "bench"}, Wasm: wasm})
	return f, func() {
		end()
		must(tb, d.Close())
	}
}

// openDir opens a data directory for so many folds.
func openDir(tb testing.TB, path string, folds int) *store.Dir {
	tb.Helper()
	m, err := store.SplitMemory(*memory, folds, 0)
	must(tb, err)
	d, err := store.OpenDir(path, store.Options{Memory: m, Sync: store.Sync(*syncs)})
	must(tb, err)
	return d
}

// run runs a fold, and returns what ends it.
func run(tb testing.TB, d *store.Dir, o runtime.FoldOptions) (*runtime.Fold, func()) {
	tb.Helper()
	f, end, err := rig.Run(context.Background(), d, o)
	must(tb, err)
	return f, func() { must(tb, end()) }
}

// wait waits until a fold has folded up to seq.
func wait(f *runtime.Fold, seq uint64) {
	if err := rig.Wait(context.Background(), f, seq); err != nil {
		panic(err)
	}
}

func module(tb testing.TB, name string) []byte {
	tb.Helper()
	wasm, err := os.ReadFile(filepath.Join("..", "..", "testdata", "modules", name+".wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}
