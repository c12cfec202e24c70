package fuel_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// FuzzMeter: what is metered is valid if and only if the module was, and no way through it is free.
func FuzzMeter(f *testing.F) {
	for _, pattern := range []string{"plugins/examples/*/*.wasm", "testdata/modules/*.wasm", "runtime/plugin/fuel/testdata/hostile/*.wasm"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, name := range found {
			wasm, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wasm)
		}
	}
	config := wazero.NewRuntimeConfigInterpreter() // it validates as the compiler does, and is quicker to start
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if len(wasm) > 32<<10 {
			return
		}
		metered, err := fuel.Meter(wasm, fuel.Limits{})
		if err != nil {
			return
		}
		r := wazero.NewRuntimeWithConfig(ctx, config)
		defer r.Close(ctx)
		_, err1 := r.CompileModule(ctx, wasm)
		_, err2 := r.CompileModule(ctx, metered)
		if err1 != nil && strings.Contains(err1.Error(), "custom section") {
			return // the meter drops them; wazero cannot read a valid one that is empty and the file's last
		}
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, metered %v", err1, err2)
		}
		if _, _, err := fuel.Walk(wasm, fuel.Limits{}, rand.New(rand.NewPCG(1, 2)), 10); err != nil {
			t.Fatal(err)
		}
	})
}
