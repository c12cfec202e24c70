package foldrun_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/plugins/examples"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/store"
)

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

// A run is what became of n cities that went through one worker.
type run struct {
	took                time.Duration
	memory, collections int // bytes that Go has from the host; 0 where the module does not say
	instances           int
}

func (r run) String() string {
	return fmt.Sprintf("%v, %d KiB, %d collections, %d instances", r.took, r.memory>>10, r.collections, r.instances)
}

// fold sends n cities through a worker of m, and asks the module for its memory if it understands that.
func fold(t testing.TB, m *plugin.Module, u *abi.Updates, n int, ask bool) (r run) {
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
	r.took = time.Since(start)
	if c.failures > 0 || c.entries != n {
		t.Fatalf("%d of %d records failed, %d entries", c.failures, n, c.entries)
	}
	if ask {
		question := &abi.Updates{}
		put(question, "k", []byte("memory"))
		v := make(verdicts, 1)
		check(t, w.Transform(t.Context(), question, []int32{0}, v))
		if _, err := fmt.Sscanf(v[0], `0 "sys"=%q;0 "collections"=%q;`, (*number)(&r.memory), (*number)(&r.collections)); err != nil {
			t.Fatalf("%v: %s", err, v[0])
		}
	}
	r.instances = int(w.Stats().Instances)
	return r
}

// number scans a quoted number.
type number int

func (n *number) Scan(state fmt.ScanState, verb rune) error {
	var text string
	if _, err := fmt.Fscanf(state, "%q", &text); err != nil {
		return err
	}
	v, err := strconv.Atoi(text)
	*n = number(v)
	return err
}

// TestGarbage: a module that makes garbage of every record, some 500 MB in all, lives within a small memory.
func TestGarbage(t *testing.T) {
	m := compile(t, testModule(t, "garbage"), plugin.Options{Memory: 16 << 20})
	r := fold(t, m, allCities(t), 300_000, true)
	t.Log(r)
	if r.instances != 1 {
		t.Errorf("%d instances were needed", r.instances)
	}
}

// TestLargeGarbage: a record that makes more than a MiB of garbage is no danger for the others of its frame.
func TestLargeGarbage(t *testing.T) {
	m := compile(t, testModule(t, "behave"), plugin.Options{FuelPerRecord: 1 << 40})
	u := &abi.Updates{}
	for range 600 {
		put(u, "k", []byte("waste"))
	}
	r := fold(t, m, u, u.Len(), false)
	t.Log(r)
	if r.instances > 60 { // a call of many is given up where collecting the garbage of all is dear, and cut smaller
		t.Errorf("%d instances were needed", r.instances)
	}
}

// BenchmarkMillion folds a million cities in each operation, under 64 MiB: what by-country does, in C, in Go, in Go with
// strings and maps that are thrown away, and in Go with encoding/json.
//
//	go test ./plugins/sdk/go -run '^$' -bench Million -benchtime 1x
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	u := allCities(b)
	for _, x := range []struct {
		name string
		wasm func(testing.TB) []byte
		ask  bool
	}{
		{"C", func(t testing.TB) []byte { wasm, err := examples.Module("by-country"); check(t, err); return wasm }, false},
		{"Go", func(t testing.TB) []byte { return example(t, "by-country") }, false},
		{"Go-garbage", func(t testing.TB) []byte { return testModule(t, "garbage") }, true},
		{"Go-json", func(t testing.TB) []byte { return testModule(t, "json") }, true},
	} {
		b.Run(x.name, func(b *testing.B) {
			wasm := x.wasm(b)
			start := time.Now()
			m := compile(b, wasm, plugin.Options{})
			compiled := time.Since(start)
			var last run
			for b.Loop() {
				last = fold(b, m, u, n, x.ask)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
			b.ReportMetric(float64(last.memory)/(1<<20), "MiB")
			b.ReportMetric(float64(last.collections), "collections")
			b.ReportMetric(float64(last.instances), "instances")
			b.ReportMetric(float64(len(wasm)), "B")
			b.ReportMetric(float64(compiled.Milliseconds()), "compile-ms")
		})
	}
}
