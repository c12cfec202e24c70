package foldrun_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/plugins/examples"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/store"
	"github.com/foldrun/foldrun/testdata/cities"
)

// build builds the plugin in a folder of a Go module, as README.md says, and embeds the manifest.
func build(t testing.TB, folder string, m abi.Manifest) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plugin.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", file, ".")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", folder, err, out)
	}
	wasm, err := os.ReadFile(file)
	check(t, err)
	wasm, err = abi.AppendManifest(wasm, m)
	check(t, err)
	return wasm
}

// buildCopy builds a plugin of one file as a user would: its source and a copy of the SDK in a folder of their own.
func buildCopy(t testing.TB, source string, m abi.Manifest) []byte {
	t.Helper()
	dir := t.TempDir()
	sdk, err := os.ReadFile("foldrun.go")
	check(t, err)
	check(t, os.Mkdir(filepath.Join(dir, "foldrun"), 0o755))
	for name, text := range map[string]string{
		"go.mod":             "module users\n\ngo 1.24\n",
		"main.go":            source,
		"foldrun/foldrun.go": string(sdk),
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return build(t, dir, m)
}

// testModule builds testdata/NAME.
func testModule(t testing.TB, name string, indexes ...string) []byte {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", name, "main.go"))
	check(t, err)
	return buildCopy(t, string(source), abi.Manifest{Name: name, Indexes: indexes})
}

// example builds a plugin of plugins/examples/go.
func example(t testing.TB, name string) []byte {
	t.Helper()
	folder := filepath.Join("../../examples/go", name)
	m, err := config.LoadPlugin(filepath.Join(folder, config.PluginFile))
	check(t, err)
	return build(t, folder, m)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func compile(t testing.TB, wasm []byte, o plugin.Options) *plugin.Module {
	t.Helper()
	m, err := plugin.Compile(t.Context(), wasm, o)
	check(t, err)
	t.Cleanup(func() { check(t, m.Close(t.Context())) })
	return m
}

// verdicts is a Sink that keeps each verdict as text, by record.
type verdicts []string

func (v verdicts) Yield(rec int32, entries plugin.Entries) error {
	var b strings.Builder
	for i := range entries.Len() {
		e := entries.At(i)
		fmt.Fprintf(&b, "%d %q=%q", e.Index, e.Key, e.Value)
		if e.TTL != 0 {
			fmt.Fprintf(&b, " ttl %d", e.TTL)
		}
		b.WriteByte(';')
	}
	v[rec] += b.String()
	return nil
}

func (v verdicts) Fail(rec int32, f store.Failure) error {
	v[rec] += fmt.Sprintf("%s %d: %s", f.Code, f.Number, f.Message)
	return nil
}

// transform runs all records of u through a fresh worker.
func transform(t testing.TB, m *plugin.Module, u *abi.Updates) (verdicts, plugin.Stats) {
	t.Helper()
	w := m.Worker()
	defer w.Close(t.Context())
	v := make(verdicts, u.Len())
	check(t, w.Transform(t.Context(), u, every(u), v))
	return v, w.Stats()
}

func every(u *abi.Updates) []int32 {
	recs := make([]int32, u.Len())
	for i := range recs {
		recs[i] = int32(i)
	}
	return recs
}

// put appends a put of a KV key.
func put(u *abi.Updates, key string, value []byte) {
	const bucket = "$KV.b."
	subject := u.AppendString(bucket + key)
	u.Records = append(u.Records, abi.Update{
		Seq: uint64(u.Len()) + 1, Time: 1_700_000_000_000_000_000, Op: abi.OpPut, Subject: subject,
		Key:   abi.Span{Off: subject.Off + uint32(len(bucket)), Len: uint32(len(key))},
		Value: u.Append(value),
	})
}

func allCities(t testing.TB) *abi.Updates {
	t.Helper()
	u := &abi.Updates{}
	check(t, cities.Each(func(key string, value []byte) error {
		put(u, key, value)
		return nil
	}))
	return u
}

// TestExamples compares the examples in Go with those in C: on all cities, and on texts that are nearly JSON.
func TestExamples(t *testing.T) {
	all, r := allCities(t), seeded(t)
	spoilt := &abi.Updates{}
	for i := range 20_000 {
		from := r.IntN(all.Len())
		put(spoilt, fmt.Sprint(i), spoil(r, all.Value(from)))
	}
	for _, x := range []struct{ name, config string }{
		{"by-country", ""},
		{"city-names", ""},
		{"large-cities", ""},
		{"large-cities", `{"min_population": 5e6}`},
	} {
		t.Run(x.name+x.config, func(t *testing.T) {
			o := plugin.Options{Config: []byte(x.config)}
			c, err := examples.Module(x.name)
			check(t, err)
			inC, inGo := compile(t, c, o), compile(t, example(t, x.name), o)
			if a, b := inC.Manifest(), inGo.Manifest(); !bytes.Equal(a.Meaning(), b.Meaning()) || a.Name != b.Name {
				t.Errorf("the manifests differ: %+v and %+v", a, b)
			}
			for _, u := range []*abi.Updates{all, spoilt} {
				want, _ := transform(t, inC, u)
				got, stats := transform(t, inGo, u)
				errors, entries := 0, 0
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("%s\nGo: %s\nC:  %s", u.Value(i), got[i], want[i])
					}
					if strings.HasPrefix(got[i], "module ") {
						errors++
					}
					if strings.HasSuffix(got[i], ";") {
						entries++
					}
				}
				t.Logf("%d records, %d with entries, %d errors", len(got), entries, errors)
				if stats.Instances != 1 {
					t.Errorf("%d instances were needed", stats.Instances)
				}
			}
		})
	}
}

// TestExamplesAreVetted vets what the main module's go vet does not see, as a plugin and as what go test runs.
func TestExamplesAreVetted(t *testing.T) {
	for _, target := range [][]string{nil, {"GOOS=wasip1", "GOARCH=wasm"}} {
		cmd := exec.Command("go", "vet", "./...")
		cmd.Dir = "../../examples/go"
		cmd.Env = append(os.Environ(), target...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", target, err, out)
		}
	}
}

// TestBehaviour shows what becomes of records whose transform does odd things, each between two good ones.
func TestBehaviour(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	m := compile(t, testModule(t, "behave", "main", "other"), plugin.Options{Config: []byte(`{"wanted":"k\u0065pt"}`), Log: log})
	for _, x := range []struct{ verb, want string }{
		{"anything", `0 "k"="anything";`},
		{"record", `0 "k"="2 1700000000000000000 $KV.b.k X-Tag=red X-Tag=blue X-Empty=";1 "$KV.b.k"="";`},
		{"stack", `0 "a"="a";0 "b"="b";0 "c"="c";`},
		{"escaped", `0 "aü\n"="ü\n";`},
		{"ttl", `0 "k"="" ttl 3600000000000;`},
		{"config", `0 "config"="kept";`},
		{"skip", ``},
		{"error", `module 7: text of error`},
		{"log", ``},
		{"panic string", `module 65535: panic: text`},
		{"panic error", `module 65535: panic: an error`},
		{"panic stringer", `module 65535: panic: named stringer`},
		{"panic int", `module 65535: panic: 42`},
		{"panic other", `module 65535: panic: a value that is no error, string or int`},
		{"panic nil", `module 65535: panic: panic called with nil argument`},
		{"panic again", `module 65535: panic: its value panicked when it was asked for its text`},
		{"panic long", `module 65535: panic: ` + strings.Repeat("x", 1024-len("panic: "))},
		{"panic after error", `module 65535: panic: text`},
		{"index", `module 65535: panic: runtime error: index out of range [101] with length 5`},
		{"map", `module 65535: panic: assignment to entry in nil map`},
		{"nil", `module 65535: panic: runtime error: invalid memory address or nil pointer dereference`},
		{"divide", `module 65535: panic: runtime error: integer divide by zero`},
		{"length", `module 65535: panic: runtime error: makeslice: len out of range`},
		{"bad index", `module 65535: panic: foldrun: no index 65536`},
		{"bad ttl", `module 65535: panic: foldrun: a negative ttl`},
		{"unknown index", `unknown_index 0: index 7, the manifest has 2`},
		// What Go cannot recover from: the host says how it failed.
		{"exit", "trap"},
		{"exit 0", "trap"},
		{"goexit", "trap"},
		{"deadlock", "trap"},
		{"memory", "trap"},
		{"leak", "trap"},
		{"recurse", `out_of_fuel 0: it needs more than 140000000 fuel`},
		{"goroutine", "trap"},
		{"sleep", `0 "slept"="";`},
		{"channel", `0 "received"="";`},
	} {
		t.Run(x.verb, func(t *testing.T) {
			u := &abi.Updates{}
			put(u, "before", []byte("1"))
			put(u, "k", []byte(x.verb))
			for _, h := range [][2]string{{"X-Tag", "red"}, {"X-Tag", "blue"}, {"X-Empty", ""}} {
				u.Headers = append(u.Headers, abi.Header{Name: u.AppendString(h[0]), Value: u.AppendString(h[1])})
				u.Records[1].Headers++
			}
			put(u, "after", []byte("3"))
			got, stats := transform(t, m, u)
			trapped := x.want == "trap"
			if got[1] != x.want && !(trapped && strings.HasPrefix(got[1], "trap 0: ")) {
				t.Errorf("got  %s\nwant %s", got[1], x.want)
			}
			if got[0] != `0 "before"="1";` || got[2] != `0 "after"="3";` {
				t.Errorf("the neighbours have %s and %s", got[0], got[2])
			}
			alone := trapped || x.verb == "recurse" || x.verb == "sleep" // one that sleeps is judged alone: its clock moves
			if alone == (stats.Instances == 1) {
				t.Errorf("%d instances were needed", stats.Instances)
			}
		})
	}
	for _, want := range []string{
		`level=WARN msg=module module=behave text="a line"`,
		`level=ERROR msg=module module=behave text="foldrun: transform called runtime.Goexit, which ends the instance"`,
	} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("the log has no line %s\n%s", want, lines.String())
		}
	}
}

// TestFrames: answers do not depend on how many records a frame holds, and large ones keep their bytes.
func TestFrames(t *testing.T) {
	m := compile(t, testModule(t, "behave", "main", "other"), plugin.Options{BytesPerRecord: 8 << 20})
	u := &abi.Updates{}
	verbs := []string{"one", "record", "stack", "escaped", "panic string", "skip", "error", "map", "ttl", "config"}
	for i := range 300 {
		put(u, fmt.Sprint("key", i), []byte(verbs[i%len(verbs)]))
	}
	put(u, "large", []byte("large"))
	put(u, "large too", []byte("large"))
	put(u, "long", bytes.Repeat([]byte("0123456789"), 90_000))
	together, stats := transform(t, m, u)
	if stats.Frames > 40 {
		t.Errorf("%d frames", stats.Frames)
	}
	w := m.Worker()
	defer w.Close(t.Context())
	alone := make(verdicts, u.Len())
	for i := range u.Len() {
		check(t, w.Transform(t.Context(), u, []int32{int32(i)}, alone))
		if alone[i] != together[i] {
			t.Fatalf("%q: alone %.200s, together %.200s", u.Value(i), alone[i], together[i])
		}
	}
	if want := `0 "long"="` + strings.Repeat("0123456789", 90_000) + `";`; alone[302] != want {
		t.Error("a long record is not what it was")
	}
}

// TestStart: what stops a module from starting, with the text that an operator reads.
func TestStart(t *testing.T) {
	behave := testModule(t, "behave", "main")
	unregistered := buildCopy(t, "package main\n\nimport _ \"users/foldrun\"\n\nfunc main() {}\n", abi.Manifest{Name: "unregistered"})
	for _, x := range []struct {
		wasm         []byte
		config, want string
	}{
		{behave, `{"refuse":"tenant is missing"}`, "refuses the config with code 1: tenant is missing"},
		{behave, `{"panic":true}`, "refuses the config with code 1: panic: configure"},
		{unregistered, ``, "the plugin has no transform: call foldrun.Register in an init function"},
	} {
		m := compile(t, x.wasm, plugin.Options{Config: []byte(x.config)})
		w := m.Worker()
		err := w.Warm(t.Context())
		w.Close(t.Context())
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("got %v, want %s", err, x.want)
		}
	}
}
