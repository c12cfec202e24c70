// Package bench measures folds beside what they are compared with, in one run. See docs/performance.md.
package bench

import (
	"context"
	"flag"
	"testing"

	"github.com/foldrun/foldrun/runtime"
)

var (
	updates = flag.Int("updates", 1_000_000, "updates of a catch-up")
	rounds  = flag.Int("rounds", 5, "interleaved rounds")
	syncs   = flag.String("sync", "always", "the folds' sync policy")
	memory  = flag.Int64("memory", 1<<30, "the folds' memory budget, bytes")
	puts    = flag.Int("puts", 5000, "puts of the live latency")
	size    = flag.Int("size", 128, "bytes of a value")
)

// BenchmarkCatchUp folds a bucket from its beginning, and drains it with a bare ordered consumer that only counts:
// one after the other, round by round, against the same broker process. A fold is settled when its store has been flushed,
// and no compaction runs. Each round's store is checked, and its digest is that of the others.
func BenchmarkCatchUp(b *testing.B) {
	s := startBroker(b)
	s.fill(b, "bench", *updates)
	wasm := module(b, "rekey")
	var bare, again, fold, settled []cost
	var digest string
	for b.Loop() {
		for range *rounds {
			bare = append(bare, s.measure(*updates, func() { s.drain(b, *updates) }))
			f, end := (*runtime.Fold)(nil), func() {}
			folded := s.measure(*updates, func() {
				f, end = start(b, s, wasm)
				wait(f, uint64(*updates))
			})
			rest := s.measure(*updates, func() { settle(b, f) })
			fold, settled = append(fold, folded), append(settled, folded.And(rest))
			digest = checked(b, f, *updates, digest)
			end()
			again = append(again, s.measure(*updates, func() { s.drain(b, *updates) }))
		}
	}
	report(b, "bare ordered consumer", bare, bare)
	report(b, "bare ordered consumer, again", again, bare)
	report(b, "fold, re-key, lineage", fold, bare)
	report(b, "the same, settled", settled, bare)
	b.ReportMetric(median(fold, cost.Rate), "updates/s")
	b.ReportMetric(median(fold, cost.Rate)/median(bare, cost.Rate), "of-bare")
	b.ReportMetric(median(fold, cost.ClientMicro), "client-µs/update")
	b.ReportMetric(median(fold, cost.BrokerMicro), "broker-µs/update")
	b.ReportMetric(0, "ns/op")
}

// settle waits until nothing is left to be written of a fold's store.
func settle(tb testing.TB, f *runtime.Fold) {
	must(tb, f.Store().Settle(context.Background()))
}

// checked checks a fold's store of n rows, and returns its digest, which must be the one given, if one is.
func checked(tb testing.TB, f *runtime.Fold, n int, digest string) string {
	tb.Helper()
	r, err := f.Store().Check()
	must(tb, err)
	is := f.Status().Indexes[0]
	if r.Found > 0 || int(is.Rows) != n || digest != "" && is.Digest.String() != digest {
		tb.Fatalf("%d problems, %d rows of %d, digest %s, want %s", r.Found, is.Rows, n, is.Digest, digest)
	}
	return is.Digest.String()
}

// BenchmarkSteady has a fold that holds a bucket catch up with as many updates again, one of each key, beside a bare
// ordered consumer of the same: all of them move their row to another derived key; then none changes anything.
func BenchmarkSteady(b *testing.B) {
	s := startBroker(b)
	s.fill(b, "bench", *updates)
	wasm, dir := module(b, "rekey"), b.TempDir()
	for b.Loop() {
		for round, what := range []string{"", "re-keyed", "unchanged"} {
			if round > 0 {
				s.publish(b, "bench", *updates, 1)
			}
			from := uint64(round * *updates)
			bare := s.measure(*updates, func() { s.drainFrom(b, from+1, *updates) })
			f, end := (*runtime.Fold)(nil), func() {}
			fold := s.measure(*updates, func() {
				f, end = startIn(b, s, wasm, dir)
				wait(f, from+uint64(*updates))
			})
			settle(b, f)
			checked(b, f, *updates, "")
			end()
			if round == 0 {
				continue
			}
			report(b, what+", bare", []cost{bare}, []cost{bare})
			report(b, what, []cost{fold}, []cost{bare})
			b.ReportMetric(fold.Rate()/bare.Rate(), what+"-of-bare")
			b.ReportMetric(fold.ClientMicro(), what+"-client-µs/update")
		}
	}
	b.ReportMetric(0, "ns/op")
}
