package bench

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/runtime/source/faultproxy"
	"github.com/foldrun/foldrun/store"
)

// giveUp is when a way to follow a bucket counts as never coming back.
const giveUp = 30 * time.Second

// A way is one way to follow a bucket: follow calls got with each value until the function that it returns is called.
type way struct {
	name   string
	follow func(tb testing.TB, nc *source.Conn, bucket string, got func(value string)) (stop func())
}

var ways = []way{{"foldrun", followSource}, {"ordered consumer", followOrdered}, {"KV watch", followWatch}}

func followSource(tb testing.TB, nc *source.Conn, bucket string, got func(string)) func() {
	s, err := source.Open(tb.Context(), nc, source.Options{Bucket: bucket})
	must(tb, err)
	ctx, cancel := context.WithCancel(tb.Context())
	p := source.NewPipe(3)
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx, store.Position{}, p) })
	wg.Go(func() {
		for {
			select {
			case b := <-p.Out:
				for i := range b.Records {
					got(string(b.Value(i)))
				}
				p.Free <- b
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func followOrdered(tb testing.TB, nc *source.Conn, bucket string, got func(string)) func() {
	js, err := jetstream.New(nc)
	must(tb, err)
	c, err := js.OrderedConsumer(tb.Context(), "KV_"+bucket, jetstream.OrderedConsumerConfig{})
	must(tb, err)
	cc, err := c.Consume(func(m jetstream.Msg) { got(string(m.Data())) })
	must(tb, err)
	return cc.Stop
}

func followWatch(tb testing.TB, nc *source.Conn, bucket string, got func(string)) func() {
	js, err := jetstream.New(nc)
	must(tb, err)
	kv, err := js.KeyValue(tb.Context(), bucket)
	must(tb, err)
	w, err := kv.WatchAll(tb.Context())
	must(tb, err)
	go func() {
		for u := range w.Updates() {
			if u != nil {
				got(string(u.Value()))
			}
		}
	}()
	return func() { w.Stop() }
}

// A round is a server, and each of the ways behind a proxy of its own with a bucket of its own.
type round struct {
	tb      testing.TB
	dir     string
	port    int
	server  *embedded.Server
	nc      *source.Conn // not through a proxy
	js      jetstream.JetStream
	proxies []*faultproxy.Proxy
	came    []chan string
}

// A fault returns when its time begins to count.
var faults = []struct {
	name string
	make func(r *round) time.Time
}{
	{"consumer deleted", func(r *round) time.Time {
		began := time.Now()
		for i := range ways {
			s, err := r.js.Stream(r.tb.Context(), stream(i))
			must(r.tb, err)
			n := 0
			for name := range s.ConsumerNames(r.tb.Context()).Name() {
				must(r.tb, s.DeleteConsumer(r.tb.Context(), name))
				n++
			}
			if n == 0 {
				r.tb.Fatalf("%s has no consumer", ways[i].name)
			}
		}
		return began
	}},
	{"server restart", func(r *round) time.Time {
		r.nc.Close()
		r.server.Stop()
		r.start()
		return time.Now()
	}},
	{"TCP cut", func(r *round) time.Time {
		for _, p := range r.proxies {
			p.Cut()
		}
		return time.Now()
	}},
	{"connection dead, neither end knows", func(r *round) time.Time {
		for _, p := range r.proxies {
			p.Kill()
		}
		return time.Now()
	}},
	{"last message lost, idle stream", func(r *round) time.Time {
		for _, p := range r.proxies {
			p.Swallow(1)
		}
		return time.Now()
	}},
}

// BenchmarkRecovery measures how long foldrun's source, nats.go's ordered consumer and nats.go's KV watch need to
// deliver the next value after a fault. Each has a connection with the same options, through a proxy of its own, and
// the same fault befalls them at the same time.
func BenchmarkRecovery(b *testing.B) {
	fmt.Printf("median and worst of %d\n| fault |", *rounds)
	for _, w := range ways {
		fmt.Printf(" %s |", w.name)
	}
	for _, fault := range faults {
		b.Run(fault.name, func(b *testing.B) {
			times := make([][]time.Duration, len(ways))
			for b.Loop() {
				for range *rounds {
					for i, d := range recovery(b, fault.make) {
						times[i] = append(times[i], d)
					}
				}
			}
			fmt.Printf("\n| %s |", fault.name)
			for i := range ways {
				fmt.Printf(" %s, %s |", said(percentile(times[i], 50)), said(slices.Max(times[i])))
			}
			fmt.Println()
			b.ReportMetric(0, "ns/op")
		})
	}
}

func said(d time.Duration) string {
	if d >= giveUp {
		return fmt.Sprintf("never (gave up after %s)", giveUp)
	}
	if d >= time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// recovery starts everything, makes one fault, puts one value, and returns how long each way took to have it.
func recovery(tb testing.TB, fault func(*round) time.Time) []time.Duration {
	r := &round{tb: tb, dir: tb.TempDir()}
	r.start()
	defer func() {
		r.nc.Close()
		r.server.Stop()
	}()
	for i, w := range ways {
		defer r.begin(i, w)()
	}
	for i := range ways {
		r.put(i, "before")
		if d := r.until(i, "before", time.Now()); d >= giveUp {
			tb.Fatalf("%s delivered nothing before the fault", ways[i].name)
		}
	}
	began := fault(r)
	for i := range ways {
		r.put(i, "after")
	}
	times := make([]time.Duration, len(ways))
	var wg sync.WaitGroup
	for i := range ways {
		wg.Go(func() { times[i] = r.until(i, "after", began) })
	}
	wg.Wait()
	return times
}

// start starts the server, in the same place if it ran before, and connects to it.
func (r *round) start() {
	var err error
	r.server, err = embedded.Start(embedded.Options{StoreDir: r.dir, Port: r.port})
	must(r.tb, err)
	u, err := url.Parse(r.server.URL())
	must(r.tb, err)
	r.port, _ = strconv.Atoi(u.Port())
	r.nc, err = source.Connect(source.Target{URL: r.server.URL(), Once: true}, nil)
	must(r.tb, err)
	r.js, err = jetstream.New(r.nc)
	must(r.tb, err)
}

func bucket(i int) string { return fmt.Sprint("b", i) }
func stream(i int) string { return "KV_" + bucket(i) }

// begin lets a way follow its bucket, and returns what ends it.
func (r *round) begin(i int, w way) (end func()) {
	_, err := r.js.CreateKeyValue(r.tb.Context(), jetstream.KeyValueConfig{Bucket: bucket(i)})
	must(r.tb, err)
	p, err := faultproxy.Start(fmt.Sprint("127.0.0.1:", r.port))
	must(r.tb, err)
	nc, err := source.Connect(source.Target{URL: p.URL()}, nil)
	must(r.tb, err)
	came := make(chan string, 16)
	r.proxies, r.came = append(r.proxies, p), append(r.came, came)
	stop := w.follow(r.tb, nc, bucket(i), func(value string) {
		select {
		case came <- value:
		default: // it comes again and again
		}
	})
	return func() {
		stop()
		nc.Close()
		p.Close()
	}
}

func (r *round) put(i int, value string) {
	_, err := r.js.Publish(r.tb.Context(), "$KV."+bucket(i)+".k", []byte(value))
	must(r.tb, err)
}

// until returns how long after began a way has delivered the value, giveUp if it did not.
func (r *round) until(i int, value string, began time.Time) time.Duration {
	end := time.After(giveUp - time.Since(began))
	for {
		select {
		case v := <-r.came[i]:
			if v == value {
				return time.Since(began)
			}
		case <-end:
			return giveUp
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
