package runtime

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// BenchmarkSweep sweeps a fold of 100,000 keys: go test ./runtime -run '^$' -bench Sweep
func BenchmarkSweep(b *testing.B) {
	const n = 100_000
	s := newSite(b)
	must(s.js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "KV_B", Subjects: []string{"$KV.B.>"}, MaxMsgsPerSubject: 1, AllowDirect: true, AllowRollup: true}))(b)
	for i := range n {
		must(s.js.PublishAsync(fmt.Sprintf("$KV.B.key.%d", i*7919%n), []byte("Va value of some bytes"), jetstream.WithStallWait(patience)))(b)
	}
	<-s.js.PublishAsyncComplete()
	o := s.modelFold("B")
	r := start(b, b.TempDir(), store.Options{Sync: store.SyncNever}, o)
	r.reach(n)
	b.ResetTimer()
	for b.Loop() {
		if report := must(r.Sweep(b.Context(), true))(b); report.Matched != n || !report.OK() {
			b.Fatalf("%+v", report)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	r.stop()
}
