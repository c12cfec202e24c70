package store

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var (
	readRows = flag.Int("reads.rows", 100_000, "routes that BenchmarkReads reads")
	readDir  = flag.String("reads.dir", "", "where BenchmarkReads keeps its store for the next run; default: nowhere")
	readSync = flag.String("reads.sync", "always", "sync of the commits between reads")
	readLeft = flag.Bool("reads.built", false, "BenchmarkReads reads the store as its build left it, not compacted as that of a fold that stands")
)

// The shape of what BenchmarkReads reads: an index of routes by "group/service/route", and one of the same rows by service
// alone, whose derived keys have four claimants each.
const (
	routesPer   = 4  // service
	servicesPer = 10 // group
	hotServices = 1000
	byRoute     = 0
	byService   = 1
)

var readSpecs = []IndexSpec{{"route", All}, {"service", All}}

// routes is the store that BenchmarkReads reads.
type routes struct {
	d     *Dir
	db    *DB
	batch *Batch
	noise []byte // values are pieces of it
	n     int
	seq   uint64
	hot   []int // services
	rng   *rand.Rand
	key   []byte
}

func serviceKey(dst []byte, service int) []byte {
	return fmt.Appendf(dst, "g%06d/s%d", service/servicesPer, service%servicesPer)
}

// openRoutes opens the store, with so much block cache. It is built, in an order that is not that of the keys, unless it is
// there.
func openRoutes(b *testing.B, path string, cache int64, sync Sync) *routes {
	m, err := SplitMemory(cache+512*mib, 1, cache)
	if err != nil {
		b.Fatal(err)
	}
	d, db, err := openStore(path, Options{Memory: m, Sync: sync}, readSpecs)
	if err != nil {
		b.Fatal(err)
	}
	x := &routes{d: d, db: db, batch: NewBatch(readSpecs), noise: make([]byte, 1<<20), n: *readRows, rng: rand.New(rand.NewPCG(1, 2))}
	x.seq = db.State().Position().Seq
	for i := range x.noise {
		x.noise[i] = byte(x.rng.Uint32())
	}
	for range hotServices {
		x.hot = append(x.hot, x.rng.IntN(x.n/routesPer))
	}
	switch live := int(db.State().Live); live {
	case 0:
		x.build(b)
	case x.n:
	default:
		b.Fatalf("%s has %d routes, not %d", path, live, x.n)
	}
	return x
}

func (x *routes) close(b *testing.B) {
	if err := closeStore(x.d, x.db); err != nil {
		b.Fatal(err)
	}
}

// stride is a prime: i*stride modulo the number of routes goes through all of them, in no order of theirs.
const stride = 15_485_863

func (x *routes) build(b *testing.B) {
	for from := 0; from < x.n; from += benchBatch {
		to := min(from+benchBatch, x.n)
		x.put(b, to-from, to < x.n, func(i int) int { return (from + i) * stride % x.n })
	}
	if err := x.db.Settle(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// put commits updates of n routes.
func (x *routes) put(b *testing.B, n int, more bool, route func(i int) int) {
	x.batch.Reset()
	x.batch.More = more
	if (x.seq+uint64(n))/PointEvery > x.seq/PointEvery { // no commit spans a point
		x.seq = (x.seq/PointEvery + 1) * PointEvery
		x.commit(b)
		x.batch.Reset()
		x.batch.More = more
	}
	var source []byte
	for i := range n {
		r := route(i)
		source = fmt.Appendf(source[:0], "src-%09d", r*7919%x.n)
		at := (r*4217 + int(x.seq)) % (len(x.noise) - 128)
		value := x.noise[at : at+128]
		x.batch.Put(source, x.seq+uint64(i)+1, 1, 0)
		x.key = serviceKey(x.key[:0], r/routesPer)
		err := x.batch.Row(byService, x.key, value, 0)
		if err == nil {
			x.key = fmt.Appendf(x.key, "/r%d", r%routesPer)
			err = x.batch.Row(byRoute, x.key, value, 0)
		}
		if err == nil {
			err = x.batch.End()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	x.seq += uint64(n)
	x.commit(b)
}

func (x *routes) commit(b *testing.B) {
	if _, err := x.db.Commit(x.batch, Position{Stream: "S", Seq: x.seq}, 0); err != nil {
		b.Error(err)
	}
}

// A readCase is one kind of read, of one service.
type readCase struct {
	name string
	rows int
	read func(v *View, key []byte, f func(Row) bool) error
}

var readCases = []readCase{
	{"claimants", routesPer, func(v *View, key []byte, f func(Row) bool) error { return v.Get(byService, key, Range{}, f) }},
	{"range-4", routesPer, func(v *View, key []byte, f func(Row) bool) error {
		return v.Scan(byRoute, Range{Prefix: append(key, '/')}, f)
	}},
	{"range-40", routesPer * servicesPer, func(v *View, key []byte, f func(Row) bool) error {
		return v.Scan(byRoute, Range{Prefix: key[:len("g000000/")]}, f)
	}},
	{"scan-1000", 1000, func(v *View, key []byte, f func(Row) bool) error { return v.Scan(byRoute, Range{Start: key}, f) }},
	{"get", 1, func(v *View, key []byte, f func(Row) bool) error {
		return v.Get(byRoute, append(key, "/r1"...), Range{}, f)
	}},
	{"get-absent", 0, func(v *View, key []byte, f func(Row) bool) error {
		return v.Get(byRoute, append(key, "/x"...), Range{}, f)
	}},
}

// BenchmarkReads reads services of a store of -reads.rows routes, four a service, settled: a thousand of them again and again
// with 2 GiB of block cache, all of them at random with 32 MiB; each read in a view of its own, as that of a request. Before
// each read another service is updated and committed; then none is; then 16,384 updates at a time are, beside the reads. The
// time is that of the reads alone.
func BenchmarkReads(b *testing.B) {
	path := *readDir
	if path == "" {
		path = b.TempDir()
	} else if _, err := os.Stat(filepath.Join(path, "LOCK")); err == nil {
		b.Log("the store is there from a run before")
	}
	openRoutes(b, path, 256*mib, SyncNever).close(b)
	for _, hot := range []bool{true, false} {
		name, cache := "uniform-32MiB", int64(32*mib)
		if hot {
			name, cache = "hot-2GiB", 2048*mib
		}
		b.Run(name, func(b *testing.B) {
			x := openRoutes(b, path, cache, Sync(*readSync))
			defer x.close(b)
			x.settle(b)
			for _, c := range readCases {
				b.Run(c.name+"/commits", func(b *testing.B) { x.reads(b, c, hot, x.putOne) })
				b.Run(c.name+"/still", func(b *testing.B) { x.reads(b, c, hot, func(*testing.B) {}) })
			}
			for _, c := range readCases {
				b.Run(c.name+"/beside", func(b *testing.B) { defer x.catchUp(b)(); x.reads(b, c, hot, func(*testing.B) {}) })
			}
		})
	}
}

func (x *routes) settle(b *testing.B) {
	err := x.db.Settle(b.Context())
	if err == nil && !*readLeft {
		start := time.Now()
		var did Compacted
		did, err = x.db.Compact(b.Context(), CompactOptions{})
		b.Logf("compacted in %v: %+v", time.Since(start), did)
	}
	if err != nil {
		b.Fatal(err)
	}
	m, _ := x.db.Metrics()
	b.Logf("%d rows in %d MiB, read amplification %d", 2*x.n, m.DiskBytes/mib, m.ReadAmp)
}

// putOne updates a route of some service.
func (x *routes) putOne(b *testing.B) {
	r := x.rng.IntN(x.n)
	x.put(b, 1, false, func(int) int { return r })
}

// catchUp commits batches until it is stopped.
func (x *routes) catchUp(b *testing.B) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		rng := rand.New(rand.NewPCG(3, 4))
		for {
			select {
			case <-over:
				return
			default:
				from := rng.IntN(x.n)
				x.put(b, min(benchBatch, x.n), true, func(i int) int { return (from + i) * stride % x.n })
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// reads measures one kind of read. between is called before each.
func (x *routes) reads(b *testing.B, c readCase, hot bool, between func(*testing.B)) {
	read := func(service int) time.Duration {
		key, n := serviceKey(make([]byte, 0, 64), service), 0
		start := time.Now()
		v, err := x.db.View()
		if err == nil {
			err = c.read(v, key, func(Row) bool { n++; return n < c.rows })
			v.Close()
		}
		took := time.Since(start)
		if err != nil || n != c.rows {
			b.Fatalf("%d rows of service %d, not %d: %v", n, service, c.rows, err)
		}
		return took
	}
	services := x.n/routesPer - 1000/routesPer // from the last ones there are no thousand rows
	if hot {
		for _, service := range x.hot {
			read(service % services)
		}
	}
	var all []time.Duration
	for b.Loop() {
		between(b)
		service := x.rng.IntN(services)
		if hot {
			service = x.hot[x.rng.IntN(len(x.hot))] % services
		}
		all = append(all, read(service))
	}
	slices.Sort(all)
	b.ReportMetric(0, "ns/op")
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(all[len(all)*p/100].Nanoseconds())/1000, fmt.Sprintf("p%d-µs", p))
	}
}
