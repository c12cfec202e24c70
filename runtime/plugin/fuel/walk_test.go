package fuel_test

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

var seed = flag.Uint64("seed", 0, "of random tests; 0 takes one from the clock")

func random(t testing.TB) *rand.Rand {
	n := *seed
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// TestWalk takes random ways through real modules, hostile ones and the specification's: none runs more than its checks
// have charged.
func TestWalk(t *testing.T) {
	rnd := random(t)
	modules := realModules(t)
	for name, wasm := range hostile(t) {
		modules[name] = wasm
	}
	for _, name := range names(modules) {
		ran, charged, err := fuel.Walk(modules[name], fuel.Limits{}, rnd, 100)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if ran > 0 {
			t.Logf("%-20s ran %10d, charged %10d: %.2f times", name, ran, charged, float64(charged)/float64(ran))
		}
	}
	found, _ := filepath.Glob(filepath.Join(specDir(t), "v2/testdata/*.wasm"))
	walked := 0
	for _, name := range found {
		wasm := read(t, name)
		if _, err := fuel.Meter(wasm, specLimits); err != nil {
			continue
		}
		walked++
		if _, _, err := fuel.Walk(wasm, specLimits, rnd, 20); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Logf("and %d modules of the specification's tests", walked)
}
