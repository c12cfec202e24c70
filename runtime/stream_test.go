package runtime

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

func (s *site) stream(c jetstream.StreamConfig) {
	s.t.Helper()
	c.AllowDirect = true
	check(s.t, s.freed(func() error {
		_, err := s.js.CreateStream(s.t.Context(), c)
		return err
	}))
}

// TestStreamBySubject folds plain streams keyed by their subjects, with and without a filter.
func TestStreamBySubject(t *testing.T) {
	s := newSite(t)
	s.stream(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>", "returns.*"}, AllowRollup: true})
	pairs := map[string]*pair{}
	filters := map[string]func(subject string) bool{
		">":         func(string) bool { return true },
		"orders.>":  func(s string) bool { return strings.HasPrefix(s, "orders.") },
		"*.eu":      func(s string) bool { return strings.HasSuffix(s, ".eu") && strings.Count(s, ".") == 1 },
		"orders.us": func(s string) bool { return s == "orders.us" },
		"returns.*": func(s string) bool { return strings.HasPrefix(s, "returns.") },
	}
	for filter := range filters {
		pairs[filter] = s.pair(source.Options{Stream: "ORDERS", Filter: filter})
	}
	for i := range 40 {
		s.raw([]string{"orders.eu", "orders.us", "orders.eu.de", "returns.eu", "returns.us"}[i%5], fmt.Sprint(i))
	}
	s.raw("orders.us", "", "KV-Operation", "DEL")
	s.raw("orders.eu.de", "", "Nats-Rollup", "sub", "KV-Operation", "PURGE")
	last := s.raw("returns.eu", "")
	holds := s.lastHeld("ORDERS", "")
	if len(holds) != 5 {
		t.Errorf("%d subjects", len(holds))
	}
	for filter, matches := range filters {
		want := maps.Clone(holds)
		maps.DeleteFunc(want, func(subject string, _ lastMessage) bool { return !matches(subject) })
		pairs[filter].agrees("filter "+filter, last, want)
		pairs[filter].stop()
	}
}

// TestStreamByMessage folds an event log: each message is its own record, and nothing in its headers removes another.
func TestStreamByMessage(t *testing.T) {
	s := newSite(t)
	s.stream(jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, Storage: jetstream.MemoryStorage})
	path := t.TempDir()
	fold := func(filter string) *runner {
		return start(t, path+filter, store.Options{}, FoldOptions{Name: "f", Conn: s.nc, Wasm: testModule(t, "echo"),
			Source: source.Options{Stream: "EVENTS", KeyingMessage: true, Filter: filter}})
	}
	all, some := fold(""), fold("events.b")
	want, wantSome := map[string]string{}, map[string]string{}
	for i := range 50 {
		subject, value := []string{"events.a", "events.b"}[i%2], fmt.Sprint("v", i)
		var headers []string
		if i%7 == 0 {
			headers = []string{"KV-Operation", "DEL", "Nats-Marker-Reason", "MaxAge"}
		}
		seq := s.raw(subject, value, headers...)
		want[seqKey(seq)] = value
		if subject == "events.b" {
			wantSome[seqKey(seq)] = value
		}
	}
	for r, want := range map[*runner]map[string]string{all: want, some: wantSome} {
		r.reach(50)
		if have := r.table(); !maps.Equal(have, want) {
			t.Errorf("%d rows, want %d", len(have), len(want))
		}
		whole(t, r.Store())
		r.stop()
	}
	seq := s.raw("events.b", "later")
	want[seqKey(seq)] = "later"
	again := fold("")
	again.reach(seq)
	if have := again.table(); !maps.Equal(have, want) {
		t.Errorf("after the restart %d rows, want %d", len(have), len(want))
	}
	again.stop()
}

// refused runs a fold of the stream JOBS, which cannot be folded, and returns its status.
func (s *site) refused(retention jetstream.RetentionPolicy) Status {
	t := s.t
	t.Helper()
	s.stream(jetstream.StreamConfig{Name: "JOBS", Subjects: []string{"jobs.>"}, Retention: retention})
	s.raw("jobs.1", "v")
	r := start(t, t.TempDir(), store.Options{}, FoldOptions{Name: "f", Conn: s.nc, Source: source.Options{Stream: "JOBS"}, Wasm: testModule(t, "echo")})
	var stop *source.Stop
	if err := r.wait(); !errors.As(err, &stop) || stop.Code != source.CodeRefused {
		t.Fatalf("Run returned %v", err)
	}
	st := r.Status()
	t.Logf("%s\n%s", st.Reason, st.Hint)
	if st.State != StateStopped || st.Code != source.CodeRefused {
		t.Errorf("%+v", st)
	}
	r.close()
	return st
}

// TestStreamWorkQueue refuses a work queue, takes nothing out of it, and shows that the mend works: the fold and the
// queue's worker both get every message.
func TestStreamWorkQueue(t *testing.T) {
	s := newSite(t)
	if st := s.refused(jetstream.WorkQueuePolicy); !strings.Contains(st.Reason, "workqueue retention") || !strings.Contains(st.Hint, "nats stream add JOBS_LOG --subjects 'jobs.>' --retention limits") {
		t.Errorf("%+v", st)
	}
	ctx := t.Context()
	if msgs := must(must(s.js.Stream(ctx, "JOBS"))(t).Info(ctx))(t).State.Msgs; msgs != 1 {
		t.Errorf("%d messages are left", msgs)
	}
	check(t, s.js.DeleteStream(ctx, "JOBS"))
	s.stream(jetstream.StreamConfig{Name: "JOBS_LOG", Subjects: []string{"jobs.>"}})
	s.stream(jetstream.StreamConfig{Name: "JOBS", Retention: jetstream.WorkQueuePolicy, Sources: []*jetstream.StreamSource{{Name: "JOBS_LOG"}}})
	p := s.pair(source.Options{Stream: "JOBS_LOG"})
	worker := must(must(s.js.Stream(ctx, "JOBS"))(t).CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy}))(t)
	jobs := must(worker.Messages())(t)
	defer jobs.Stop()
	for i := range 10 {
		s.raw(fmt.Sprintf("jobs.%d", i), "v")
	}
	for i := range 10 {
		m := must(jobs.Next(jetstream.NextContext(ctx)))(t)
		if m.Subject() != fmt.Sprintf("jobs.%d", i) {
			t.Errorf("job %d is %s", i, m.Subject())
		}
		check(t, m.Ack())
	}
	p.follows("JOBS_LOG", "")
	p.stop()
}

// TestStreamInterest refuses an interest stream, and folds the stream that its hint proposes.
func TestStreamInterest(t *testing.T) {
	s := newSite(t)
	if st := s.refused(jetstream.InterestPolicy); !strings.Contains(st.Reason, "interest retention") ||
		!strings.Contains(st.Hint, "nats stream add JOBS_FEED --source JOBS --retention limits") {
		t.Errorf("%+v", st)
	}
	s.stream(jetstream.StreamConfig{Name: "JOBS_FEED", Sources: []*jetstream.StreamSource{{Name: "JOBS"}}})
	p := s.pair(source.Options{Stream: "JOBS_FEED"})
	eventually(t, "first message in the feed", func() bool { // what nobody is interested in yet is not kept
		s.raw("jobs.first", "v")
		return must(must(s.js.Stream(t.Context(), "JOBS_FEED"))(t).Info(t.Context()))(t).State.Msgs > 0
	})
	for i := range 10 {
		s.raw(fmt.Sprintf("jobs.%d", i), "v")
	}
	s.raw("jobs.last", "")
	eventually(t, "last row", func() bool { _, there := p.echo.table()["jobs.last"]; return there })
	p.follows("JOBS_FEED", "")
	p.stop()
}

// TestStreamAppears starts folds before their stream is there: they wait, say so, and follow it when it comes.
func TestStreamAppears(t *testing.T) {
	s := newSite(t)
	p := s.pair(source.Options{Bucket: "late"})
	for _, r := range []*runner{p.echo, p.removed} {
		eventually(t, "word about the stream", func() bool { return r.Status().Code == source.CodeMissing })
		if st := r.Status(); st.State != StateWaiting || st.Hint == "" || !strings.Contains(st.Reason, "KV_late") {
			t.Errorf("%+v", st)
		}
		if have := r.table(); len(have) > 0 {
			t.Errorf("rows %q", have)
		}
	}
	kv := s.kv(jetstream.KeyValueConfig{Bucket: "late"})
	s.put(kv, "k", []byte("v"))
	p.follows("KV_late", "$KV.late.")
	p.stop()
}
