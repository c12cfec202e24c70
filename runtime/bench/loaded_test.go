package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/runtime/source"
)

// loaderOf, set in the environment to a broker's URL, makes the test binary a process that puts values of the bucket's at the rate of
// loaderRate, a second, until its standard input ends.
const (
	loaderOf   = "FOLDRUN_BENCH_LOADER"
	loaderRate = "FOLDRUN_BENCH_LOADER_RATE"
)

// loadKeys are the source keys that the loader puts, one after the other, again and again.
const loadKeys = 100_000

func loader(url string) error {
	rate, err := strconv.Atoi(os.Getenv(loaderRate))
	if err != nil {
		return err
	}
	nc, err := source.Connect(source.Target{URL: url}, nil)
	if err != nil {
		return err
	}
	defer nc.Close()
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	fmt.Println("putting")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i, began := 0, time.Now(); ; {
		for due := int(time.Since(began).Seconds() * float64(rate)); i < due; i++ {
			if err := nc.Publish(fmt.Sprintf("$KV.bench.load-%d", i%loadKeys), rig.Value(i, 128)); err != nil {
				return err
			}
		}
		if err := nc.Flush(); err != nil { // so that what is on its way stays bounded
			return err
		}
		select {
		case <-tick.C:
		case <-over:
			return nil
		}
	}
}

// startLoader starts a loader, and returns what ends it.
func (b *broker) startLoader(tb testing.TB, rate int) (stop func()) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), loaderOf+"="+b.url, loaderRate+"="+strconv.Itoa(rate))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	must(tb, err)
	out, err := c.StdoutPipe()
	must(tb, err)
	must(tb, c.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	must(tb, err)
	return func() { must(tb, errors.Join(in.Close(), c.Wait())) }
}

// BenchmarkLoaded measures what BenchmarkLive does while another process puts values into the same bucket, at shares of the rate at which the fold
// catches up. The watcher is of nothing but the puts that are measured. What was put is what the stream holds: a
// machine that has the broker, the fold and the load may not come as far as the share.
func BenchmarkLoaded(b *testing.B) {
	s := startBroker(b)
	s.fill(b, "bench", *updates)
	wasm := module(b, "echo")
	kv, err := s.js.KeyValue(context.Background(), "bench")
	must(b, err)
	full := s.measure(*updates, func() { catchUp(b, s, wasm, *updates) }).Rate()
	b.Logf("catch-up: %.0f updates/s", full)
	f, end := start(b, s, wasm)
	defer end()
	for _, share := range []int{0, 10, 50, 80} {
		b.Run(fmt.Sprint(share), func(b *testing.B) {
			for b.Loop() {
				s.loaded(b, kv, f, int(full)*share/100)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// loaded measures so many puts beside a load.
func (s *broker) loaded(b *testing.B, kv jetstream.KeyValue, f *runtime.Fold, rate int) {
	before := s.lastSeq(b, kv)
	wait(f, before)
	stop, began := s.startLoader(b, rate), time.Now()
	t := livePuts(b, kv, f, "probe")
	after, took := s.lastSeq(b, kv), time.Since(began)
	stop()
	wait(f, s.lastSeq(b, kv))
	b.Logf("%7d updates/s asked for, %7.0f were put", rate, float64(after-before)/took.Seconds())
	t.report(b)
}

// lastSeq returns the last seq of a bucket's stream.
func (s *broker) lastSeq(b *testing.B, kv jetstream.KeyValue) uint64 {
	stream, err := s.js.Stream(context.Background(), "KV_"+kv.Bucket())
	must(b, err)
	info, err := stream.Info(context.Background())
	must(b, err)
	return info.State.LastSeq
}
