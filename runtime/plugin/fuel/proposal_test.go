package fuel_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// TestProposals meters the test modules of proposals that foldrun does not run. What the engine refuses, it refuses
// metered too.
func TestProposals(t *testing.T) {
	dir := specDir(t)
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	reasons := map[string]int{}
	total, run, stricter := 0, 0, 0
	for _, proposal := range []string{"tail-call", "threads", "exception-handling", "extended-const", "typed-function-references"} {
		found, _ := filepath.Glob(filepath.Join(dir, proposal, "testdata/*.wasm"))
		for _, name := range found {
			total++
			wasm := read(t, name)
			metered, err := fuel.Meter(wasm, specLimits)
			if err != nil {
				text := err.Error()
				_, text, _ = strings.Cut(text, ": ")
				reasons[text[strings.Index(text, ":")+1:]]++
			}
			_, err1 := r.CompileModule(ctx, wasm)
			if err != nil {
				if err1 == nil {
					stricter++ // wazero knows some types of references without being asked to
				}
				continue
			}
			run++
			if _, err2 := r.CompileModule(ctx, metered); (err1 == nil) != (err2 == nil) {
				t.Errorf("%s: %v, metered %v", name, err1, err2)
			}
		}
	}
	t.Logf("%d modules, %d metered; %d refused that wazero takes", total, run, stricter)
	for reason, n := range reasons {
		if n > 20 {
			t.Logf("%4d %s", n, reason)
		}
	}
	if total < 500 {
		t.Error("suspiciously few: is the corpus whole?")
	}
}

// TestMutations changes bytes of real modules: what the meter takes is valid metered if and only if it was.
func TestMutations(t *testing.T) {
	rnd := random(t)
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	modules := realModules(t)
	delete(modules, "go")
	for name, wasm := range hostile(t) {
		if len(wasm) < 8<<10 {
			modules[name] = wasm
		}
	}
	all := names(modules)
	refused, valid, invalid := 0, 0, 0
	for range 10_000 {
		wasm := append([]byte(nil), modules[all[rnd.IntN(len(all))]]...)
		for range 1 + rnd.IntN(3) {
			wasm[8+rnd.IntN(len(wasm)-8)] ^= byte(1 << rnd.IntN(8))
		}
		metered, err := fuel.Meter(wasm, fuel.Limits{})
		if err != nil {
			refused++
			continue
		}
		a, err1 := r.CompileModule(ctx, wasm)
		b, err2 := r.CompileModule(ctx, metered)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, metered %v: %x", err1, err2, wasm)
		}
		if err1 != nil {
			invalid++
			continue
		}
		valid++
		a.Close(ctx)
		b.Close(ctx)
		if _, _, err := fuel.Walk(wasm, fuel.Limits{}, rnd, 5); err != nil {
			t.Fatalf("%v: %x", err, wasm)
		}
	}
	t.Logf("%d refused, %d invalid and %d valid with and without metering", refused, invalid, valid)
}
