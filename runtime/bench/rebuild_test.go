package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// BenchmarkRebuild builds a fold of a bucket, with keep_source and without, and then has another generation built beside it:
// from the bucket, or from the records that are kept. Somebody gets rows of the generation that serves, a thousand a second,
// before and while that is built. A rebuild is timed until the new generation serves.
func BenchmarkRebuild(b *testing.B) {
	s := startBroker(b)
	s.fill(b, "bench", *updates)
	wasm := module(b, "echo")
	for b.Loop() {
		for range *rounds {
			for _, keeps := range []bool{false, true} {
				s.rebuild(b, wasm, keeps)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

func (s *broker) rebuild(b *testing.B, wasm []byte, keeps bool) {
	path, err := os.MkdirTemp(b.TempDir(), "data")
	must(b, err)
	defer os.RemoveAll(path)
	m, err := store.SplitMemory(*memory, 1, 0)
	must(b, err)
	d, err := store.OpenDir(path, store.Options{Memory: m, Sync: store.Sync(*syncs)})
	must(b, err)
	ctx, stop := context.WithCancel(context.Background())
	o := runtime.FoldOptions{Name: "bench", Conn: s.nc, Source: source.Options{Bucket: "bench"}, Wasm: wasm, KeepSource: keeps}
	f, err := runtime.NewFold(ctx, d, o)
	must(b, err)
	daemon, ended := runtime.NewDaemon(d, []*runtime.Fold{f}), make(chan struct{})
	build := s.measure(*updates, func() {
		go func() {
			daemon.Run(ctx)
			close(ended)
		}()
		wait(f, uint64(*updates))
	})
	settle(b, f)
	digest := checked(b, f, *updates, "")
	was := f.Store()
	bytes := sizeOf(b, was.Path())
	alone := gets(b, f, time.After(3*time.Second))

	o.Module = plugin.Options{Config: []byte(`{"n":1}`)}
	p, err := runtime.Prepare(ctx, d, o)
	must(b, err)
	switched := make(chan time.Time)
	beside := make(chan []time.Duration)
	go func() { beside <- gets(b, f, switched) }()
	again := s.measure(*updates, func() {
		must(b, f.Configure(ctx, p))
		for moved := f.Moved(); f.Store() == was; moved = f.Moved() {
			<-moved
		}
	})
	close(switched)
	during := <-beside
	checked(b, f, *updates, digest)
	stop()
	<-ended
	must(b, daemon.Close(context.Background()))
	x, y := percentile(alone, 99), percentile(during, 99)
	b.Logf("keep_source %-5v first build %7.0f/s, %.2f µs CPU, %d MiB; rebuild %7.0f/s (%.1f s), %.2f µs CPU, broker %.2f; gets p99 alone %s, meanwhile %s, × %.2f (%d gets)",
		keeps, build.Rate(), build.ClientMicro(), bytes>>20, again.Rate(), float64(*updates)/again.Rate(), again.ClientMicro(), again.BrokerMicro(), x, y, float64(y)/float64(x), len(during))
}

// gets gets rows of the generation that serves, one a millisecond, until over.
func gets(b *testing.B, f *runtime.Fold, over <-chan time.Time) (all []time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return all
		case <-tick.C:
			at := time.Now()
			v, err := f.Store().View()
			if errors.Is(err, store.ErrClosed) {
				continue // it was just replaced
			}
			must(b, err)
			n := 0
			must(b, errors.Join(v.Get(0, fmt.Appendf(nil, "key-%012d", rand.IntN(*updates)), store.Range{}, func(store.Row) bool { n++; return true }), v.Close()))
			all = append(all, time.Since(at))
			if n != 1 {
				b.Errorf("%d rows", n)
			}
		}
	}
}

func sizeOf(b *testing.B, dir string) (n int64) {
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	must(b, err)
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			n += info.Size()
		}
	}
	return n
}
