package bench

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/store"
)

// rows are the sizes of BenchmarkScale.
var rows = counts{1_000_000, 10_000_000}

func init() { flag.Var(&rows, "rows", "rows of the folds of BenchmarkScale, with commas between") }

// counts is a flag of numbers.
type counts []int

func (c *counts) String() string { return strings.Trim(fmt.Sprint(*c), "[]") }

func (c *counts) Set(text string) error {
	*c = nil
	for _, t := range strings.Split(text, ",") {
		n, err := strconv.Atoi(t)
		if err != nil || n < 1 {
			return errors.New("give numbers above 0, with commas between")
		}
		*c = append(*c, n)
	}
	return nil
}

// BenchmarkScale builds folds of more and more rows, and has each, settled and compacted as that of a fold that stands, catch up with -updates of keys that are drawn
// from all over, none twice, and all of which re-key their record; both beside a bare ordered consumer of the same. Each size has a broker of
// its own. Memory is the most that the process had in use meanwhile.
func BenchmarkScale(b *testing.B) {
	for _, n := range rows {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				scale(b, n)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func scale(b *testing.B, n int) {
	s := startBroker(b)
	s.fill(b, "bench", n)
	wasm, dir := module(b, "rekey"), b.TempDir()
	go runtime.BoundGarbage(b.Context())
	steady := min(*updates, n)
	phase := func(what string, from, updates int) {
		bare := s.measure(updates, func() { s.drainFrom(b, uint64(from+1), updates) })
		debug.FreeOSMemory() // what came before is not what is measured
		peak := watchMemory(b)
		f, end := (*runtime.Fold)(nil), func() {}
		c := s.measure(updates, func() {
			began := time.Now()
			f, end = startIn(b, s, wasm, dir)
			if from > 0 {
				firstRow(b, f)
				b.Logf("%-20s a row is read %s after the start", what, time.Since(began).Round(time.Millisecond))
			}
			wait(f, uint64(from+updates))
		})
		settled := c.And(s.measure(updates, func() { settle(b, f) }))
		most := peak()
		m, _ := f.Store().Metrics()
		checked(b, f, n, "")
		line(b, what+", bare", []cost{bare}, []cost{bare})
		line(b, what, []cost{c}, []cost{bare})
		line(b, what+", settled", []cost{settled}, []cost{bare})
		b.Logf("%-20s %d MiB in memory, of a budget of %d; %d MiB on disk; %.1f bytes written for each byte committed",
			what, most>>20, *memory>>20, m.DiskBytes>>20, m.WriteAmp)
		b.ReportMetric(settled.ClientMicro(), what+"-settled-client-µs/update")
		b.ReportMetric(c.Rate()/bare.Rate(), what+"-of-bare")
		b.ReportMetric(float64(most>>20), what+"-MiB")
		end()
	}
	phase("build", 0, n)
	standing(b, s, wasm, dir)
	must(b, s.PublishKeys(context.Background(), "bench", steady, func(i int) (string, []byte) {
		return rig.Key(int(uint64(i) * 2_654_435_761 % uint64(n))), value(n + i) // a prime: no key twice
	}))
	phase("steady", n, steady)
}

// standing has the store as that of a fold that stands: compacted for its readers.
func standing(b *testing.B, s *broker, wasm []byte, dir string) {
	f, end := startIn(b, s, wasm, dir)
	firstRow(b, f)
	did, err := f.Store().Compact(b.Context(), store.CompactOptions{})
	must(b, err)
	b.Logf("%-20s %+v", "compacted", did)
	end()
}

// firstRow waits for the generation that serves, and reads a row of it.
func firstRow(b *testing.B, f *runtime.Fold) {
	for moved := f.Moved(); f.Store() == nil; moved = f.Moved() {
		<-moved
	}
	v, err := f.Store().View()
	must(b, err)
	n := 0
	must(b, errors.Join(v.Scan(0, store.Range{}, func(store.Row) bool { n++; return false }), v.Close()))
	if n == 0 {
		b.Fatal("no row")
	}
}

// watchMemory returns what says how much memory this process had in use at most since.
func watchMemory(tb testing.TB) func() int64 {
	tb.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		tb.Skip("the system does not say how much memory was in use: ", err)
	}
	return func() int64 {
		b, err := os.ReadFile("/proc/self/status")
		must(tb, err)
		_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
		kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
		must(tb, err)
		return kib << 10
	}
}
