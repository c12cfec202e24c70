package plugin

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkNeighbour measures what a hostile fold does to an honest one in the same process: batches of 64 records that
// come each millisecond, from when one is due to its last verdict, and how many records a second one worker transforms, in turns of 300 ms with and without as many
// hostile workers as there are processors. The p99 is of all turns, the rate the median.
//
//	go test ./runtime/plugin -run '^$' -bench Neighbour -benchtime 20x
func BenchmarkNeighbour(b *testing.B) {
	honest := compileBench(b, testModule(b, "rekey"))
	for _, name := range []string{"loop", "misses", "trap", "fill-bomb", "memory-storm"} {
		bad := compileBench(b, hostileModule(b, name))
		for _, places := range []int{cap(dear), 100} {
			b.Run(fmt.Sprintf("%s/%d", name, places), func(b *testing.B) {
				defer func(l lane) { dear = l }(dear)
				dear = make(lane, places)
				var alone, beside turns
				w := honest.Worker()
				defer w.Close(context.Background())
				var hostile []*Worker
				for range runtime.GOMAXPROCS(0) {
					h := bad.Worker()
					defer h.Close(context.Background())
					hostile = append(hostile, h)
				}
				for b.Loop() {
					alone.take(b, w)
					beside.beside(b, w, hostile)
				}
				b.ReportMetric(alone.p99(), "alone-p99-µs")
				b.ReportMetric(beside.p99(), "beside-p99-µs")
				b.ReportMetric(beside.p99()/alone.p99(), "p99-ratio")
				b.ReportMetric(median(beside.rate)/median(alone.rate), "rate-ratio")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func compileBench(b *testing.B, wasm []byte) *Module {
	m, err := Compile(context.Background(), wasm, Options{})
	check(b, err)
	b.Cleanup(func() { m.Close(context.Background()) })
	return m
}

// turns are what was measured in each turn.
type turns struct{ took, rate []float64 }

func (r *turns) p99() float64 {
	slices.Sort(r.took)
	return r.took[len(r.took)*99/100]
}

// beside is take with hostile workers.
func (r *turns) beside(b *testing.B, w *Worker, hostile []*Worker) {
	ctx, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, h := range hostile {
		all.Go(func() { misbehave(b, ctx, h) })
	}
	r.take(b, w)
	end()
	all.Wait()
}

// take measures a turn.
func (r *turns) take(b *testing.B, w *Worker) {
	ctx := context.Background()
	u := updates(slices.Repeat([]string{"01234567 and more"}, 64)...)
	recs := all(u)
	for begun := time.Now(); time.Since(begun) < 150*time.Millisecond; {
		due := time.Now().Add(time.Millisecond)
		time.Sleep(time.Millisecond)
		check(b, w.Transform(ctx, u, recs, dropped{}))
		r.took = append(r.took, float64(time.Since(due).Nanoseconds())/1e3)
	}
	n, begun := 0, time.Now()
	for ; time.Since(begun) < 150*time.Millisecond; n += len(recs) {
		check(b, w.Transform(ctx, u, recs, dropped{}))
	}
	r.rate = append(r.rate, float64(n)/time.Since(begun).Seconds())
}

func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	return s[len(s)/2]
}
