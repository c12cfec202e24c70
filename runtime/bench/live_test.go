package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// BenchmarkLive measures, on an idle fold, the time from the return of kv.Put to its row being readable, and to a bare
// KV watcher having the same put: the two are taken from the same puts.
func BenchmarkLive(b *testing.B) {
	s := startBroker(b)
	s.fill(b, "bench", 10_000)
	f, end := start(b, s, module(b, "echo"))
	defer end()
	kv, err := s.js.KeyValue(context.Background(), "bench")
	must(b, err)
	wait(f, 10_000)
	var t timings
	for b.Loop() {
		t = livePuts(b, kv, f, "key")
	}
	t.report(b)
	b.ReportMetric(0, "ns/op")
}

// timings are from the return of a put to its row being readable, and to a watcher having it.
type timings struct{ readable, watched []time.Duration }

// livePuts puts so many values, one after the other, into keys that begin with prefix, of which a watcher is told.
func livePuts(b *testing.B, kv jetstream.KeyValue, f *runtime.Fold, prefix string) (t timings) {
	ctx := context.Background()
	watcher, err := kv.Watch(ctx, prefix+".*", jetstream.UpdatesOnly())
	must(b, err)
	defer watcher.Stop()
	seen := make(chan time.Time, 1)
	go func() {
		for u := range watcher.Updates() {
			if u != nil {
				seen <- time.Now()
			}
		}
	}()
	for i := range *puts {
		key := fmt.Sprintf("%s.%d", prefix, i%1000)
		patient, cancel := context.WithTimeout(ctx, time.Minute) // beside a load
		seq, err := kv.Put(patient, key, value(i+*puts))
		put := time.Now()
		cancel()
		must(b, err)
		wait(f, seq)
		mustRead(b, f.Store(), key)
		t.readable = append(t.readable, time.Since(put))
		t.watched = append(t.watched, max((<-seen).Sub(put), 0))
	}
	return t
}

func (t timings) report(b *testing.B) {
	for _, p := range []float64{50, 99} {
		b.ReportMetric(float64(percentile(t.readable, p).Microseconds()), fmt.Sprintf("p%.0f-readable-µs", p))
		b.ReportMetric(float64(percentile(t.watched, p).Microseconds()), fmt.Sprintf("p%.0f-watched-µs", p))
	}
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
