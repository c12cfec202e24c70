package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// readers is how many connections, or goroutines, ask at once; each asks again as soon as it is answered.
const readers = 16

// BenchmarkDoors has wrk read an index of -updates rows over HTTP, beside redis-benchmark's GET of the same keys and values in a
// Redis that keeps them in memory, and nats.go's kv.Get of the bucket: with the fold idle, and while another fold of the
// process catches up, again and again. All of it is on one machine.
func BenchmarkDoors(b *testing.B) {
	for _, tool := range []string{"wrk", "redis-server", "redis-benchmark", "redis-cli"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skip("apt-get install wrk redis-server: ", err)
		}
	}
	s := startBroker(b)
	s.fill(b, "bench", *updates)
	wasm := module(b, "echo")
	f, end := start(b, s, wasm)
	defer end()
	wait(f, uint64(*updates))
	settle(b, f)
	_, err := f.Store().Compact(b.Context(), store.CompactOptions{}) // else the fold, which stands, has it done meanwhile
	must(b, err)
	url := open(b, f)
	get, scan := url+"get?key=", url+"scan?limit=40&start="
	redis := startRedis(b, *updates)
	for b.Loop() {
		alone := s.measure(*updates, func() { catchUp(b, s, wasm, *updates) })
		for range *rounds {
			b.Log("the fold idle")
			wrk(b, "get", get)
			wrk(b, "scan of 40 rows", scan)
			redis(b)
			s.kvGets(b)
			b.Log("another fold catching up")
			ctx, stop := context.WithCancel(context.Background())
			var folding sync.WaitGroup
			var beside []cost
			folding.Go(func() {
				for ctx.Err() == nil {
					beside = append(beside, s.measure(*updates, func() { catchUp(b, s, wasm, *updates) }))
				}
			})
			wrk(b, "get", get)
			wrk(b, "scan of 40 rows", scan)
			stop()
			folding.Wait()
			b.Logf("catch-up alone %.0f updates/s, beside these readers %.0f", alone.Rate(), median(beside, cost.Rate))
		}
	}
	b.ReportMetric(0, "ns/op")
}

// open puts a fold behind an HTTP door, and returns where its index is read.
func open(b *testing.B, f *runtime.Fold) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve.New(serve.Options{Folds: []serve.Fold{f}}).Run(ctx, l) }()
	b.Cleanup(func() {
		stop()
		must(b, <-done)
	})
	index := f.Store().Indexes()[0].Name
	url := fmt.Sprintf("http://%s/v1/folds/%s/indexes/%s/", l.Addr(), f.Name(), index)
	r, err := http.Get(url + "get?key=key-000000000000")
	must(b, err)
	if r.Body.Close(); r.StatusCode != http.StatusOK {
		b.Fatal(r.Status)
	}
	return url
}

// wrk has wrk ask for random keys for some seconds.
func wrk(b *testing.B, what, url string) {
	b.Helper()
	script := filepath.Join(b.TempDir(), "random.lua")
	_, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	text := fmt.Sprintf("math.randomseed(os.time())\nfunction request() return wrk.format('GET', string.format('/%s%%s', string.format('key-%%012d', math.random(0, %d)))) end\n",
		strings.ReplaceAll(path, "%", "%%"), *updates-1)
	must(b, os.WriteFile(script, []byte(text), 0o666))
	out, err := exec.Command("wrk", "-t1", fmt.Sprint("-c", readers), "-d5s", "--latency", "-s", script, url).CombinedOutput()
	must(b, err)
	if bytes.Contains(out, []byte("Non-2xx")) {
		b.Fatalf("%s", out)
	}
	rate, p50, p99 := find(b, out, `Requests/sec:\s+([\d.]+)`), find(b, out, `50%\s+(\S+)`), find(b, out, `99%\s+(\S+)`)
	b.Logf("  %-28s %8s/s  p50 %s  p99 %s", what, rate, p50, p99)
}

func find(b *testing.B, out []byte, re string) string {
	m := regexp.MustCompile(re).FindSubmatch(out)
	if m == nil {
		b.Fatalf("no %s in %s", re, out)
	}
	return string(m[1])
}

// startRedis starts a Redis with n keys and values of the bucket's, and returns what has redis-benchmark GET them.
func startRedis(b *testing.B, n int) func(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	must(b, l.Close())
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", b.TempDir())
	must(b, server.Start())
	b.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
	var sets bytes.Buffer
	for i := range n {
		v := value(i)
		fmt.Fprintf(&sets, "*3\r\n$3\r\nSET\r\n$16\r\nkey-%012d\r\n$%d\r\n%s\r\n", i, len(v), v)
	}
	load := exec.Command("redis-cli", "-p", port, "--pipe")
	load.Stdin = &sets
	if out, err := load.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("errors: 0, replies: "+strconv.Itoa(n))) {
		b.Fatalf("%v: %s", err, out)
	}
	return func(b *testing.B) {
		out, err := exec.Command("redis-benchmark", "-p", port, "-c", fmt.Sprint(readers), "-n", "300000", "-r", strconv.Itoa(n), "--csv", "GET", "key-__rand_int__").Output()
		must(b, err)
		rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
		must(b, err)
		last := rows[len(rows)-1] // test, rps, avg, min, p50, p95, p99, max
		b.Logf("  %-28s %8s/s  p50 %sms  p99 %sms", "Redis GET", last[1], last[4], last[6])
	}
}

// kvGets has nats.go read random keys of the bucket for some seconds.
func (s *broker) kvGets(b *testing.B) {
	kv, err := s.js.KeyValue(context.Background(), "bench")
	must(b, err)
	var mu sync.Mutex
	var all []time.Duration
	began := time.Now()
	var asking sync.WaitGroup
	for range readers {
		asking.Go(func() {
			var own []time.Duration
			for time.Since(began) < 5*time.Second {
				at := time.Now()
				_, err := kv.Get(context.Background(), fmt.Sprintf("key-%012d", rand.IntN(*updates)))
				must(b, err)
				own = append(own, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	asking.Wait()
	b.Logf("  %-28s %8.0f/s  p50 %s  p99 %s", "nats.go kv.Get", float64(len(all))/time.Since(began).Seconds(),
		percentile(all, 50).Round(time.Microsecond), percentile(all, 99).Round(time.Microsecond))
}
