package source

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// BenchmarkDrain reads 300,000 messages of 128 bytes, by Run and by nats.go's ordered consumer in turn, on the same
// stream, so that what disturbs the machine disturbs both. The owner of the batches only counts. The figures include
// the server, which runs in the same process: about the same for both.
//
//	go test -run - -bench Drain -benchtime 10x ./runtime/source
func BenchmarkDrain(b *testing.B) {
	const total = 300_000
	s := newSite(b)
	s.stream(jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}, Storage: jetstream.MemoryStorage})
	s.publish("e", 1000, total, 128)
	var ours, ordered cost
	for b.Loop() {
		ours.measure(func() { drain(b, s, total) })
		ordered.measure(func() { drainOrdered(b, s, total) })
	}
	ours.report(b, "run", total)
	ordered.report(b, "ordered", total)
	b.ReportMetric(0, "ns/op")
}

type cost struct {
	time    time.Duration
	best    time.Duration
	cpu     time.Duration // of the process
	mallocs uint64
	bytes   uint64
	rounds  uint64
}

func (c *cost) measure(do func()) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, cpu := time.Now(), processTime()
	do()
	d := time.Since(start)
	c.cpu += processTime() - cpu
	runtime.ReadMemStats(&after)
	if c.rounds == 0 || d < c.best {
		c.best = d
	}
	c.time += d
	c.mallocs += after.Mallocs - before.Mallocs
	c.bytes += after.TotalAlloc - before.TotalAlloc
	c.rounds++
}

func (c *cost) report(b *testing.B, name string, total uint64) {
	n := float64(c.rounds * total)
	b.ReportMetric(n/c.time.Seconds()/1e3, name+"-kmsg/s")
	b.ReportMetric(float64(c.cpu)/n, name+"-cpu-ns/msg")
	b.ReportMetric(float64(total)/c.best.Seconds()/1e3, name+"-best-kmsg/s")
	b.ReportMetric(float64(c.mallocs)/n, name+"-allocs/msg")
	b.ReportMetric(float64(c.bytes)/n, name+"-B/msg")
}

func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func drain(b *testing.B, s *site, total uint64) {
	src, err := Open(b.Context(), s.nc, Options{Stream: "E"})
	check(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	p, done := NewPipe(4), make(chan error, 1)
	go func() { done <- src.Run(ctx, store.Position{}, p) }()
	for seq := uint64(0); seq < total; {
		batch := <-p.Out
		seq = batch.Pos.Seq
		p.Free <- batch
	}
	cancel()
	<-done
}

func drainOrdered(b *testing.B, s *site, total uint64) {
	c, err := s.js.OrderedConsumer(b.Context(), "E", jetstream.OrderedConsumerConfig{})
	check(b, err)
	done := make(chan struct{})
	n := uint64(0)
	cc, err := c.Consume(func(m jetstream.Msg) {
		if _, err := m.Metadata(); err != nil { // a client that holds a cursor needs the seq
			b.Error(err)
		}
		if n++; n == total {
			close(done)
		}
	}, jetstream.PullMaxMessages(20000))
	check(b, err)
	<-done
	cc.Stop()
	<-cc.Closed()
}
