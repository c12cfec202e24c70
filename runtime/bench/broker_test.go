package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
)

// brokerDir, set in the environment, makes the test binary a broker: a NATS server of its own process, as it is in
// production, so that its CPU is not counted as ours.
const brokerDir = "FOLDRUN_BENCH_BROKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokerDir); dir != "" {
		beBroker(dir)
		return
	}
	if url := os.Getenv(victimOf); url != "" {
		victim(url)
		return
	}
	os.Exit(m.Run())
}

// beBroker runs the broker until its standard input ends.
func beBroker(dir string) {
	s, err := embedded.Start(embedded.Options{StoreDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	io.Copy(io.Discard, os.Stdin)
	s.Stop()
}

// broker is a running broker process and a connection to it.
type broker struct {
	url string
	pid int
	nc  *source.Conn
	js  jetstream.JetStream
}

// startBroker starts a broker that ends with the test.
func startBroker(tb testing.TB) *broker {
	tb.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), brokerDir+"="+tb.TempDir())
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatal("broker did not start: ", err)
	}
	b := &broker{url: strings.TrimSpace(url), pid: c.Process.Pid}
	if b.nc, err = source.Connect(source.Target{URL: b.url}, nil); err != nil {
		tb.Fatal(err)
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(4096)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		b.nc.Close()
		in.Close()
		c.Wait()
	})
	return b
}

// fill makes a bucket of n keys of 16 bytes with values of 128: a number to re-key by and filler that does not
// compress to nothing.
func (b *broker) fill(tb testing.TB, bucket string, n int) {
	tb.Helper()
	ctx := context.Background()
	if _, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket}); err != nil {
		tb.Fatal(err)
	}
	b.publish(tb, bucket, n, 0)
}

// publish puts every key once. The values are those of a round: another round's are others.
func (b *broker) publish(tb testing.TB, bucket string, n, round int) {
	tb.Helper()
	for i := range n {
		if _, err := b.js.PublishAsync(fmt.Sprintf("$KV.%s.key-%012d", bucket, i), value(i+round*n), jetstream.WithStallWait(time.Minute)); err != nil {
			tb.Fatal(err)
		}
	}
	select {
	case <-b.js.PublishAsyncComplete():
	case <-time.After(5 * time.Minute):
		tb.Fatal("the broker did not take the data within 5 minutes")
	}
}

// value returns 128 bytes, or as many as -size says, that depend on i: eight of them, in another order than the keys, are what rekey keys by.
func value(i int) []byte {
	x := uint64(i)*0x9e3779b97f4a7c15 + 1
	v := strconv.AppendUint(make([]byte, 0, *size+16), x, 36)
	for len(v) < *size {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v = strconv.AppendUint(v, x, 36)
	}
	return v[:*size]
}
