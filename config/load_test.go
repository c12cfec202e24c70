package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what was found into testdata")

// TestLoad runs the archives of testdata. Each file at the top of one is loaded as a main file; those in directories are
// what they include. The file "want" has all that Load said; a file that asks for it with "# show" is shown whole.
func TestLoad(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { testArchive(t, path) })
	}
}

func testArchive(t *testing.T, path string) {
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var got bytes.Buffer
	for _, f := range ar.Files {
		write(t, f.Name, f.Data)
	}
	for _, f := range ar.Files {
		if filepath.Ext(f.Name) == ".toml" && !strings.Contains(f.Name, "/") {
			tell(t, &got, f)
		}
	}
	settle(t, path, ar, got.Bytes())
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// tell writes what Load says of f.
func tell(t *testing.T, w *bytes.Buffer, f txtar.File) {
	fmt.Fprintf(w, "# %s\n", f.Name)
	c, err := Load(f.Name)
	var p *Problems
	if errors.As(err, &p) {
		for _, one := range p.All {
			fmt.Fprintln(w, one)
			if one.Hint != "" {
				fmt.Fprintf(w, "  hint: %s\n", one.Hint)
			}
			if one.Line == 0 && one.Key != "" {
				t.Errorf("no line: %s", one)
			}
		}
		fmt.Fprintf(w, "fatal %t, left out %v\n", p.Fatal(), p.LeftOut)
	} else if err != nil {
		t.Fatalf("%s: %T is no *Problems", f.Name, err)
	}
	var names []string
	for _, fold := range c.Folds {
		names = append(names, fold.Name)
	}
	fmt.Fprintf(w, "folds %v\n", names)
	if bytes.Contains(f.Data, []byte("# show")) {
		show(t, w, c)
	}
}

func show(t *testing.T, w *bytes.Buffer, c *Config) {
	c.Instance = strings.ReplaceAll(c.Instance, hostname(), "HOST")
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, "%s\n", bytes.ReplaceAll(b, []byte(dir), []byte("DIR")))
}

// settle compares got with the archive's file "want", or writes it there.
func settle(t *testing.T, path string, ar *txtar.Archive, got []byte) {
	t.Helper()
	for i := range ar.Files {
		if ar.Files[i].Name != "want" {
			continue
		}
		if bytes.Equal(ar.Files[i].Data, got) {
			return
		}
		if !*update {
			t.Fatalf("got:\n%s\nwant:\n%s", got, ar.Files[i].Data)
		}
		ar.Files = ar.Files[:i]
		break
	}
	if !*update {
		t.Fatalf("no file want: run with -update")
	}
	ar.Files = append(ar.Files, txtar.File{Name: "want", Data: got})
	if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPlaced: a file says where its foldrun keeps its data, whatever else is wrong with it, unless that is what is wrong.
func TestPlaced(t *testing.T) {
	for src, want := range map[string]string{
		"data_dir = 'd'\n[fold.x]\nsource.bukcet = 'b'": "d", // a key that there is not
		"data_dir = 'd'\nstore.sync = 5":                "d", // a value of another type
		"data_dir = 'd'\n[http]\nlisten = 127.0.0.1":    "d", // no TOML
		"data_dir = 'd'\ninclude = ['a',\n'b',\n\n":     "d", // a list that is not ended
		"data_dir = 'd'\ninstance = 'é":                 "d",
		"instance = 5\ndata_dir = 'd'":                  "d",
		"data_dir = 'd'\ninstance = '\xff'":             "d", // no text
		"[http]\nlisten = 127.0.0.1":                    "",  // it may be named below
		"store.sync = 5":                                "",  // the default, or what was misspelt
		"data_dri = 'd'":                                "",
		"data_dir = 5":                                  "",
		"data_dir = ''":                                 "",
		"data_dir = '~/d'":                              "",
		"data_dir = 'd'\ndata_dir = 'e'":                "",
		"[nats.a]\ndata_dir = 'd'":                      "",
		"data_dir = 'd":                                 "",
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "main.toml"), []byte(src))
		c, err := Load(filepath.Join(dir, "main.toml"))
		p, _ := err.(*Problems)
		if p == nil || p.Placed != (want != "") || p.Placed && c.DataDir != filepath.Join(dir, want) {
			t.Errorf("%q: %s, %+v", src, c.DataDir, p)
		}
		if p != nil && !p.Placed && c.DataDir != Default().DataDir {
			t.Errorf("%q: not placed, and %s", src, c.DataDir)
		}
	}
}
