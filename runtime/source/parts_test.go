package source

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/store"
)

func TestParseAck(t *testing.T) {
	want := ack{"foldrun_0_x", 12, 7, 1700000000123456789}
	good := []string{
		"$JS.ACK.KV_b.foldrun_0_x.1.12.7.1700000000123456789.3",
		"$JS.ACK._.hash.KV_b.foldrun_0_x.1.12.7.1700000000123456789.3",
		"$JS.ACK.hub.hash.KV_b.foldrun_0_x.1.12.7.1700000000123456789.3.token",
		"$JS.ACK.hub.hash.KV_b.foldrun_0_x.1.12.7.1700000000123456789.3.a.b.c",
	}
	for _, reply := range good {
		if a, ok := parseAck(reply); !ok || a != want {
			t.Errorf("%s: %+v, %v", reply, a, ok)
		}
	}
	bad := []string{
		"", "$JS.ACK.", "$JS.FC.KV_b.x.1", "$JS.ACK.KV_b.x.1.12.7.17", "$JS.ACK.hub.KV_b.x.1.12.7.17.3", "$JS.ACK.KV_b.x.1.12.7.-1.3",
		"$JS.ACK.KV_b.x.1.0.7.17.3", "$JS.ACK.KV_b.x.1.12.0.17.3", "$JS.ACK.KV_b.x.1.99999999999999999999.7.17.3", "$JS.ACK.KV_b.x.1..7.17.3",
	}
	for _, reply := range bad {
		if a, ok := parseAck(reply); ok {
			t.Errorf("%s: %+v", reply, a)
		}
	}
	if n := testing.AllocsPerRun(100, func() { parseAck(good[2]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAnchorsThin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var list []store.Anchor
	seq := uint64(0)
	for seq < 1<<40 {
		seq += 1 + rnd.Uint64N(1+seq/1000+rnd.Uint64N(100))
		list = addAnchor(list, store.Anchor{Seq: seq})
		if len(list) > store.MaxAnchors || list[0].Seq != seq {
			t.Fatalf("%v", list)
		}
		for i := 1; i < len(list); i++ {
			if list[i].Seq >= list[i-1].Seq {
				t.Fatalf("%v", list)
			}
		}
	}
	dense := list[:0]
	for seq := range uint64(1 << 20) {
		dense = addAnchor(dense, store.Anchor{Seq: seq + 1})
	}
	// 16 anchors over a million seqs: ages that grow by no more than a factor of 8 each
	for i := 2; i < len(dense); i++ {
		younger, older := dense[0].Seq-dense[i-1].Seq, dense[0].Seq-dense[i].Seq
		if older > 8*younger {
			t.Errorf("ages %d and %d side by side", younger, older)
		}
	}
	t.Log(dense)
}

func TestOptions(t *testing.T) {
	good := []Options{{Stream: "E"}, {Bucket: "b"}, {Bucket: "b", Filter: "a.*.c.>"}, {Stream: "E", Domain: "hub", KeyingMessage: true}}
	for _, o := range good {
		if err := o.validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	bad := []Options{
		{}, {Stream: "E", Bucket: "b"}, {Stream: "a.b"}, {Bucket: "a b"}, {Bucket: "b", KeyingMessage: true}, {Stream: "E", Domain: "*"},
		{Stream: "E", Filter: "a..b"}, {Stream: "E", Filter: ">.a"}, {Stream: "E", Filter: "a b"}, {Stream: "E", Filter: "a>"}, {Stream: "E", Filter: "a."},
	}
	for _, o := range bad {
		if err := o.validate(); err == nil {
			t.Errorf("%+v passed", o)
		}
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("NATS_CONTEXT", "")
	t.Setenv("NATS_URL", "")
	t.Setenv("NATS_CREDS", "")
	resolve := func(in Target) Target {
		t.Helper()
		out, err := Resolve(in)
		check(t, err)
		return out
	}
	if got := resolve(Target{}).URL; got != nats.DefaultURL {
		t.Errorf("default %q", got)
	}
	t.Setenv("NATS_URL", "nats://env:1")
	t.Setenv("NATS_CREDS", "/env.creds")
	if got := resolve(Target{}); got.URL != "nats://env:1" || got.Creds != "/env.creds" {
		t.Errorf("environment %+v", got)
	}
	check(t, os.MkdirAll(filepath.Join(dir, "nats", "context"), 0o700))
	write := func(name, text string) { check(t, os.WriteFile(filepath.Join(dir, "nats", name), []byte(text), 0o600)) }
	write("context/hub.json", `{"url": "nats://hub:1", "creds": "file:///hub.creds", "jetstream_domain": "hub", "description": "x"}`)
	write("context/op.json", `{"url": "nats://op:1", "creds": "op://vault/item"}`)
	write("context/nsc.json", `{"nsc": "nsc://operator"}`)
	write("context.txt", "hub\n")
	if got := resolve(Target{}); got.URL != "nats://hub:1" || got.Creds != "/hub.creds" || got.Domain != "hub" {
		t.Errorf("selected %+v", got)
	}
	if got := resolve(Target{URL: "nats://flag:1"}); got.URL != "nats://flag:1" || got.Creds != "" {
		t.Errorf("given %+v", got)
	}
	if got := resolve(Target{Context: "hub", User: "u", URL: "nats://flag:1"}); got.URL != "nats://flag:1" || got.Creds != "" || got.Domain != "hub" {
		t.Errorf("given over a context %+v", got)
	}
	t.Setenv("NATS_CONTEXT", "op")
	for name, want := range map[string]string{"": "op", "nsc": "nsc", "none": "no such file", "../hub": "not the name"} {
		if _, err := Resolve(Target{Context: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("context %q: %v", name, err)
		}
	}
}

// What a lost or repeated message does to a session, without a network in between.
func TestMessageOrder(t *testing.T) {
	s := newSite(t)
	r := newReader(open(t, s.nc, Options{Stream: "E"}), store.Position{Seq: 10}, NewPipe(2))
	sess := &session{name: "c", inbox: "i", subject: "$JS.API.none", bytes: 1 << 20}
	send := func(reply string) error {
		return r.message(t.Context(), sess, &nats.Msg{Subject: "e", Reply: reply})
	}
	check(t, send("$JS.ACK.E.c.1.10.1.5.0")) // not above the position
	check(t, send("$JS.ACK.E.c.1.12.2.5.0"))
	check(t, send("$JS.ACK.E.other.1.13.3.5.0")) // of another consumer
	if r.cur.Len() != 1 || r.pos.Seq != 12 || r.Status().Duplicates != 1 {
		t.Errorf("%d updates, position %d, %+v", r.cur.Len(), r.pos.Seq, r.Status())
	}
	for reply, reason := range map[string]string{"$JS.ACK.E.c.1.14.4.5.0": "gap", "$JS.ACK.E.c.1.12.2.5.0": "gap", "junk": "reply"} {
		if err, ok := send(reply).(*reset); !ok || err.reason != reason {
			t.Errorf("%s: %v", reply, err)
		}
	}
	if r.pos.Seq != 12 {
		t.Errorf("position %d", r.pos.Seq)
	}
}

// churn takes n messages, whose batches come back at once.
func churn(t testing.TB, r *reader, sess *session, m *nats.Msg, replies []string) {
	for _, m.Reply = range replies {
		select {
		case b := <-r.pipe.Out:
			r.pipe.Free <- b
		default:
		}
		if err := r.message(t.Context(), sess, m); err != nil {
			t.Fatal(err)
		}
	}
}

func newChurn(t testing.TB, messages int) (*reader, *session, *nats.Msg, []string) {
	s := newSite(t)
	r := newReader(open(t, s.nc, Options{Bucket: "b", BatchRecords: 1000}), store.Position{}, NewPipe(3))
	r.prefix = "$KV.b."
	m := &nats.Msg{Subject: "$KV.b.some.key", Data: make([]byte, 128), Header: nats.Header{"B": {"1"}, "A": {"2", "3"}}}
	replies := make([]string, messages)
	for i := range replies {
		replies[i] = fmt.Sprintf("$JS.ACK.KV_b.c.1.%d.%d.1700000000123456789.0", i+1, i+1)
	}
	return r, &session{name: "c", pulls: []pull{{1, 1 << 60, 1 << 60}}}, m, replies
}

// A message costs no allocation of ours; a batch costs a few.
func TestMessageAllocations(t *testing.T) {
	r, sess, m, replies := newChurn(t, 40_000)
	churn(t, r, sess, m, replies[:20_000]) // the slabs grow
	replies = replies[20_000:]
	per := math.Inf(1) // what else the process does allocates too: not always
	for range 5 {
		per = min(per, testing.AllocsPerRun(1, func() {
			churn(t, r, sess, m, replies[:2000])
			replies = replies[2000:]
		}))
	}
	if per/2000 > 0.01 {
		t.Errorf("%v allocations for 2000 messages", per)
	}
}

func BenchmarkMessage(b *testing.B) {
	r, sess, m, replies := newChurn(b, 100_000)
	b.SetBytes(int64(len(m.Subject) + len(m.Data)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n == len(replies) {
			n, r.pos.Seq, r.handed.seq, sess.seq = 0, 0, 0, 0
			if r.cur != nil {
				r.cur.Reset()
			}
		}
		churn(b, r, sess, m, replies[n:n+1])
		n++
	}
}
