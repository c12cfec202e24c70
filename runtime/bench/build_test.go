package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// A build is a first build that is measured: folds of a bucket from its beginning, each into an empty store, all at once.
type build struct {
	name  string
	part  int // it folds 1/part of -updates
	size  int // bytes of a value
	folds int
	wasm  func(testing.TB) []byte
	lean  func(testing.TB) []byte // if set: what is beside it is a fold of this module, not so many bare consumers
	slow  transform
	rows  int     // of a hundred updates
	bar   float64 // what the rate should be of that which is beside it; 0 = there is none
}

// A transform is what a module does, in Go: it calls emit for each row of a record.
type transform func(key string, value []byte, emit func(key, value []byte))

var builds = []build{
	{name: "1KB", part: 4, size: 1024, folds: 1, wasm: named("rekey"), slow: rekey, rows: 100, bar: 0.6},
	{name: "five-rows", part: 2, size: 128, folds: 1, wasm: named("five"), slow: five, rows: 500},
	{name: "Go", part: 1, size: 128, folds: 1, wasm: goRekey, lean: named("rekey"), slow: rekey, rows: 100, bar: 0.9},
	{name: "filtered", part: 1, size: 128, folds: 1, wasm: named("hundredth"), slow: hundredth, rows: 1, bar: 0.95},
	{name: "ten-folds", part: 4, size: 128, folds: 10, wasm: named("rekey"), slow: rekey, rows: 100},
}

func named(name string) func(testing.TB) []byte {
	return func(tb testing.TB) []byte { return module(tb, name) }
}

func rekey(key string, value []byte, emit func(key, value []byte)) {
	emit([]byte(string(value[:8])+"/"+key), value)
}

func five(key string, value []byte, emit func(key, value []byte)) {
	for i := range 5 {
		emit([]byte(string(value[8*i:8*i+8])+"/"+key), value)
	}
}

func hundredth(key string, value []byte, emit func(key, value []byte)) {
	if strings.HasSuffix(key, "00") {
		rekey(key, value, emit)
	}
}

// goRekey is rekey as a user of Go writes it.
func goRekey(tb testing.TB) []byte {
	return buildGo(tb, `package main

import "users/foldrun"

func init() { foldrun.Register(transform) }

func main() {}

var key []byte

func transform(r *foldrun.Record, out *foldrun.Out) {
	v := r.Value()
	key = append(append(append(key[:0], v[:8]...), '/'), r.Key()...)
	out.Emit(0, key, v)
}
`)
}

// BenchmarkBuild measures the first builds of the table, each beside bare ordered consumers of the same updates, or beside a fold of
// a lean module, round by round; what is beside it runs twice in each round, so that the two say how noisy the machine is.
// Updates are counted once for each fold. Each store is checked; in the first round its rows are held against those that the
// transform in Go makes, one record after the other, and in all others its digest against that of the first.
func BenchmarkBuild(b *testing.B) {
	for _, x := range builds {
		b.Run(x.name, func(b *testing.B) { x.bench(b) })
	}
}

func (x *build) bench(b *testing.B) {
	s := x.start(b, *updates/x.part)
	fold, beside := s.folds(x.wasm(b)), func() cost { return s.measure(s.n*x.folds, func() { s.drains(b, s.n, x.folds) }) }
	if x.lean != nil {
		lean := s.folds(x.lean(b))
		beside = func() cost {
			c, _ := lean()
			return c
		}
	}
	var first, again, built, settled []cost
	for b.Loop() {
		for range *rounds {
			first = append(first, beside())
			c, rest := fold()
			built, settled = append(built, c), append(settled, c.And(rest))
			again = append(again, beside())
		}
	}
	line(b, "beside it", first, first)
	line(b, "the same again", again, first)
	line(b, x.name, built, first)
	line(b, x.name+", settled", settled, first)
	b.ReportMetric(median(built, cost.Rate), "updates/s")
	b.ReportMetric(median(built, cost.Rate)*float64(x.rows)/100, "rows/s")
	b.ReportMetric(median(built, cost.Rate)/median(first, cost.Rate), "ratio")
	b.ReportMetric(x.bar, "bar")
	b.ReportMetric(0, "ns/op")
}

// TestBuild builds each of the table once, of few updates.
func TestBuild(t *testing.T) {
	for _, x := range builds {
		t.Run(x.name, func(t *testing.T) {
			s := x.start(t, 2000)
			s.folds(x.wasm(t))()
		})
	}
}

// line prints a line of a table.
func line(b *testing.B, what string, all, beside []cost) {
	b.Logf("%-20s %8.0f updates/s  %.2f  client %.2f µs  broker %.2f µs CPU an update (median of %d)", what, median(all, cost.Rate),
		median(all, cost.Rate)/median(beside, cost.Rate), median(all, cost.ClientMicro), median(all, cost.BrokerMicro), len(all))
}

func (x *build) value(i int) []byte { return rig.Value(i, x.size) }

// drains has so many bare consumers read the bucket at once.
func (s *broker) drains(tb testing.TB, n, consumers int) {
	ended := make(chan error, consumers)
	for range consumers {
		go func() { ended <- s.Drain(context.Background(), "bench", 1, n) }()
	}
	for range consumers {
		must(tb, <-ended)
	}
}

// site is a broker with a bucket of n updates for a build.
type site struct {
	*build
	*broker
	tb     testing.TB
	n      int
	cache  string // of compiled modules
	digest string // of the first build of all
}

func (x *build) start(tb testing.TB, n int) *site {
	s := &site{build: x, broker: startBroker(tb), tb: tb, n: n, cache: tb.TempDir()}
	_, err := s.js.CreateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: "bench"})
	must(tb, err)
	must(tb, s.Publish(context.Background(), "bench", n, x.value))
	return s
}

// folds returns what builds the folds of a module, and says what that costs, and what it costs then to settle. The module has been
// compiled by then, as it is at any start but the first.
func (s *site) folds(wasm []byte) func() (built, rest cost) {
	o := runtime.FoldOptions{Conn: s.nc, Source: source.Options{Bucket: "bench"}, Wasm: wasm, Module: plugin.Options{CacheDir: s.cache}}
	d := openDir(s.tb, s.tb.TempDir(), 1)
	_, end := s.run(d, o, 0)
	end()
	must(s.tb, d.Close())
	return func() (built, rest cost) {
		d := openDir(s.tb, s.tb.TempDir(), s.build.folds)
		folds, ends := make([]*runtime.Fold, s.build.folds), make([]func(), s.build.folds)
		built = s.measure(s.n*len(folds), func() {
			for i := range folds {
				folds[i], ends[i] = s.run(d, o, i)
			}
			for _, f := range folds {
				wait(f, uint64(s.n))
			}
		})
		rest = s.measure(s.n*len(folds), func() {
			for _, f := range folds {
				settle(s.tb, f)
			}
		})
		for i, f := range folds {
			s.check(f)
			ends[i]()
		}
		must(s.tb, d.Close())
		must(s.tb, os.RemoveAll(d.Path()))
		return built, rest
	}
}

// run runs the i-th fold.
func (s *site) run(d *store.Dir, o runtime.FoldOptions, i int) (*runtime.Fold, func()) {
	o.Name = fmt.Sprint("bench", i)
	return run(s.tb, d, o)
}

// check checks a fold. The rows of the first of all are compared with those of the slow way; the others must have its digest.
func (s *site) check(f *runtime.Fold) {
	first := s.digest == ""
	s.digest = checked(s.tb, f, (s.n*s.rows+99)/100, s.digest)
	if first {
		s.compare(f)
	}
}

// compare holds each row of a fold against those that the transform makes of its record. They have been counted.
func (s *site) compare(f *runtime.Fold) {
	v, err := f.Store().View()
	must(s.tb, err)
	defer v.Close()
	must(s.tb, v.Scan(0, store.Range{}, func(r store.Row) bool {
		i, err := strconv.Atoi(strings.TrimPrefix(string(r.Source), "key-"))
		must(s.tb, err)
		found := false
		s.slow(rig.Key(i), s.value(i), func(key, value []byte) {
			found = found || bytes.Equal(key, r.Key) && bytes.Equal(value, r.Value)
		})
		if !found || i >= s.n {
			s.tb.Fatalf("%q has the row %q: %q, which its record does not yield", r.Source, r.Key, r.Value)
		}
		return true
	}))
}
