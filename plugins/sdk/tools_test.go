package sdk_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/plugins/sdk"
)

// command builds foldrun, once, and returns its path.
var command = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "foldrun-sdk-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "foldrun")
	if out, err := exec.Command("go", "build", "-o", file, "../../cmd/foldrun").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})

// cache is a folder for compiled code.
var cache = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "foldrun-sdk-") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := cache(); err == nil {
		os.RemoveAll(dir)
	}
	if file, err := command(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// sources says which file of a new plugin its author edits first.
var sources = map[string]string{"c": "plugin.c", "go": "main.go", "rust": "src/lib.rs", "zig": "plugin.zig"}

// errNoTools is a language's tools missing.
var errNoTools = errors.New("skipped")

// built makes of a source file a plugin as foldrun plugin new writes one, and has foldrun build it. Without the language's
// tools the test is skipped, and says what to install.
func built(t testing.TB, language, source string, m abi.Manifest) []byte {
	t.Helper()
	once, _ := modules.LoadOrStore(source, sync.OnceValues(func() ([]byte, error) { return buildNew(language, source) }))
	wasm, err := abi.AppendManifest(taken(t, once.(func() ([]byte, error))), m)
	check(t, err)
	return wasm
}

// builtIn has foldrun build the plugin in a folder.
func builtIn(t testing.TB, dir string) []byte {
	t.Helper()
	once, _ := modules.LoadOrStore(dir, sync.OnceValues(func() ([]byte, error) { return runBuild(dir) }))
	return taken(t, once.(func() ([]byte, error)))
}

func taken(t testing.TB, module func() ([]byte, error)) []byte {
	t.Helper()
	wasm, err := module()
	if errors.Is(err, errNoTools) {
		t.Skip(err)
	}
	check(t, err)
	return wasm
}

var modules sync.Map // by source or folder: compiling takes seconds

func buildNew(language, source string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "foldrun-sdk-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	i := slices.IndexFunc(sdk.Languages, func(l sdk.Language) bool { return l.Name == language })
	for _, f := range sdk.Languages[i].Project("tried") {
		if f.Path == sources[language] {
			if f.Text, err = os.ReadFile(source); err != nil {
				return nil, err
			}
			// In Go the sources name the module without the dot, which the layout test would take for a dependency.
			f.Text = bytes.ReplaceAll(f.Text, []byte(`"tried/foldrun"`), []byte(`"tried.plugin/foldrun"`))
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.Text, 0o644)); err != nil {
			return nil, err
		}
	}
	return runBuild(dir)
}

// runBuild has foldrun build the plugin in dir. A warning is a mistake.
func runBuild(dir string) ([]byte, error) {
	tool, err := command()
	if err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp("", "foldrun-sdk-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	c := exec.Command(tool, "plugin", "build", dir, "-o", filepath.Join(out, "plugin.wasm"))
	var said strings.Builder
	c.Stderr = &said
	err = c.Run()
	if strings.Contains(said.String(), "foldrun: hint: install ") {
		return nil, fmt.Errorf("%w: %s", errNoTools, &said)
	}
	if err != nil || said.Len() > 0 {
		return nil, fmt.Errorf("%s: %v\n%s", dir, err, &said)
	}
	return os.ReadFile(filepath.Join(out, "plugin.wasm"))
}
