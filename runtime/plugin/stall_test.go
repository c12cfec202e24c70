package plugin

import (
	"context"
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkStall reports how long a guest keeps the whole process from stopping for a garbage collection, with one
// goroutine that forces collections, another that wants to run each 100 µs, and one that transforms a hostile record
// with default limits.
//
//	go test ./runtime/plugin -run '^$' -bench Stall -benchtime 11x
//
// stop-ms is the longest that the world took to stop in a quarter of a second, the median of them all; gap-ms likewise
// the longest that the other goroutine waited for its turn beyond its pause. A busy machine makes both longer: "none"
// runs no guest.
func BenchmarkStall(b *testing.B) {
	for _, name := range []string{"none", "loop", "misses", "returns", "pages", "fill-bomb", "copy-bomb", "memory-storm", "br-table", "recursion", "random-flood", "write-flood", "log-flood"} {
		b.Run(name, func(b *testing.B) {
			ctx, end := context.WithCancel(context.Background())
			var all sync.WaitGroup
			if name != "none" {
				m, err := Compile(ctx, hostileModule(b, name), Options{})
				check(b, err)
				defer m.Close(context.Background())
				w := m.Worker()
				defer w.Close(context.Background())
				all.Go(func() { misbehave(b, ctx, w) })
			}
			all.Go(func() {
				for ctx.Err() == nil {
					runtime.GC()
				}
			})
			var stop, gap []float64
			for b.Loop() {
				before, longestGap := stops(), time.Duration(0)
				for begun := time.Now(); time.Since(begun) < 250*time.Millisecond; {
					last := time.Now()
					time.Sleep(100 * time.Microsecond)
					longestGap = max(longestGap, time.Since(last)-100*time.Microsecond)
				}
				stop, gap = append(stop, 1e3*longest(before, stops())), append(gap, float64(longestGap.Microseconds())/1e3)
			}
			end()
			all.Wait()
			b.ReportMetric(median(stop), "stop-ms")
			b.ReportMetric(slices.Max(stop), "worst-stop-ms")
			b.ReportMetric(median(gap), "gap-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// misbehave transforms hostile records until ctx ends.
func misbehave(t testing.TB, ctx context.Context, w *Worker) {
	u := updates(slices.Repeat([]string{"!"}, 256)...)
	for ctx.Err() == nil {
		if err := w.Transform(ctx, u, all(u), dropped{}); err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}

func stops() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/stopping/gc:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	return &metrics.Float64Histogram{Counts: slices.Clone(h.Counts), Buckets: h.Buckets}
}

// longest returns the upper end of the last bucket that has grown, s.
func longest(before, after *metrics.Float64Histogram) float64 {
	for i := len(after.Counts) - 1; i >= 0; i-- {
		if after.Counts[i] > before.Counts[i] && !math.IsInf(after.Buckets[i+1], 1) {
			return after.Buckets[i+1]
		}
	}
	return 0
}
