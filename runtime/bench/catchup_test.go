// Package bench measures folds beside what they are compared with, in one run. See docs/performance.md.
package bench

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
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
			fold, settled = append(fold, folded), append(settled, folded.and(rest))
			digest = checked(b, f, *updates, digest)
			end()
			again = append(again, s.measure(*updates, func() { s.drain(b, *updates) }))
		}
	}
	report(b, "bare ordered consumer", bare, bare)
	report(b, "bare ordered consumer, again", again, bare)
	report(b, "fold, re-key, lineage", fold, bare)
	report(b, "the same, settled", settled, bare)
	b.ReportMetric(median(fold, cost.rate), "updates/s")
	b.ReportMetric(median(fold, cost.rate)/median(bare, cost.rate), "of-bare")
	b.ReportMetric(median(fold, cost.clientMicro), "client-µs/update")
	b.ReportMetric(median(fold, cost.brokerMicro), "broker-µs/update")
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
			b.ReportMetric(fold.rate()/bare.rate(), what+"-of-bare")
			b.ReportMetric(fold.clientMicro(), what+"-client-µs/update")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// drain reads n messages with nats.go's ordered consumer and counts them.
func (b *broker) drain(tb testing.TB, n int) { b.drainFrom(tb, 1, n) }

// drainFrom is drain from a seq on.
func (b *broker) drainFrom(tb testing.TB, seq uint64, n int) {
	c, err := b.js.OrderedConsumer(context.Background(), "KV_bench",
		jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq})
	if err != nil {
		tb.Fatal(err)
	}
	done, seen := make(chan struct{}), 0
	cc, err := c.Consume(func(jetstream.Msg) {
		if seen++; seen == n {
			close(done)
		}
	}, jetstream.PullMaxMessages(20000))
	if err != nil {
		tb.Fatal(err)
	}
	<-done
	cc.Stop()
}

// catchUp folds n updates into an empty store and checks what it holds.
func catchUp(tb testing.TB, s *broker, wasm []byte, n int) {
	f, end := start(tb, s, wasm)
	wait(f, uint64(n))
	if at := f.Status().Indexes[0].Rows; at != uint64(n) {
		tb.Fatalf("%d rows of %d updates", at, n)
	}
	end()
}

// start runs a fold of the bucket over a store of its own, and returns what ends it.
func start(tb testing.TB, s *broker, wasm []byte) (*runtime.Fold, func()) {
	tb.Helper()
	path, err := os.MkdirTemp(tb.TempDir(), "data")
	must(tb, err)
	f, end := startIn(tb, s, wasm, path)
	return f, func() {
		end()
		os.RemoveAll(path)
	}
}

// startIn is start over a data directory that stays.
func startIn(tb testing.TB, s *broker, wasm []byte, path string) (*runtime.Fold, func()) {
	tb.Helper()
	m, err := store.SplitMemory(*memory, 1, 0)
	if err != nil {
		tb.Fatal(err)
	}
	d, err := store.OpenDir(path, store.Options{Memory: m, Sync: store.Sync(*syncs)})
	if err != nil {
		tb.Fatal(err)
	}
	f, err := runtime.NewFold(context.Background(), d, runtime.FoldOptions{Name: "bench", Conn: s.nc,
		Source: source.Options{Bucket: "bench"}, Wasm: wasm})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return f, func() {
		stop()
		if err := <-ended; err != nil {
			tb.Fatal(err)
		}
		if err := f.Close(context.Background()); err != nil {
			tb.Fatal(err)
		}
		if err := d.Close(); err != nil {
			tb.Fatal(err)
		}
	}
}

// wait waits until a fold has folded up to seq.
func wait(f *runtime.Fold, seq uint64) {
	for {
		moved := f.Moved()
		if db := f.Store(); db != nil && db.State().Position().Seq >= seq {
			return
		}
		select {
		case <-moved:
		case <-time.After(10 * time.Millisecond): // the store opens without moving
		}
	}
}

func module(tb testing.TB, name string) []byte {
	tb.Helper()
	wasm, err := os.ReadFile(filepath.Join("..", "..", "testdata", "modules", name+".wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}
