package bench

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/runtime/source"
)

func TestMain(m *testing.M) {
	rig.Became()
	if url := os.Getenv(victimOf); url != "" {
		victim(url)
		return
	}
	if url := os.Getenv(loaderOf); url != "" {
		if err := loader(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// broker is a running broker process and a connection to it.
type broker struct {
	*rig.Broker
	*rig.Server
	url string
	nc  *source.Conn
	js  jetstream.JetStream
}

// startBroker starts a broker that ends with the test.
func startBroker(tb testing.TB) *broker {
	tb.Helper()
	p, s, end, err := rig.StartSelf(tb.TempDir())
	must(tb, err)
	tb.Cleanup(func() { must(tb, end()) })
	return &broker{p, s, p.URL, s.Conn, s.JS}
}

// fill makes a bucket of n keys.
func (b *broker) fill(tb testing.TB, bucket string, n int) {
	tb.Helper()
	_, err := b.js.CreateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: bucket})
	must(tb, err)
	b.publish(tb, bucket, n, 0)
}

// publish puts every key once. The values are those of a round: another round's are others.
func (b *broker) publish(tb testing.TB, bucket string, n, round int) {
	tb.Helper()
	must(tb, b.Publish(context.Background(), bucket, n, func(i int) []byte { return value(i + round*n) }))
}

// value returns 128 bytes, or as many as -size says, that depend on i.
func value(i int) []byte { return rig.Value(i, *size) }
