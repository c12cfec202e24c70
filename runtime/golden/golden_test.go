package golden_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/plugins/examples"
	"github.com/foldrun/foldrun/runtime/golden"
	"github.com/foldrun/foldrun/runtime/plugin"
)

var update = flag.Bool("update", false, "write what came out into testdata")

// moduleOf returns the module that a file of testdata is for: its name begins with the module's.
func moduleOf(t testing.TB, file string) golden.Options {
	t.Helper()
	for _, name := range []string{"wants-delete", "model"} {
		if strings.HasPrefix(filepath.Base(file), name) {
			wasm, err := os.ReadFile("../../testdata/modules/" + name + ".wasm")
			check(t, err)
			return golden.Options{Wasm: wasm, Module: plugin.Options{CacheDir: filepath.Join(t.TempDir(), "modules")}}
		}
	}
	t.Fatalf("%s is for no module", file)
	return golden.Options{}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// play parses and runs a test.
func play(t testing.TB, file string, text []byte, o golden.Options) (*golden.Result, error) {
	t.Helper()
	test, err := golden.Parse(file, text)
	if err != nil {
		return nil, err
	}
	return test.Run(t.Context(), o)
}

func files(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(all) < 5 {
		t.Fatal(all, err)
	}
	return all
}

// TestFiles runs the tests of testdata, and each again without its expectations and with each of them changed.
func TestFiles(t *testing.T) {
	for _, file := range files(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			check(t, err)
			o := moduleOf(t, file)
			r, err := play(t, file, text, o)
			check(t, err)
			if *update {
				check(t, os.WriteFile(file, r.Text(), 0o644))
				return
			}
			for _, d := range r.Differences {
				t.Errorf("%s:%d: %s: want %q, got %q", file, d.Line, d.Of, d.Want, d.Got)
			}
			if !bytes.Equal(r.Text(), text) {
				t.Errorf("a test without differences was rewritten:\n%s", r.Text())
			}
			stripped(t, file, text, o)
			mutated(t, file, text, o)
		})
	}
}

// stripped takes all expectations away: an update puts them back as they were.
func stripped(t *testing.T, file string, text []byte, o golden.Options) {
	t.Helper()
	var bare []string
	expectation := regions(text)
	for i, l := range lines(text) {
		if !expectation[i] {
			bare = append(bare, l)
		}
	}
	r, err := play(t, file, []byte(strings.Join(bare, "")), o)
	check(t, err)
	if len(r.Differences) == 0 {
		t.Error("without expectations it has no differences")
	}
	if !bytes.Equal(r.Text(), text) {
		t.Errorf("rewritten:\n%s\nwant:\n%s", r.Text(), text)
	}
}

// mutated leaves out each line that is expected, and writes each twice: both must be seen.
func mutated(t *testing.T, file string, text []byte, o golden.Options) {
	t.Helper()
	all, expectation := lines(text), regions(text)
	for i, l := range all {
		if !expectation[i] || strings.HasPrefix(l, " ") {
			continue
		}
		n := i + 1 // the indented lines below it
		for n < len(all) && strings.HasPrefix(all[n], " ") {
			n++
		}
		for _, with := range [][]string{nil, slices.Concat(all[i:n], all[i:n])} {
			r, err := play(t, file, []byte(strings.Join(slices.Concat(all[:i], with, all[n:]), "")), o)
			check(t, err)
			if len(r.Differences) != 1 || r.Differences[0].Line == 0 {
				t.Errorf("line %d %d times: %+v", i+1, len(with)/(n-i), r.Differences)
			}
			if !bytes.Equal(r.Text(), text) {
				t.Errorf("line %d %d times: rewritten as\n%s", i+1, len(with)/(n-i), r.Text())
			}
		}
	}
}

func lines(text []byte) []string {
	return strings.SplitAfter(strings.TrimSuffix(string(text), "\n")+"\n", "\n")
}

// regions tells which lines of a file are expected: it knows of the format what it must.
func regions(text []byte) []bool {
	all := lines(text)
	is := make([]bool, len(all))
	section, below := "", false
	for i, l := range all {
		switch {
		case strings.HasPrefix(l, "-- ") && strings.HasSuffix(l, " --\n"):
			section, below = strings.TrimSpace(strings.Trim(l, "-\n")), false
			continue
		case l == "" || l == "\n" || l[0] == '#':
			below = false
			continue
		}
		if l[0] != ' ' {
			below = section == "rows" || section == "quarantine" || section == "updates" && strings.ContainsRune("+-!", rune(l[0]))
		}
		is[i] = below
	}
	return is
}

// TestFaults is what is said of files that are no tests: the line, and the mend.
func TestFaults(t *testing.T) {
	o := moduleOf(t, "model")
	for _, x := range []struct{ text, want, mend string }{
		{"", "f:1: it has no updates", "-- updates --"},
		{"-- update --\nput 1 a\n", "f:1: there is no section update", "the nearest is updates"},
		{"-- updates --\nput 1 a\n-- city.json --\n{}\n", "f:3: there is no section city.json", "put KEY @city.json"},
		{"-- rows --\n-- updates --\nput 1 a\n", "f:1: rows stands before the first updates", "below the updates"},
		{"-- updates --\n\npit 1 a\n", `f:3: there is no update "pit"`, "the nearest is put"},
		{"-- updates --\nrow 1 a\n", `f:2: there is no update "row"`, "lines begin with put"},
		{"-- updates --\nput\n", "f:2: it has no key", "put KEY"},
		{"-- updates --\nput \"a b\n", `f:2: "a b is not a Go string`, "as a Go string"},
		{"-- updates --\nput \"a\"b c\n", `f:2: "a" is followed by "b c"`, "as a Go string"},
		{"-- updates --\nput 1 \"a\n", `f:2: "a is not a Go string`, "as it is"},
		{"-- updates --\nput 1 @none\n", "f:2: there is no section none", "@SECTION"},
		{"-- updates --\ndelete 1 a\n", `f:2: "a" follows the key`, "no value"},
		{"-- updates --\n  seq 5\nput 1 a\n", "f:2: indented", "first column"},
		{"-- updates --\nput 1 a\n# a comment\n  seq 5\n", "f:4: indented", "below its line"},
		{"-- updates --\nput 1 a\n  sequence 5\n", `f:3: there is no "sequence" of an update`, "header, subject, time and seq"},
		{"-- updates --\nput 1 a\nput 1 a\n  seq 1\n", "f:4: seq 1, after 1", "at least 2"},
		{"-- updates --\nput 1 a\n  time noon\n", `f:3: "noon" is not a time`, "2026-01-01T00:00:00Z"},
		{"-- updates --\nput 1 a\n  header Nats-TTL 5\n", "f:3: \"Nats-TTL 5\" is not a header", "NAME: VALUE"},
		{"-- updates --\nclock 5\n", `f:2: "5" is not a time`, "write clock"},
		{"-- updates --\n+ a k v\n", "f:2: no update stands above it", "begin with an update"},
		{"-- updates --\nput 1 a\n+ a\n", "f:3: it has no key", "+ INDEX KEY VALUE"},
		{"-- updates --\nput 1 a\n+ a k\n", "f:3: it has no value", "+ INDEX KEY VALUE"},
		{"-- updates --\nput 1 a\n- a k v\n", `f:3: "v" follows the key`, "- INDEX KEY;"},
		{"-- updates --\nput 1 a\n!\n", "f:3: it has no reason", "! REASON"},
		{"-- updates --\nput 1 a\n! why\n  source 2\n", "f:3: nothing more can be said of it", "! REASON"},
		{"-- updates --\nput 1 a\n+ a k v\n  expires soon\n", `f:3: "soon" is not a time`, "+ INDEX KEY VALUE"},
		{"-- updates --\nput 1 a\n-- rows --\na k 1\n", "f:4: it has no value", "INDEX KEY SOURCE VALUE"},
		{"-- updates --\nput 1 a\n-- rows --\na k 1 v\n  source 1\n", `f:4: there is no "source" of a row`, "INDEX KEY SOURCE VALUE"},
		{"-- updates --\nput 1 a\n-- quarantine --\n1\n", "f:4: it has no reason", "KEY REASON"},
		{"-- updates --\nput 1 ak=v\n+ other k v\n", `f:3: the module has no index "other"`, "the manifest has a, b"},
		{"-- updates --\nput 1 ak=v\n-- rows --\naa k 1 v\n", `f:4: the module has no index "aa"`, "the nearest is a"},
		{"-- config.json --\n{\n\"a\": }\n-- updates --\nput 1 a\n", "f:3: the config is not a JSON object", "as JSON"},
		{"-- config.json --\n{} {}\n-- updates --\nput 1 a\n", "f:2: the config is not a JSON object", "as JSON"},
		{"-- config.json --\n{}\n-- config.json --\n{}\n", "f:3: a second section config.json", "leave one"},
		{"-- keying --\nkey\n-- updates --\nput 1 a\n", `f:1: keying "key"`, "subject or message"},
		{"-- refused --\nno\n-- updates --\nput 1 a\n", "f:4: updates, and the config is to be refused", "two files"},
	} {
		_, err := play(t, "f", []byte(x.text), o)
		if err == nil || !strings.HasPrefix(err.Error(), x.want) || !strings.Contains(hint.Of(err), x.mend) {
			t.Errorf("%q:\n is %v; %s\nwant %s; %s", x.text, err, hint.Of(err), x.want, x.mend)
		}
	}
}

// TestRefused is a config that the module itself refuses, and one that it should refuse and does not.
func TestRefused(t *testing.T) {
	wasm, err := examples.Module("large-cities")
	check(t, err)
	m, _, err := abi.ReadManifest(wasm)
	check(t, err)
	m.ConfigSchema = nil
	wasm, err = abi.AppendManifest(wasm, m)
	check(t, err)
	const refused = "-- config.json --\n{\"min_population\": \"many\"}\n"
	const why = "foldrun_init refuses the config with code 1: min_population is not a number"
	good := []byte(refused + "-- refused --\n" + why + "\n")
	for _, text := range []string{string(good), refused + "-- refused --\n", refused + "-- refused --\nno\n"} {
		r, err := play(t, "f", []byte(text), golden.Options{Wasm: wasm})
		check(t, err)
		if (len(r.Differences) == 0) != (text == string(good)) || !bytes.Equal(r.Text(), good) {
			t.Errorf("%s: %+v, rewritten as\n%s", text, r.Differences, r.Text())
		}
	}
	r, err := play(t, "f", []byte("-- refused --\n"+why+"\n"), golden.Options{Wasm: wasm})
	check(t, err)
	if len(r.Differences) != 1 || r.Differences[0].Want != why {
		t.Errorf("%+v", r.Differences)
	}
	_, err = play(t, "f", []byte(refused+"-- updates --\nput 1 a\n"), golden.Options{Wasm: wasm})
	if err == nil || err.Error() != "f:1: the config is refused: "+why {
		t.Errorf("refused, with updates: %v", err)
	}
}

// FuzzParse: no file ends the process, and one that is a test is one as it is written too.
func FuzzParse(f *testing.F) {
	for _, file := range files(f) {
		text, err := os.ReadFile(file)
		check(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := golden.Parse("f", text); err != nil && (!strings.HasPrefix(err.Error(), "f:") || hint.Of(err) == "") {
			t.Errorf("%q: %v; %s", text, err, hint.Of(err))
		}
	})
}
