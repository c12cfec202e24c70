package bench

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	routesN = flag.Int("routes", 4_000_000, "rows that are read")
	per     = flag.Int("per", 4, "routes of a service")
	size    = flag.Int("size", 128, "bytes of a value")
	reads   = flag.Int("reads", 20_000, "reads of a kind, a round")
)

// hotServices are those that a hot read is of.
const hotServices = 1000

// settings are how much of the stores is in memory, and what is drawn.
var settings = []struct {
	name  string
	cache int64
	hot   bool
}{
	{"hot-2GiB", 2 << 30, true},
	{"uniform-32MiB", 32 << 20, false},
}

// A kind is what is read of a route that was drawn.
type kind struct {
	name string
	wide bool // done a tenth as often
	read func(x reader, r routes, i int) (rows int, sum uint64, err error)
	rows func(r routes) int // that there must be
}

var kinds = []kind{
	{"service", false, readService, func(r routes) int { return r.per }},
	{"route", false, readRoute, func(routes) int { return 1 }},
	{"1000-rows", true, readMany, func(r routes) int { return min(1000, r.n) }},
}

func readService(x reader, r routes, i int) (int, uint64, error) {
	p := r.service(i / r.per)
	return x.rows(p, p, r.n)
}

func readRoute(x reader, r routes, i int) (int, uint64, error) { return x.get(r.key(i)) }

func readMany(x reader, r routes, i int) (int, uint64, error) {
	return x.rows(r.key(min(i, max(r.n-1000, 0))), nil, 1000)
}

// latencies are percentiles of one round, µs.
type latencies struct{ p50, p99 float64 }

// BenchmarkReads reads routes of a fold's store, through its own API, of badger and of bbolt: the routes of a service by their prefix,
// one by its key, and 1,000 in order, of all that there are and of a thousand services; round by round, by the same draws. What is
// read must be the same.
func BenchmarkReads(b *testing.B) {
	r := routes{*routesN, *per, *size}
	var paths []string
	for _, s := range stores {
		path := b.TempDir()
		must(b, s.load(path, r))
		paths = append(paths, path)
	}
	for _, set := range settings {
		var open []reader
		for i, s := range stores {
			x, err := s.open(paths[i], set.cache)
			must(b, err)
			open = append(open, x)
		}
		for _, k := range kinds {
			b.Run(set.name+"/"+k.name, func(b *testing.B) { k.bench(b, open, r, set.hot) })
		}
		for _, x := range open {
			must(b, x.Close())
		}
	}
}

// bench reads so many of a kind in each round from each of the stores. The first round fills the caches, and does not count.
func (k *kind) bench(b *testing.B, open []reader, r routes, hot bool) {
	n, all := *reads, make([][]latencies, len(open))
	if k.wide {
		n = max(n/10, 1)
	}
	for b.Loop() {
		for round := -1; round < *rounds; round++ {
			sums, drawn := make([]uint64, len(open)), draw(r, n, round, hot)
			for i, x := range open {
				var l latencies
				var err error
				l, sums[i], err = k.readAll(x, r, drawn)
				must(b, err)
				if sums[i] != sums[0] {
					b.Fatalf("%s reads other values than %s", stores[i].name, stores[0].name)
				}
				if round >= 0 {
					all[i] = append(all[i], l)
				}
			}
		}
	}
	for i, s := range stores {
		b.Logf("%-8s p50 %7.1f µs  p99 %7.1f µs (median of %d)", s.name,
			median(all[i], func(l latencies) float64 { return l.p50 }), median(all[i], func(l latencies) float64 { return l.p99 }), *rounds)
	}
	b.ReportMetric(0, "ns/op")
}

// readAll reads of routes one after the other.
func (k *kind) readAll(x reader, r routes, drawn []int) (l latencies, sum uint64, err error) {
	took := make([]time.Duration, len(drawn))
	for i, route := range drawn {
		began := time.Now()
		rows, s, err := k.read(x, r, route)
		took[i] = time.Since(began)
		if err != nil || rows != k.rows(r) {
			return l, 0, fmt.Errorf("%d rows of %q, want %d: %w", rows, r.key(route), k.rows(r), err)
		}
		sum += s
	}
	slices.Sort(took)
	at := func(p int) float64 { return float64(took[len(took)*p/100].Nanoseconds()) / 1000 }
	return latencies{at(50), at(99)}, sum, nil
}

// draw returns the routes that a round reads, the same for each store.
func draw(r routes, n, round int, hot bool) []int {
	rng := rand.New(rand.NewPCG(uint64(round), 1))
	services := r.n / r.per
	all := make([]int, n)
	for i := range all {
		s := rng.IntN(services)
		if hot { // they lie apart from one another
			s = s % min(hotServices, services) * (services / min(hotServices, services))
		}
		all[i] = s*r.per + rng.IntN(r.per)
	}
	return all
}
