package serve_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime"
)

// TestUpgradeUnderLoad upgrades a fold to another module, goes back and forth again, while clients write, and read what they
// wrote: no read fails, each reply has the rows of one module, that of the generation which it names, and all that was
// written; and within a generation no reader's seq goes back.
func TestUpgradeUnderLoad(t *testing.T) {
	f := newFollow(t, "echo", func(o *runtime.FoldOptions) { o.Rollback = time.Hour })
	for i := range 500 {
		f.put(fmt.Sprintf("a.filler.%03d", i), "--------")
	}
	f.until("the first commit", func(s runtime.Status) bool { return s.CaughtUp && s.Seq >= 500 })
	first := f.Status().Generation
	modules := map[string]bool{} // of each generation: does it re-key
	var mu sync.Mutex
	rekeys := func(generation string, rekeyed bool) bool {
		mu.Lock()
		defer mu.Unlock()
		was, known := modules[generation]
		modules[generation] = rekeyed
		return !known || was == rekeyed
	}
	over := make(chan struct{})
	var reads int
	var longest time.Duration
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			last := map[string]uint64{}
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				key, value := fmt.Sprintf("a.own.%d", n), fmt.Sprintf("%08d", i)
				seq, err := f.kv.PutString(t.Context(), key, value)
				if err != nil {
					t.Error(err)
					return
				}
				began := time.Now()
				var page *client.Page
				for p, err := range f.who.Pages(t.Context(), "f", "main", client.Range{Limit: 1000, AtLeast: client.AtLeast{Seq: seq, Wait: patience}}) {
					if page = p; err != nil {
						t.Error(err)
						return
					}
				}
				took := time.Since(began)
				mu.Lock()
				reads++
				longest = max(longest, took)
				mu.Unlock()
				at := page.At
				if at.Seq < max(seq, last[at.Generation]) {
					t.Errorf("generation %s at %d after %d, asked for %d", at.Generation, at.Seq, last[at.Generation], seq)
				}
				last[at.Generation] = at.Seq
				own := 0
				for _, row := range page.Rows {
					rekeyed := strings.Contains(string(row.Key), "/")
					if !rekeys(at.Generation, rekeyed) {
						t.Errorf("generation %s has the row %q", at.Generation, row.Key)
					}
					if string(row.Source) == key && string(row.Value) == value {
						own++
					}
				}
				if own != 1 || len(page.Rows) < 501 {
					t.Errorf("%d rows of the put %d of %d rows, generation %s", own, seq, len(page.Rows), at.Generation)
				}
			}
		})
	}
	o := f.opt
	var err error
	o.Wasm, err = os.ReadFile("../../testdata/modules/rekey.wasm")
	check(t, err)
	if bytes.Equal(o.Wasm, f.opt.Wasm) {
		t.Fatal("it is the same module")
	}
	p, err := runtime.Prepare(t.Context(), f.dir, o)
	check(t, err)
	check(t, f.Configure(t.Context(), p))
	f.until("the upgrade", func(s runtime.Status) bool { return s.Generation != first && s.Previous != nil })
	for range 3 {
		check(t, f.Rollback(t.Context()))
		f.until("the rollback", func(s runtime.Status) bool { return s.Generation == first && s.Previous != nil })
		check(t, f.Apply(t.Context(), false))
		f.until("the way forth", func(s runtime.Status) bool { return s.Generation != first && s.Previous != nil })
	}
	close(over)
	all.Wait()
	if len(modules) != 2 || !modules[f.Status().Generation] || modules[first] {
		t.Errorf("read were %v", modules)
	}
	t.Logf("%d reads, 7 switches, the longest read %s", reads, longest)
}
