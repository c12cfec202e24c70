package examples_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/plugins/examples"
	"github.com/foldrun/foldrun/runtime/golden"
)

// TestGolden runs the tests of each example, NAME/testdata, on the module in C and on those in the other languages.
func TestGolden(t *testing.T) {
	for _, name := range examples.Names() {
		t.Run(name, func(t *testing.T) {
			c, err := examples.Module(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("c", func(t *testing.T) { play(t, filepath.Join(name, "testdata"), c) })
			t.Run("go", func(t *testing.T) {
				t.Parallel()
				play(t, filepath.Join("go", name, "testdata"), buildGo(t, filepath.Join("go", name)))
			})
			for _, lang := range []string{"rust"} {
				folder := filepath.Join(lang, name)
				if _, err := os.Stat(folder); err == nil {
					t.Run(lang, func(t *testing.T) {
						t.Parallel()
						play(t, filepath.Join(folder, "testdata"), build(t, folder))
					})
				}
			}
		})
	}
}

// build has foldrun build an example. Without the language's tools the test is skipped, and says what to install.
func build(t *testing.T, folder string) []byte {
	file := filepath.Join(t.TempDir(), "plugin.wasm")
	out, err := exec.Command("go", "run", "../../cmd/foldrun", "plugin", "build", folder, "-o", file).CombinedOutput()
	if strings.Contains(string(out), "foldrun: hint: install ") {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", folder, err, out)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// play runs the tests of a folder.
func play(t *testing.T, folder string, wasm []byte) {
	files, err := filepath.Glob(filepath.Join(folder, "*.txtar"))
	if err != nil || len(files) < 3 {
		t.Fatal(folder, files, err)
	}
	o := golden.Options{Wasm: wasm}
	o.Module.CacheDir = filepath.Join(t.TempDir(), "modules")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		test, err := golden.Parse(file, text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := test.Run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, d := range r.Differences {
			t.Errorf("%s:%d: %s\nwant %q\ngot  %q", file, d.Line, d.Of, d.Want, d.Got)
		}
	}
}

// buildGo builds an example in Go, as `foldrun plugin build` does.
func buildGo(t *testing.T, folder string) []byte {
	file := filepath.Join(t.TempDir(), "plugin.wasm")
	c := exec.Command("go", "build", "-buildmode=c-shared", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", file, ".")
	c.Dir, c.Env = folder, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", folder, err, out)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := config.LoadPlugin(filepath.Join(folder, config.PluginFile))
	if err != nil {
		t.Fatal(err)
	}
	if wasm, err = abi.AppendManifest(wasm, m); err != nil {
		t.Fatal(err)
	}
	return wasm
}
