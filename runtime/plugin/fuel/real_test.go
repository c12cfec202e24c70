package fuel_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// TestReal runs real modules, metered and not, over the same records, alone and in frames: same answers, and for the
// same record alone on a fresh instance the same fuel.
func TestReal(t *testing.T) {
	for name, wasm := range realModules(t) {
		t.Run(name, func(t *testing.T) {
			metered := meter(t, wasm)
			plainly, counted := compile(t, wasm, wazero.NewRuntimeConfig()), compile(t, metered, wazero.NewRuntimeConfig())
			u := someCities(t, 2000, name == "model")
			for _, size := range []int{1, 7, 256} {
				a, b := plainly.start(), counted.start()
				most, sum := int64(0), int64(0)
				for _, recs := range frames(u.Len(), size) {
					a.call(u, recs)
					used := b.call(u, recs)
					if !bytes.Equal(a.answer(), b.answer()) {
						t.Fatalf("frames of %d, records %d: %q, metered %q", size, recs, a.answer(), b.answer())
					}
					most, sum = max(most, used), sum+used
				}
				t.Logf("frames of %3d: %6d fuel a record, dearest call %d", size, sum/int64(u.Len()), most)
				a.Close(ctx)
				b.Close(ctx)
			}
			runs := 1000
			if testing.Short() || name == "go" {
				runs = 100
			}
			want := int64(0)
			for i := range runs {
				g := counted.start()
				used := g.call(u, []int32{100})
				g.Close(ctx)
				if i == 0 {
					want = used
				}
				if used != want || used <= 0 {
					t.Fatalf("run %d used %d fuel, run 0 %d", i, used, want)
				}
			}
			t.Logf("%d bytes, metered %d; one record alone on %d fresh instances: %d fuel each", len(wasm), len(metered), runs, want)
		})
	}
}

// TestSpeed meters the Go module, the largest kind there is.
func TestSpeed(t *testing.T) {
	wasm := goGuest(t)
	best := time.Hour
	for range 5 {
		start := time.Now()
		meter(t, wasm)
		best = min(best, time.Since(start))
	}
	t.Logf("%d bytes in %v", len(wasm), best)
}

// TestTwice: a metered module is refused, since it exports the meter's names.
func TestTwice(t *testing.T) {
	_, err := fuel.Meter(meter(t, goGuest(t)), fuel.Limits{})
	if err == nil || !strings.Contains(err.Error(), fuel.Reserved) {
		t.Fatalf("metered twice: %v", err)
	}
}
