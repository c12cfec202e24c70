package sdk_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/store"
	"github.com/foldrun/foldrun/testdata/cities"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 = another one each time")

// seeded returns a source of randomness, and prints how to get the same again.
func seeded(t testing.TB) *rand.Rand {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("go test ./plugins/sdk -run '^%s$' -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 0))
}

var compiled sync.Map // by source: compiling takes seconds

// asc compiles a plugin in AssemblyScript as the SDK says, in a folder of its own with a copy of the SDK, and embeds the
// manifest.
func asc(t testing.TB, source string, m abi.Manifest) []byte {
	t.Helper()
	tool, err := exec.LookPath("asc")
	if err != nil {
		t.Skip("needs AssemblyScript: npm i --ignore-scripts assemblyscript@0.28.20, and its node_modules/.bin in $PATH")
	}
	once, _ := compiled.LoadOrStore(source, sync.OnceValues(func() ([]byte, error) { return runAsc(tool, source) }))
	wasm, err := once.(func() ([]byte, error))()
	check(t, err)
	wasm, err = abi.AppendManifest(wasm, m)
	check(t, err)
	return wasm
}

func runAsc(tool, source string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "foldrun-asc-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for to, from := range map[string]string{"plugin.ts": source, "foldrun.ts": "assemblyscript/foldrun.ts"} {
		text, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o644); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(tool, "plugin.ts", "--config", "none", "--runtime", "incremental", "-O3", "--outFile", "plugin.wasm")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		return nil, fmt.Errorf("%s: %v\n%s", source, err, out)
	}
	return os.ReadFile(filepath.Join(dir, "plugin.wasm"))
}

// A behaving is the plugin of one language that does what its records say.
type behaving struct {
	language string
	build    func(t testing.TB, m abi.Manifest) []byte
}

// wasm returns the plugin's module, with the indexes.
func (b behaving) wasm(t testing.TB, indexes ...string) []byte {
	t.Helper()
	return b.build(t, abi.Manifest{Name: "behave", Indexes: indexes})
}

// inEach runs a test with the plugin of each language.
func inEach(t *testing.T, test func(t *testing.T, behave behaving)) {
	for _, b := range []behaving{
		{"go", func(t testing.TB, m abi.Manifest) []byte { return built(t, "go", "go/testdata/behave/main.go", m) }},
		{"assemblyscript", func(t testing.TB, m abi.Manifest) []byte {
			return asc(t, "assemblyscript/testdata/behave/plugin.ts", m)
		}},
		{"c", func(t testing.TB, m abi.Manifest) []byte { return built(t, "c", "c/testdata/behave.c", m) }},
		{"rust", func(t testing.TB, m abi.Manifest) []byte { return built(t, "rust", "rust/testdata/behave.rs", m) }},
		{"zig", func(t testing.TB, m abi.Manifest) []byte { return built(t, "zig", "zig/testdata/behave.zig", m) }},
	} {
		t.Run(b.language, func(t *testing.T) { test(t, b) })
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// compile compiles a module; for all tests together each once, while a benchmark takes the time.
func compile(t testing.TB, wasm []byte, o plugin.Options) *plugin.Module {
	t.Helper()
	if _, timed := t.(*testing.B); !timed {
		dir, err := cache()
		check(t, err)
		o.CacheDir = dir
	}
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

// spoil changes a few bytes of a JSON text.
func spoil(r *rand.Rand, text []byte) []byte {
	const bytes = "\"\"\\\\{}[]:,, \n0123456789.-+eEutrunabcdxf\x00\xff"
	escapes := []string{`\u00fc`, `\n`, `\ud83d\ude00`, `\ud83d`, `\u0000`, `\x`, `\`, `A"`, ` `, `{"name":1},`}
	out := append([]byte(nil), text...)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(out) + 1)
		insert := string(bytes[r.IntN(len(bytes))])
		switch r.IntN(6) {
		case 0, 1:
			insert = escapes[r.IntN(len(escapes))]
		case 2:
			insert = ""
		}
		cut := min(r.IntN(2), len(out)-at)
		out = append(append(append([]byte(nil), out[:at]...), insert...), out[at+cut:]...)
	}
	return out
}
