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

// sights are what clients saw of a fold.
type sights struct {
	mu      sync.Mutex
	modules map[string]bool // of each generation: does it re-key
	reads   int
	longest time.Duration
}

// row notes what module made a row of a generation, and reports whether that is the one that made the others.
func (x *sights) row(generation string, rekeyed bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	was, known := x.modules[generation]
	x.modules[generation] = rekeyed
	return !known || was == rekeyed
}

// await waits until somebody saw a row of a generation.
func (x *sights) await(t *testing.T, generation string) {
	t.Helper()
	eventually(t, "row of generation "+generation, func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		_, seen := x.modules[generation]
		return seen
	})
}

func (x *sights) read(took time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reads++
	x.longest = max(x.longest, took)
}

// A visitor writes one key again and again, and reads all rows as of each put.
type visitor struct {
	*follow
	key  string
	seen *sights
	last map[string]uint64 // the position that was read last, by generation
}

// visit reports whether it could write and read.
func (v *visitor) visit(t *testing.T, value string) bool {
	seq, err := v.kv.PutString(t.Context(), v.key, value)
	if err != nil {
		t.Error(err)
		return false
	}
	began := time.Now()
	var page *client.Page
	for p, err := range v.who.Pages(t.Context(), "f", "main", client.Range{Limit: 1000, AtLeast: client.AtLeast{Seq: seq, Wait: patience}}) {
		if page = p; err != nil {
			t.Error(err)
			return false
		}
	}
	v.seen.read(time.Since(began))
	at := page.At
	if at.Seq < max(seq, v.last[at.Generation]) {
		t.Errorf("generation %s at %d after %d, asked for %d", at.Generation, at.Seq, v.last[at.Generation], seq)
	}
	v.last[at.Generation] = at.Seq
	own := 0
	for _, row := range page.Rows {
		if !v.seen.row(at.Generation, strings.Contains(string(row.Key), "/")) {
			t.Errorf("generation %s has the row %q", at.Generation, row.Key)
		}
		if string(row.Source) == v.key && string(row.Value) == value {
			own++
		}
	}
	if own != 1 || len(page.Rows) < 501 {
		t.Errorf("%d rows of the put %d of %d rows, generation %s", own, seq, len(page.Rows), at.Generation)
	}
	return true
}

// visits has four visitors at work until leave is called.
func (f *follow) visits(t *testing.T, seen *sights) (leave func()) {
	over := make(chan struct{})
	var all sync.WaitGroup
	for n := range 4 {
		v := visitor{f, fmt.Sprintf("a.own.%d", n), seen, map[string]uint64{}}
		all.Go(func() {
			for i := 0; v.visit(t, fmt.Sprintf("%08d", i)); i++ {
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	return func() {
		close(over)
		all.Wait()
	}
}

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
	seen := &sights{modules: map[string]bool{}}
	leave := f.visits(t, seen)
	seen.await(t, first)
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
	seen.await(t, f.Status().Generation)
	leave()
	if len(seen.modules) != 2 || !seen.modules[f.Status().Generation] || seen.modules[first] {
		t.Errorf("read were %v", seen.modules)
	}
	t.Logf("%d reads, 7 switches, the longest read %s", seen.reads, seen.longest)
}
