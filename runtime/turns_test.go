package runtime

import (
	goruntime "runtime"
	"sync/atomic"
	"testing"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// TestTurnOfTransform: nothing is transformed for a generation that yields while others have all turns.
func TestTurnOfTransform(t *testing.T) {
	dir := openDir(t, t.TempDir(), store.Options{Sync: store.SyncNever})
	f := must(NewFeed(t.Context(), dir, FoldOptions{Name: "f", Wasm: testModule(t, "model"), Workers: 1, Source: source.Options{Stream: "S"}}))(t)
	db := f.Store()
	db.Yield(true)
	end := db.Turn()
	var ends []func()
	for range goruntime.GOMAXPROCS(0) - 2 {
		ends = append(ends, db.Turn())
	}
	f.slot.in = new(source.Batch)
	var ended atomic.Bool
	go func() {
		f.transform.run(t.Context(), f.slot)
		ended.Store(true)
	}()
	for range 1000 {
		goruntime.Gosched()
	}
	if ended.Load() {
		t.Error("a batch was transformed without a turn")
	}
	for _, end := range append(ends, end) {
		end()
	}
	if x := <-f.slot.parts; x.err != nil || !x.last {
		t.Errorf("%+v", x)
	}
	check(t, f.Close(t.Context()))
	check(t, dir.Close())
}
