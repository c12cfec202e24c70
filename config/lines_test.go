package config

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/rogpeppe/go-internal/txtar"
)

// archived returns all TOML files of testdata.
func archived(t testing.TB) []txtar.File {
	t.Helper()
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var files []txtar.File
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			if filepath.Ext(f.Name) == ".toml" {
				files = append(files, f)
			}
		}
	}
	if len(files) == 0 {
		t.Fatal("no files")
	}
	return files
}

func TestScanLines(t *testing.T) {
	for _, c := range []struct {
		src  string
		path []string
		want int
	}{
		{"a = 1\nb = 2", []string{"b"}, 2},
		{"\n\n[a]\nb = 1", []string{"a", "b"}, 4},
		{"[a.b.c]\nd = 1", []string{"a", "b"}, 1},
		{"[a.b]\n[a]\nc = 1", []string{"a"}, 1},
		{"a.b.c = 1\na.b.d = 1", []string{"a", "b", "d"}, 2},
		{"a = '''\nb = 1\n'''\nb = 2", []string{"b"}, 4},
		{"a = \"\"\"\n\\\"\"\"\nb = 1\n\"\"\"\"\"\nb = 2", []string{"b"}, 5},
		{"a = \"\"\"\\\\\"\"\"\"\"\"\nb = 1", []string{"b"}, 2}, // toml takes six after a backslash
		{"a = '\"'\nb = '''\\'''\nc = 1", []string{"c"}, 3},
		{"a = \"#\" # \"\nb = 1", []string{"b"}, 2},
		{"a = [\n1, # ]\n'''\n''', {b = [\n2]}]\nc = 1", []string{"c"}, 6},
		{"a = [\n1,\n\n2]", []string{"a", "[1]"}, 4},
		{"a = {b = 1, c = {\nd = 2}}\ne = 1", []string{"a", "c", "d"}, 2},
		{"[[a]]\nb = 1\n[[a]]\nc = 1", []string{"a", "c"}, 4},
		{"[ 'a' . \"b\\u0063\" ]\nd = 1", []string{"a", "bc", "d"}, 2},
		{"a = 1979-05-27 07:32:00\nb = 1", []string{"b"}, 2},
		{"a = 1\r\nb = 2\r\n", []string{"b"}, 2},
		{"\"\" = 1\n\"a=b\" = 2\n'[c]' = 3", []string{"[c]"}, 3},
		{"a = 1", []string{"a", "not", "there"}, 1},
		{"a = 1", []string{"not", "there"}, 0},
	} {
		var v map[string]any
		if _, err := toml.Decode(c.src, &v); err != nil {
			t.Errorf("%q: %v", c.src, err)
		}
		marks, _ := scan(c.src)
		if got := linesOf(marks).at(c.path); got != c.want {
			t.Errorf("%q: %v in line %d, want %d", c.src, c.path, got, c.want)
		}
	}
}

func TestScanFindsTheKeysOfToml(t *testing.T) {
	for _, f := range archived(t) {
		checkScan(t, string(f.Data))
	}
}

func FuzzScan(f *testing.F) {
	for _, file := range archived(f) {
		f.Add(string(file.Data))
	}
	f.Fuzz(checkScan)
}

// checkScan: of a document that toml accepts, scan finds the same keys in the same order.
func checkScan(t *testing.T, src string) {
	src = stripBOM(src)
	marks, deep := scan(src)
	if deep > 0 || notUTF8(src) > 0 {
		return
	}
	var v map[string]any
	md, err := toml.Decode(src, &v)
	if err != nil {
		return
	}
	var got []string
	last := 1
	for _, m := range marks {
		if m.line < last {
			t.Errorf("%q: %v in line %d, after line %d", src, m.path, m.line, last)
		}
		last = m.line
		if !m.element {
			got = append(got, lineKey(slices.DeleteFunc(slices.Clone(m.path), isElement)))
		}
	}
	var want []string
	for _, key := range md.Keys() {
		want = append(want, lineKey(key))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\n got %q\nwant %q", src, got, want)
	}
}
