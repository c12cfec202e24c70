package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// BenchmarkLive measures, on an idle fold, the time from the return of kv.Put to its row being readable, and to a bare
// KV watcher having the same put: the two are taken from the same puts.
func BenchmarkLive(b *testing.B) {
	s := startBroker(b)
	s.fill(b, "bench", 10_000)
	f, end := start(b, s, module(b, "echo"))
	defer end()
	ctx := context.Background()
	kv, err := s.js.KeyValue(ctx, "bench")
	if err != nil {
		b.Fatal(err)
	}
	watcher, err := kv.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		b.Fatal(err)
	}
	defer watcher.Stop()
	wait(f, 10_000)
	var readable, watched []time.Duration
	for b.Loop() {
		for i := range *puts {
			key := fmt.Sprintf("key-%012d", i%10_000)
			seen := make(chan time.Time, 1)
			go func() {
				for u := range watcher.Updates() {
					if u != nil {
						seen <- time.Now()
						return
					}
				}
			}()
			seq, err := kv.Put(ctx, key, value(i+*puts))
			if err != nil {
				b.Fatal(err)
			}
			put := time.Now()
			wait(f, seq)
			mustRead(b, f.Store(), key)
			readable = append(readable, time.Since(put))
			watched = append(watched, max((<-seen).Sub(put), 0))
		}
	}
	for _, p := range []float64{50, 99} {
		b.ReportMetric(float64(percentile(readable, p).Microseconds()), fmt.Sprintf("p%.0f-readable-µs", p))
		b.ReportMetric(float64(percentile(watched, p).Microseconds()), fmt.Sprintf("p%.0f-watched-µs", p))
	}
	b.ReportMetric(0, "ns/op")
}

// mustRead reads the row of a key from the store.
func mustRead(tb testing.TB, db *store.DB, key string) {
	v, err := db.View()
	if err != nil {
		tb.Fatal(err)
	}
	defer v.Close()
	n := 0
	if err := v.Get(0, []byte(key), store.Range{}, func(store.Row) bool { n++; return true }); err != nil || n != 1 {
		tb.Fatalf("%d rows of %s: %v", n, key, err)
	}
}
