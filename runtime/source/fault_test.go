package source

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source/faultproxy"
	"github.com/foldrun/foldrun/store"
)

// each checks that every seq from 1 to last came once.
func (f *fold) each(last uint64) {
	f.t.Helper()
	if uint64(len(f.seen)) != last {
		f.t.Fatalf("%d updates came, want %d", len(f.seen), last)
	}
	for i, u := range f.seen {
		if u.seq != uint64(i)+1 {
			f.t.Fatalf("update %d has seq %d", i, u.seq)
		}
	}
}

func (f *fold) reset(reason string) {
	f.t.Helper()
	if st := f.source.Status(); st.Resets[reason] == 0 {
		f.t.Errorf("no reset %q: %v", reason, st.Resets)
	}
}

func proxied(t *testing.T, s *site) (*faultproxy.Proxy, *nats.Conn) {
	t.Helper()
	p, err := faultproxy.Start(fmt.Sprint("127.0.0.1:", s.port))
	check(t, err)
	t.Cleanup(p.Close)
	return p, connect(t, p.URL())
}

func TestConsumerDeleted(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.put("e.1", "")
	f := follow(t, open(t, s.nc, Options{Stream: "E", Heartbeat: mute}), store.Position{}, NewPipe(3))
	f.until(1)
	s.deleteConsumers("E")
	last := s.put("e.2", "")
	f.until(last)
	f.stop()
	f.each(last)
	f.reset("consumer_deleted")
	s.fewConsumers("E", 0)
}

func TestServerRestart(t *testing.T) {
	s := newSite(t)
	s.stream(jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}})
	s.publish("e", 10, 500, 10)
	f := follow(t, open(t, connect(t, s.server.URL()), Options{Stream: "E"}), store.Position{}, NewPipe(3))
	f.until(500)
	s.server.Stop()
	s.start()
	f.until(s.put("e.new", ""))
	f.stop()
	for i, u := range f.seen {
		if u.seq != uint64(i)+1 {
			t.Fatalf("update %d has seq %d", i, u.seq)
		}
	}
	s.fewConsumers("E", 0)
}

func TestCut(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	p, nc := proxied(t, s)
	s.publish("e", 10, 20000, 100)
	f := follow(t, open(t, nc, Options{Stream: "E", BatchRecords: 100}), store.Position{}, NewPipe(2))
	for i := range uint64(5) {
		f.until(i*4000 + 100)
		p.Cut()
	}
	f.until(20000)
	f.stop()
	f.each(20000)
}

// The last message of an idle stream is lost on the way: the next heartbeat counts one more than came. On a busy machine silence may
// be noticed before: then another message is lost.
func TestTailLoss(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	p, nc := proxied(t, s)
	s.put("e.1", "")
	f := follow(t, open(t, nc, Options{Stream: "E"}), store.Position{}, NewPipe(3))
	f.until(1)
	last, lost := uint64(1), 0
	for late := time.Now().Add(patience); f.source.Status().Resets["tail_gap"] == 0 && time.Now().Before(late); lost++ {
		p.Swallow(1)
		last = s.put("e.2", "")
		f.until(last)
	}
	f.stop()
	f.each(last)
	f.reset("tail_gap")
	if p.Swallowed() != lost {
		t.Errorf("%d messages were swallowed, want %d", p.Swallowed(), lost)
	}
}

func TestGap(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	p, nc := proxied(t, s)
	s.publish("e", 10, 1000, 10)
	p.Swallow(3)
	f := follow(t, open(t, nc, Options{Stream: "E", Heartbeat: mute}), store.Position{}, NewPipe(3))
	f.until(1000)
	f.stop()
	f.each(1000)
	f.reset("gap")
}

// The connection is up but nothing comes: silence ends the session, and when that does not help, the connection.
func TestStall(t *testing.T) {
	for _, forever := range []bool{false, true} {
		s := newSite(t)
		s.log("e.>")
		p, nc := proxied(t, s)
		d := newDiary()
		s.put("e.1", "")
		src := open(t, nc, Options{Stream: "E", Log: d.log()})
		src.pace.api = 200 * time.Millisecond
		f := follow(t, src, store.Position{}, NewPipe(3))
		f.until(1)
		d.await(t, 0, func(line string) bool { return strings.Contains(line, "msg=reading") })
		p.Stall(true)
		d.await(t, 0, func(line string) bool { return strings.Contains(line, "reason=silence") })
		last := s.put("e.2", "")
		if !forever {
			p.Stall(false)
		}
		f.until(last)
		f.stop()
		f.each(last)
		f.reset("silence")
	}
}

// A domain, and the reply subjects of the second format.
func TestDomain(t *testing.T) {
	config := filepath.Join(t.TempDir(), "server.conf")
	check(t, os.WriteFile(config, []byte("feature_flags { js_ack_fc_v2: true }"), 0o600))
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Domain: "hub", Config: config})
	check(t, err)
	defer server.Stop()
	nc := connect(t, server.URL())
	js, err := jetstream.NewWithDomain(nc, "hub")
	check(t, err)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	check(t, err)
	_, err = kv.PutString(t.Context(), "k", "v")
	check(t, err)
	sub, err := nc.SubscribeSync(nc.NewInbox())
	check(t, err)
	c, err := js.CreateConsumer(t.Context(), "KV_b", jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	check(t, err)
	check(t, nc.PublishRequest("$JS.hub.API.CONSUMER.MSG.NEXT.KV_b."+c.CachedInfo().Name, sub.Subject, nil))
	m, err := sub.NextMsg(patience)
	check(t, err)
	if !strings.HasPrefix(m.Reply, "$JS.ACK.hub.") {
		t.Errorf("reply subject %q is not of the second format", m.Reply)
	}
	f := follow(t, open(t, nc, Options{Bucket: "b", Domain: "hub"}), store.Position{}, NewPipe(2))
	f.until(1)
	f.stop()
	if f.pos.Domain != "hub" || len(f.seen) != 1 {
		t.Errorf("position %+v, seen %v", f.pos, f.seen)
	}
	f = follow(t, open(t, nc, Options{Bucket: "b"}), f.pos, NewPipe(2))
	f.stopped(CodeRefused)
}

// Run ends what it started: goroutines, subscriptions, consumers. It waits for the end of its last consumer, here its only one.
func TestNothingLeft(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.put("e.1", "")
	src := open(t, s.nc, Options{Stream: "E", Heartbeat: mute})
	before := s.nc.NumSubscriptions()
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		p := NewPipe(2)
		done := make(chan error)
		go func() { done <- src.Run(ctx, store.Position{}, p) }()
		<-p.Out
		cancel()
		<-done
	}
	eventually(t, func() error { // what is left stays
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for one := range bytes.SplitSeq(stacks, []byte("\n\n")) {
			ours := bytes.Contains(one, []byte("source.(*"))
			if ours && !bytes.Contains(one, []byte("created by github.com/nats-io/nats%2ego")) { // which read and write through the tap
				return fmt.Errorf("a goroutine is left:\n%s", one)
			}
		}
		return nil
	})
	if after := s.nc.NumSubscriptions(); after != before {
		t.Errorf("%d subscriptions before, %d after", before, after)
	}
	if got := s.consumers("E"); len(got) != 0 {
		t.Errorf("consumers left: %v", got)
	}
}

// The permissions that the documents name suffice; without one of them, the status names it.
func TestPermissions(t *testing.T) {
	allowed := []string{
		"$JS.API.STREAM.INFO.KV_b", "$JS.API.CONSUMER.CREATE.KV_b.*.$KV.b.>", "$JS.API.CONSUMER.MSG.NEXT.KV_b.*",
		"$JS.API.CONSUMER.DELETE.KV_b.*", "$JS.API.STREAM.MSG.GET.KV_b",
	}
	for without := -1; without < len(allowed); without++ {
		var list []string
		for i, subject := range allowed {
			if i != without {
				list = append(list, fmt.Sprintf("%q", subject))
			}
		}
		config := filepath.Join(t.TempDir(), "server.conf")
		check(t, os.WriteFile(config, fmt.Appendf(nil, `authorization { timeout: 30, users = [
			{user: admin, password: a},
			{user: fold, password: f, permissions: {publish: [%s], subscribe: ["_INBOX_foldrun.>"]}}
		]}`, strings.Join(list, ",")), 0o600))
		server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Config: config})
		check(t, err)
		admin, err := Connect(Target{URL: server.URL(), User: "admin", Password: "a", Once: true}, nil)
		check(t, err)
		js, err := jetstream.New(admin)
		check(t, err)
		kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
		check(t, err)
		nc, err := Connect(Target{URL: server.URL(), User: "fold", Password: "f", Once: true}, nil)
		check(t, err)
		d := newDiary()
		src := open(t, nc, Options{Bucket: "b", Log: d.log()})
		src.pace.api = 100 * time.Millisecond
		_, err = kv.PutString(t.Context(), "k", "v")
		check(t, err)
		at := store.Position{}
		f := follow(t, src, at, NewPipe(2))
		switch without {
		case -1, 3: // a consumer that cannot be deleted expires
			f.until(1)
		case 4: // asked for when there are anchors
			f.until(1)
			at = f.stop()
			f = follow(t, src, at, NewPipe(2))
			fallthrough
		default:
			subject, _, _ := strings.Cut(allowed[without], ".*")
			d.await(t, 0, func(line string) bool {
				return strings.Contains(line, "reason=denied") && strings.Contains(line, subject)
			})
		}
		f.stop()
		nc.Close()
		admin.Close()
		server.Stop()
	}
}
