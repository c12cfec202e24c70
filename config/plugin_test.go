package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/foldrun/foldrun/abi"
)

// TestLoadPlugin loads each file of the archive and compares what is said with its file "want".
func TestLoadPlugin(t *testing.T) {
	path, err := filepath.Abs("testdata/plugin/plugin.txtar")
	if err != nil {
		t.Fatal(err)
	}
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var got bytes.Buffer
	for _, f := range ar.Files {
		if f.Name == "want" {
			continue
		}
		write(t, f.Name, f.Data)
		fmt.Fprintf(&got, "# %s\n", f.Name)
		m, err := LoadPlugin(f.Name)
		var p *Problems
		if errors.As(err, &p) {
			for _, one := range p.All {
				fmt.Fprintf(&got, "%s\n  hint: %s\n", one, one.Hint)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %T is no *Problems", f.Name, err)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s\n", b)
		if _, err := abi.AppendManifest([]byte("\x00asm\x01\x00\x00\x00"), m); err != nil {
			t.Errorf("%s: loaded, but no manifest: %v", f.Name, err)
		}
	}
	settle(t, path, ar, got.Bytes())
}

func TestCheckPluginName(t *testing.T) {
	for name, good := range map[string]bool{
		"users": true, "cities-by-timezone": true, "0_x": true, "": false, "-x": false, "_x": false, "Users": false,
		"../x": false, "a b": false, "a.b": false, "ü": false,
		"a123456789012345678901234567890123456789012345678901234567890123":  true,
		"a1234567890123456789012345678901234567890123456789012345678901234": false,
	} {
		if text, hint := CheckPluginName(name); (text == "") != good || text != "" && hint == "" {
			t.Errorf("%q: %q, %q", name, text, hint)
		}
	}
}
