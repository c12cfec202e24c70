package source

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source/faultproxy"
	"github.com/foldrun/foldrun/store"
)

// A recovery is a source that reads through a proxy, and the means to do it harm.
type recovery struct {
	*site
	proxy *faultproxy.Proxy
	fold  *fold
}

// while commits batches as long as going is true. A source that waits for a free batch notices nothing.
func (f *fold) while(going func() bool) {
	f.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for going() {
		select {
		case b := <-f.pipe.Out:
			f.examine(b)
			f.pipe.Free <- b
		case err := <-f.done:
			f.t.Fatalf("Run returned %v", err)
		case <-again.C:
		case <-deadline:
			f.t.Fatalf("still so: %+v", f.source.Status())
		}
	}
}

// TestRecoveries does harm to a source that has read a part of a stream, more than once each. Whatever it is, everything
// comes, once and in order; at the server there is never more than the consumer of the session, and none when Run has
// returned.
func TestRecoveries(t *testing.T) {
	const total = 20_000
	for _, x := range []struct {
		name   string
		reason string // of a session's end, one of several; "": it may have none
		harm   func(r *recovery)
	}{
		{"consumer deleted", "consumer_deleted no_responders", func(r *recovery) { r.deleteConsumers("E") }},
		{"server stopped and started", "", func(r *recovery) {
			r.server.Stop()
			r.start()
		}},
		{"lame duck", "", func(r *recovery) {
			r.server.LameDuck()
			r.start()
		}},
		{"cut", "disconnected", func(r *recovery) { r.proxy.Cut() }},
		{"cut in a message", "disconnected", func(r *recovery) { r.proxy.CutIn(700) }},
		{"messages lost", "gap", func(r *recovery) { r.proxy.Swallow(3) }},
		{"stalled for a while", "silence", func(r *recovery) {
			before := r.fold.source.Status().Resets["silence"]
			r.proxy.Stall(true)
			r.fold.while(func() bool { return r.fold.source.Status().Resets["silence"] == before })
			r.proxy.Stall(false)
		}},
		{"stalled for good", "silence", func(r *recovery) { r.proxy.Stall(true) }},
		{"dead", "silence", func(r *recovery) { r.proxy.Kill() }},
		{"slow", "", func(r *recovery) { r.proxy.Slow(1 << 20) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.stream(jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}})
			s.publish("e", 10, total, 100)
			p, nc := proxied(t, s)
			r := &recovery{site: s, proxy: p}
			src := open(t, nc, Options{Stream: "E", BatchRecords: 500, PullMessages: 1000})
			src.pace.api = 200 * time.Millisecond
			r.fold = follow(t, src, store.Position{}, NewPipe(2))
			for i := range uint64(3) {
				r.fold.until(i*total/4 + 100)
				x.harm(r)
			}
			p.Slow(0)
			r.fold.until(total)
			r.fold.until(s.put("e.last", ""))
			s.fewConsumers("E", 1)
			r.fold.stop()
			s.fewConsumers("E", 0)
			r.fold.each(total + 1)
			resets := src.Status().Resets
			if x.reason != "" && !slices.ContainsFunc(strings.Fields(x.reason), func(reason string) bool { return resets[reason] > 0 }) {
				t.Errorf("sessions ended by %v, none by %s", resets, x.reason)
			}
			t.Log(resets)
		})
	}
}

// A server that says nothing is seen: the source does not claim to read, nor that it has read everything, until it does
// again.
func TestSilence(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	p, nc := proxied(t, s)
	src := open(t, nc, Options{Stream: "E", Refresh: 50 * time.Millisecond}) // no request times out: it does not connect anew
	f := follow(t, src, store.Position{}, NewPipe(3))
	f.until(s.put("e.1", ""))
	reads := func(after time.Time) func() bool {
		return func() bool {
			st := src.Status()
			return !(st.State == StateReading && st.CaughtUp && st.CaughtUpAt.After(after))
		}
	}
	f.while(reads(time.Time{}))
	p.Stall(true)
	f.while(func() bool {
		st := src.Status()
		return st.State == StateReading || st.Reason == ""
	})
	was := src.Status()
	t.Logf("%s: %s, read up to its end at %s", was.State, was.Reason, was.CaughtUpAt)
	p.Stall(false)
	f.while(reads(was.CaughtUpAt))
	f.stop()
}

// What the server says of a pull ends the session where the consumer is gone, or is about to be.
func TestEndsOfSessions(t *testing.T) {
	r := &reader{Source: new(Source)}
	for said, want := range map[string]string{
		"409 Consumer Deleted": "consumer_deleted", "409 Leadership Change": "leadership_change", "409 Server Shutdown": "server_shutdown",
		"503": "no_responders", "400 Bad Request": "status: 400 Bad Request", "409 Unheard Of": "status: 409 unheard of",
	} {
		status, text, _ := strings.Cut(said, " ")
		s := &session{inbox: "in", pulls: []pull{{1, 10, 10}}}
		m := &nats.Msg{Subject: "in.1", Header: nats.Header{"Status": {status}, "Description": {text}}}
		if err := r.control(t.Context(), s, m); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", said, err, want)
		}
	}
}

// Pauses double up to the longest, and no two sources wait the same time.
func TestBackoff(t *testing.T) {
	const first, longest = 50 * time.Millisecond, 5 * time.Second
	var waits [][]time.Duration
	for range 100 {
		b := backoff{next: first}
		var w []time.Duration
		for most := first; len(w) < 12; most = min(2*most, longest) {
			d := b.take(longest)
			if d < most/2 || d > most {
				t.Fatalf("pause %d is %s, want %s to %s", len(w), d, most/2, most)
			}
			w = append(w, d)
		}
		waits = append(waits, w)
	}
	slices.SortFunc(waits, slices.Compare[[]time.Duration])
	if n := len(slices.CompactFunc(waits, slices.Equal[[]time.Duration])); n < 100 {
		t.Errorf("%d of 100 wait different times", n)
	}
}
