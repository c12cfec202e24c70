package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// besides are modules of testdata/hostile that a fold runs beside an honest one; honest is what they would be.
var besides = []string{"honest", "loop", "misses", "trap", "fill-bomb", "recursion", "log-flood"}

// BenchmarkBeside measures the time from the return of kv.Put to the row being readable in an honest fold, alone and
// beside a fold of the same process that has nothing but records which make its module misbehave. The two are taken in
// turns, so many puts each. The ratio is that of the medians of the rounds' p99.
func BenchmarkBeside(b *testing.B) {
	for _, name := range besides {
		b.Run(name, func(b *testing.B) {
			s := startBroker(b)
			s.fill(b, "bench", 10_000)
			s.evil(b, 20_000)
			wasm, err := os.ReadFile("../../testdata/hostile/" + name + ".wasm")
			if err != nil {
				b.Fatal(err)
			}
			kv, err := s.js.KeyValue(context.Background(), "bench")
			if err != nil {
				b.Fatal(err)
			}
			d := openDir(b, b.TempDir(), 2)
			defer d.Close()
			honest, end := besideFold(b, d, s, "bench", module(b, "echo"))
			defer end()
			wait(honest, 10_000)
			var alone, beside []time.Duration
			var folded uint64
			for b.Loop() {
				for range *rounds {
					alone = append(alone, percentile(latencies(b, kv, honest), 99))
					evil, end := besideFold(b, d, s, "evil", wasm)
					beside = append(beside, percentile(latencies(b, kv, honest), 99))
					folded += evil.Status().Counts.Updates
					end()
				}
			}
			slices.Sort(alone)
			slices.Sort(beside)
			x, y := alone[len(alone)/2], beside[len(beside)/2]
			b.ReportMetric(float64(x.Microseconds()), "p99-alone-µs")
			b.ReportMetric(float64(y.Microseconds()), "p99-beside-µs")
			b.ReportMetric(float64(y)/float64(x), "ratio")
			b.ReportMetric(float64(folded)/float64(*rounds), "evil-updates/round")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// latencies puts so many values, one after the other, and returns how long each took to be readable.
func latencies(b *testing.B, kv jetstream.KeyValue, f *runtime.Fold) (all []time.Duration) {
	for i := range *puts {
		key := fmt.Sprintf("key-%012d", i%10_000)
		seq, err := kv.Put(context.Background(), key, value(i))
		if err != nil {
			b.Fatal(err)
		}
		put := time.Now()
		wait(f, seq)
		mustRead(b, f.Store(), key)
		all = append(all, time.Since(put))
	}
	return all
}

// evil fills the bucket evil with records that make a hostile module misbehave.
func (s *broker) evil(b *testing.B, n int) {
	ctx := context.Background()
	if _, err := s.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "evil", Storage: jetstream.MemoryStorage}); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		if _, err := s.js.PublishAsync(fmt.Sprintf("$KV.evil.%d", i), []byte("!")); err != nil {
			b.Fatal(err)
		}
	}
	<-s.js.PublishAsyncComplete()
}

// besideFolds counts up, so that each fold of a bucket is a new one.
var besideFolds int

func besideFold(b *testing.B, d *store.Dir, s *broker, bucket string, wasm []byte) (*runtime.Fold, func()) {
	besideFolds++
	return run(b, d, runtime.FoldOptions{Name: fmt.Sprint(bucket, besideFolds), Conn: s.nc, Source: source.Options{Bucket: bucket}, Wasm: wasm})
}
