package examples_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/plugins/examples"
)

// TestManifests compares the manifest in each module with the one beside its source.
func TestManifests(t *testing.T) {
	for _, name := range examples.Names() {
		wasm, err := examples.Module(name)
		if err != nil {
			t.Fatal(err)
		}
		got, found, err := abi.ReadManifest(wasm)
		if err != nil || !found {
			t.Errorf("%s: manifest found: %v, %v", name, found, err)
			continue
		}
		if got.Name != name {
			t.Errorf("%s calls itself %q", name, got.Name)
		}
		want, err := config.LoadPlugin(filepath.Join(name, config.PluginFile))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := encode(t, got), encode(t, want); !bytes.Equal(a, b) {
			t.Errorf("%s: the module has %s\n%s has %s\nrun build.sh", name, a, config.PluginFile, b)
		}
	}
}

func encode(t *testing.T, m abi.Manifest) []byte {
	t.Helper()
	text, err := json.Marshal(m) // which also compacts the schema
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestNames(t *testing.T) {
	for _, name := range []string{"by-country", "city-names", "large-cities"} {
		if !slices.Contains(examples.Names(), name) {
			t.Errorf("%s is not embedded: %q", name, examples.Names())
		}
	}
	if _, err := examples.Module("none"); err == nil {
		t.Error("a module that is not there was found")
	}
}
