package main

import (
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/foldrun/foldrun/runtime/plugin"
)

// TestCompileAtOnce: the first modules that a process compiles may be compiled at once, as those of folds that start are. It is for
// the race detector, and of this package: wazero notes its version, which only a binary that knows its dependencies has.
func TestCompileAtOnce(t *testing.T) {
	const first = "FOLDRUN_TEST_COMPILE"
	if os.Getenv(first) == "" { // in a process of its own nothing has been compiled
		for range 4 {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestCompileAtOnce$")
			child.Env = append(os.Environ(), first+"=1", "GORACE=atexit_sleep_ms=0")
			if out, err := child.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		return
	}
	wasm, err := os.ReadFile("../../testdata/modules/echo.wasm")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for _, dir := range []string{"", t.TempDir(), "", t.TempDir(), "", t.TempDir()} {
		done.Go(func() {
			m, err := plugin.Compile(t.Context(), wasm, plugin.Options{CacheDir: dir})
			if err == nil {
				err = m.Close(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
}
