package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/store"
)

// A cluster is three servers that can be stopped and started again in their places.
type cluster struct {
	t     testing.TB
	dir   string
	ports [3]int // of the clients
	nodes [3]*embedded.Server
	js    jetstream.JetStream // of the test itself, as is
	sys   *nats.Conn          // a connection of the system account
}

// newCluster starts three servers that agree on a leader.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	var routes [3]int
	for i := range c.nodes {
		c.ports[i], routes[i] = spare(t), spare(t)
	}
	for i := range c.nodes {
		c.configure(i, routes)
	}
	var wg sync.WaitGroup
	for i := range c.nodes {
		wg.Go(func() { c.start(i) })
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if n != nil {
				n.Stop()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	c.healthy()
	var err error
	c.js, err = jetstream.New(connect(t, c.urls("")))
	check(t, err)
	c.sys = connect(t, c.urls("sys:sys@"))
	return c
}

func (c *cluster) configure(i int, routes [3]int) {
	var urls []string
	for _, port := range routes {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	check(c.t, os.WriteFile(c.config(i), fmt.Appendf(nil, `
		accounts {
			SYS { users: [{user: sys, password: sys}] }
			FOLDS { jetstream: enabled, users: [{user: fold, password: fold}] }
		}
		system_account: SYS
		no_auth_user: fold
		cluster { name: C, listen: "127.0.0.1:%d", routes: [%s] }
	`, routes[i], strings.Join(urls, ", ")), 0o600))
}

func (c *cluster) config(i int) string { return filepath.Join(c.dir, fmt.Sprint("n", i, ".conf")) }

func (c *cluster) start(i int) {
	c.nodes[i] = serverAt(c.t, embedded.Options{Name: fmt.Sprint("n", i), Port: c.ports[i], Config: c.config(i),
		StoreDir: filepath.Join(c.dir, fmt.Sprint("n", i)), LameDuck: 2 * time.Second})
}

// urls are those of all servers, as one writes them into a configuration.
func (c *cluster) urls(user string) string {
	var all []string
	for _, port := range c.ports {
		all = append(all, fmt.Sprintf("nats://%s127.0.0.1:%d", user, port))
	}
	return strings.Join(all, ",")
}

// healthy waits until every server takes part and is up to date.
func (c *cluster) healthy() {
	c.t.Helper()
	for _, n := range c.nodes {
		eventually(c.t, func() error { return n.Health() })
	}
}

// stream returns the info of a stream that has a leader and three replicas that are up to date.
func (c *cluster) stream(name string) *jetstream.StreamInfo {
	c.t.Helper()
	var info *jetstream.StreamInfo
	eventually(c.t, func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		s, err := c.js.Stream(ctx, name)
		if err != nil {
			return err
		}
		info = s.CachedInfo()
		if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
			return fmt.Errorf("cluster %+v", info.Cluster)
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("replica %+v", r)
			}
		}
		return nil
	})
	return info
}

// stepDown asks a leader to hand over to another.
func (c *cluster) stepDown(nc *nats.Conn, subject string) {
	c.t.Helper()
	eventually(c.t, func() error {
		m, err := nc.Request(subject, nil, time.Second)
		if err == nil && !strings.Contains(string(m.Data), `"success":true`) {
			err = errors.New(string(m.Data))
		}
		return err
	})
}

// host returns the server that runs the one consumer of a stream.
func (c *cluster) host(stream string) int {
	c.t.Helper()
	var leader string
	eventually(c.t, func() error {
		consumers, err := c.consumers(stream)
		if err != nil || len(consumers) != 1 || consumers[0].Cluster == nil || consumers[0].Cluster.Leader == "" {
			return fmt.Errorf("%d consumers, %v", len(consumers), err)
		}
		leader = consumers[0].Cluster.Leader
		return nil
	})
	return int(leader[1] - '0')
}

func (c *cluster) consumers(stream string) (all []*jetstream.ConsumerInfo, err error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		all = append(all, info)
	}
	return all, list.Err()
}

// held returns what a stream holds, in its order, by the word of its leader.
func (c *cluster) held(stream, prefix string, last uint64) (all []seen) {
	c.t.Helper()
	s, err := c.js.Stream(c.t.Context(), stream)
	check(c.t, err)
	for seq := uint64(1); seq <= last; seq++ {
		m, err := s.GetMsg(c.t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		check(c.t, err)
		all = append(all, seen{seq, strings.TrimPrefix(m.Subject, prefix), string(m.Data), abi.OpPut})
	}
	return all
}

// TestCluster writes to a bucket of three replicas without a break, while leaders step down, the server of the consumer
// is stopped, and each server is restarted in turn, suddenly or with notice: nothing is lost, nothing comes twice, and
// the order is the stream's.
func TestCluster(t *testing.T) {
	c := newCluster(t)
	_, err := c.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: 3})
	check(t, err)
	c.stream("KV_b")

	src, err := Open(t.Context(), connect(t, c.urls("")), Options{Bucket: "b"})
	check(t, err)
	src.pace.api = 2 * time.Second // what a server was asked as it went away it never answers
	seen, written, pipe := new(witness), &writer{js: c.js}, NewPipe(3)
	reading, stopReading := context.WithCancel(t.Context())
	writing, stopWriting := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	defer readers.Wait()
	defer writers.Wait()
	defer stopReading()
	defer stopWriting()
	var ended error
	readers.Go(func() { seen.run(reading, pipe) })
	readers.Go(func() { ended = src.Run(reading, store.Position{}, pipe) })
	writers.Go(func() { written.run(writing, "$KV.b") })

	after := func(what string) {
		t.Helper()
		seen.reaches(t, src, written.end(t)+20)
		t.Logf("%-36s longest pause of the writer %s, of the source %s", what, written.longest(), seen.longest())
	}
	after("start")
	for range 2 {
		for was := c.stream("KV_b").Cluster.Leader; was == c.stream("KV_b").Cluster.Leader; { // it may be elected again
			c.stepDown(c.js.Conn(), "$JS.API.STREAM.LEADER.STEPDOWN.KV_b")
		}
		after("the stream's leader stepped down")
	}
	c.stepDown(c.sys, "$JS.API.META.LEADER.STEPDOWN")
	c.stream("KV_b")
	after("the cluster's leader stepped down")

	host := c.host("KV_b")
	c.nodes[host].Stop()
	after("the consumer's server stopped")
	c.start(host)
	c.healthy()
	c.stream("KV_b")
	after("it came back")
	for i, n := range c.nodes {
		what := "stopped and came back"
		if i == 1 {
			n.Stop()
		} else {
			what = "lame duck, and came back"
			n.LameDuck()
		}
		after(fmt.Sprintf("server %d left", i))
		c.start(i)
		c.healthy()
		c.stream("KV_b")
		after(fmt.Sprintf("server %d %s", i, what))
	}

	stopWriting()
	writers.Wait()
	last := written.end(t)
	seen.reaches(t, src, last)
	stopReading()
	readers.Wait()
	if !errors.Is(ended, context.Canceled) {
		t.Errorf("Run returned %v", ended)
	}
	want := c.held("KV_b", "$KV.b.", last)
	same(t, seen.record, want)
	for i, seq := range written.seqs {
		if at := want[i]; at.seq != seq || at.value != fmt.Sprint(i) {
			t.Fatalf("value %d was acknowledged at %d, the stream has %+v", i, seq, at)
		}
	}
	eventually(t, func() error {
		left, err := c.consumers("KV_b")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d consumers are left", len(left))
		}
		return err
	})
	t.Logf("%d values; resets %v", len(want), src.Status().Resets)
}
