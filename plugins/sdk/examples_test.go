package sdk_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/plugins/examples"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/plugin/fuel"
	"github.com/foldrun/foldrun/store"
)

// example returns an example's module: as it is checked in beside its source, or else built.
func example(t testing.TB, language, name string) []byte {
	t.Helper()
	dir := filepath.Join("../examples", language, name)
	if language != "assemblyscript" && language != "wat" {
		return builtIn(t, dir)
	}
	wasm, err := os.ReadFile(filepath.Join(dir, name+".wasm"))
	check(t, err)
	return wasm
}

// TestExamples compares the examples in each language with those in C: on all cities, and on texts that are nearly JSON.
func TestExamples(t *testing.T) {
	all, r := allCities(t), seeded(t)
	spoilt := &abi.Updates{}
	for i := range 20_000 {
		put(spoilt, fmt.Sprint(i), spoil(r, all.Value(r.IntN(all.Len()))))
	}
	for _, x := range []struct{ language, name, config string }{
		{"assemblyscript", "by-country", ""},
		{"rust", "by-country", ""},
		{"zig", "by-country", ""},
		{"go", "by-country", ""},
		{"go", "city-names", ""},
		{"go", "large-cities", ""},
		{"go", "large-cities", `{"min_population": 5e6}`},
	} {
		t.Run(x.language+"/"+x.name+x.config, func(t *testing.T) {
			o := plugin.Options{Config: []byte(x.config)}
			c, err := examples.Module(x.name)
			check(t, err)
			inC, other := compile(t, c, o), compile(t, example(t, x.language, x.name), o)
			if a, b := inC.Manifest(), other.Manifest(); string(a.Meaning()) != string(b.Meaning()) || a.Name != b.Name {
				t.Errorf("the manifests differ: %+v and %+v", a, b)
			}
			for _, u := range []*abi.Updates{all, spoilt} {
				want, _ := transform(t, inC, u)
				got, stats := transform(t, other, u)
				errors, entries := 0, 0
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("%s\n%s: %s\nC:  %s", u.Value(i), x.language, got[i], want[i])
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

// counter is a Sink that counts.
type counter struct{ entries, failures int }

func (c *counter) Yield(_ int32, entries plugin.Entries) error {
	c.entries += entries.Len()
	return nil
}

func (c *counter) Fail(int32, store.Failure) error {
	c.failures++
	return nil
}

// fold sends n cities through a worker of m and returns how long that took, and what it needed.
func fold(t testing.TB, m *plugin.Module, u *abi.Updates, n int) (time.Duration, plugin.Stats) {
	t.Helper()
	w := m.Worker()
	defer w.Close(t.Context())
	check(t, w.Warm(t.Context()))
	recs := every(u)
	var c counter
	start := time.Now()
	for left := n; left > 0; left -= len(recs) {
		recs = recs[:min(left, len(recs))]
		check(t, w.Transform(t.Context(), u, recs, &c))
	}
	took := time.Since(start)
	if c.failures > 0 || c.entries != n {
		t.Fatalf("%d of %d records failed, %d entries", c.failures, n, c.entries)
	}
	return took, w.Stats()
}

// A language is a row of the benchmark.
type language struct {
	name string
	wasm func(testing.TB) []byte
}

// languages have the plugin by-country, and perhaps one that does the same and throws away what it makes.
var languages = []language{
	{"C", func(t testing.TB) []byte { wasm, err := examples.Module("by-country"); check(t, err); return wasm }},
	{"AssemblyScript", func(t testing.TB) []byte { return example(t, "assemblyscript", "by-country") }},
	{"Rust", func(t testing.TB) []byte { return example(t, "rust", "by-country") }},
	{"Rust-garbage", func(t testing.TB) []byte {
		return built(t, "rust", "rust/testdata/garbage.rs", abi.Manifest{Name: "garbage"})
	}},
	{"Zig", func(t testing.TB) []byte { return example(t, "zig", "by-country") }},
	{"Zig-garbage", func(t testing.TB) []byte {
		return built(t, "zig", "zig/testdata/garbage.zig", abi.Manifest{Name: "garbage"})
	}},
	{"AssemblyScript-garbage", func(t testing.TB) []byte {
		return asc(t, "assemblyscript/testdata/garbage/plugin.ts", abi.Manifest{Name: "garbage"})
	}},
}

// collected are the same in Go, where garbage stays until it is collected: TestGarbage is about their memory.
var collected = []language{
	{"Go", func(t testing.TB) []byte { return example(t, "go", "by-country") }},
	{"Go-garbage", func(t testing.TB) []byte {
		return built(t, "go", "go/testdata/garbage/main.go", abi.Manifest{Name: "garbage"})
	}},
	{"Go-json", func(t testing.TB) []byte {
		return built(t, "go", "go/testdata/json/main.go", abi.Manifest{Name: "json"})
	}},
}

// TestMemory: many records leave a module's memory as small as it was, also one that makes garbage of each.
func TestMemory(t *testing.T) {
	frames := encoded(allCities(t))
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			g := guestOf(t, l.wasm(t))
			before, _ := g.run(t, frames, 50_000)
			after, _ := g.run(t, frames, 300_000)
			t.Logf("%d KiB, then %d KiB", before>>10, after>>10)
			if after != before || after > 2<<20 {
				t.Errorf("%d KiB after 50,000 records, %d KiB after 300,000 more", before>>10, after>>10)
			}
		})
	}
}

var records = flag.Int("records", 1_000_000, "records of a benchmark")

// BenchmarkLanguages folds cities in each operation, under 64 MiB: docs/performance.md has the table.
//
//	go test ./plugins/sdk -run '^$' -bench Languages -benchtime 1x -records 10000000
func BenchmarkLanguages(b *testing.B) {
	n := *records
	u := allCities(b)
	frames := encoded(u)
	for _, l := range slices.Concat(languages, collected) {
		b.Run(l.name, func(b *testing.B) {
			wasm := l.wasm(b)
			start := time.Now()
			m := compile(b, wasm, plugin.Options{Memory: 64 << 20})
			compiled := time.Since(start)
			var took time.Duration
			for b.Loop() {
				var stats plugin.Stats
				if took, stats = fold(b, m, u, n); stats.Instances != 1 {
					b.Errorf("%d instances were needed", stats.Instances)
				}
			}
			metered, err := fuel.Meter(wasm, fuel.Limits{})
			check(b, err)
			_, used := guestOf(b, metered).run(b, frames, u.Len())
			memory, _ := guestOf(b, wasm).run(b, frames, n)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(len(wasm)), "B")
			b.ReportMetric(float64(compiled.Microseconds())/1000, "compile-ms")
			b.ReportMetric(float64(took.Nanoseconds())/float64(n), "ns/record")
			b.ReportMetric(float64(used)/float64(u.Len()), "fuel/record")
			b.ReportMetric(float64(memory>>10), "KiB")
		})
	}
}
