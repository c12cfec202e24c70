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

// TestGolden runs the tests of each example, in testdata: NAME is in C, LANGUAGE/NAME in another language.
func TestGolden(t *testing.T) {
	for _, name := range examples.Names() {
		t.Run(name, func(t *testing.T) {
			c, err := examples.Module(name)
			if err != nil {
				t.Fatal(err)
			}
			play(t, filepath.Join(name, "testdata"), c)
		})
	}
	manifests, err := filepath.Glob(filepath.Join("*", "*", config.PluginFile))
	if err != nil || len(manifests) < 5 {
		t.Fatal(manifests, err)
	}
	for _, manifest := range manifests {
		folder := filepath.Dir(manifest)
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			play(t, filepath.Join(folder, "testdata"), moduleOf(t, folder))
		})
	}
}

// moduleOf returns an example's module, as it is checked in, or else built.
func moduleOf(t *testing.T, folder string) []byte {
	switch filepath.Dir(folder) {
	case "go":
		return buildGo(t, folder)
	case "assemblyscript", "wat":
		wasm, err := os.ReadFile(filepath.Join(folder, filepath.Base(folder)+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		return wasm
	}
	return build(t, folder)
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
