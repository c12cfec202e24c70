package source

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/store"
)

// A toll counts the requests of a connection to the JetStream API where the server takes them.
type toll struct {
	t    testing.TB
	sub  *nats.Subscription
	from *nats.Conn
}

func newToll(t testing.TB, s *site, from *nats.Conn) *toll {
	t.Helper()
	sub, err := s.nc.SubscribeSync("$JS.API.>")
	check(t, err)
	check(t, s.nc.Flush())
	return &toll{t, sub, from}
}

// taken returns how often each request was made since it was last asked. The test must make none of its own.
func (c *toll) taken() map[string]int {
	c.t.Helper()
	const end = "$JS.API.END"
	check(c.t, c.from.Publish(end, nil))
	n := map[string]int{}
	for {
		m, err := c.sub.NextMsg(patience)
		check(c.t, err)
		if m.Subject == end {
			return n
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, "$JS.API."), ".E")
		n[name]++
	}
}

func (c *toll) want(what string, want map[string]int) {
	c.t.Helper()
	if got := c.taken(); !maps.Equal(got, want) {
		c.t.Errorf("%s: got  %v\nwant %v", what, got, want)
	}
}

// TestRequests counts what the source asks the server for: a handful of requests for each consumer, one for each pull
// of 5000 messages, and none for a message or a heartbeat.
func TestRequests(t *testing.T) {
	const total = 100_000
	s := newSite(t)
	s.log("e.>")
	s.publish("e", 1000, total, 10)
	nc := connect(t, s.server.URL())
	c := newToll(t, s, nc)

	src := open(t, nc, Options{Stream: "E", Refresh: time.Hour, Heartbeat: 10 * time.Second}) // a busy machine is not silence
	c.want("Open", map[string]int{"STREAM.INFO": 1})
	f := follow(t, src, store.Position{}, NewPipe(3))
	f.loose = true
	f.until(total)
	pos := f.stop()
	c.want("a catch-up", map[string]int{"STREAM.INFO": 2, "CONSUMER.CREATE": 1, "CONSUMER.MSG.NEXT": 1 + total/5000, "CONSUMER.DELETE": 1})
	src.listed(t, total, nil)
	c.want("a listing", map[string]int{"STREAM.INFO": 2, "CONSUMER.CREATE": 1, "CONSUMER.MSG.NEXT": total / 5000, "CONSUMER.DELETE": 1})

	src = open(t, nc, Options{Stream: "E", Refresh: time.Hour, Heartbeat: time.Second})
	f = follow(t, src, pos, NewPipe(3))
	f.beats(2)
	check(t, s.js.DeleteConsumer(t.Context(), "E", s.consumers("E")[0]))
	f.beats(2)
	f.stop()
	n := int(src.Status().Sessions)
	if n < 2 {
		t.Errorf("%d sessions, one of them was ended", n)
	}
	// Open asked for the stream, and so did the test, which also asked for its consumers' names, and to delete one
	c.want(fmt.Sprint(n, " sessions that resume"), map[string]int{"STREAM.INFO": 2*n + 2, "STREAM.MSG.GET": n, "CONSUMER.CREATE": n,
		"CONSUMER.MSG.NEXT": n, "CONSUMER.DELETE": 2*n - 1 + 1, "CONSUMER.NAMES": 1})
}

// beats waits until the server has said n times more that it has nothing to send.
func (f *fold) beats(n uint64) {
	f.t.Helper()
	n += f.source.Status().Heartbeats
	eventually(f.t, func() error {
		if st := f.source.Status(); st.Heartbeats < n {
			return fmt.Errorf("%d heartbeats, want %d: %+v", st.Heartbeats, n, st)
		}
		return nil
	})
}

// TestRequestsOfRefresh asks the leader often: no more often than Refresh says, whatever comes.
func TestRequestsOfRefresh(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.publish("e", 10, 20_000, 100)
	nc := connect(t, s.server.URL())
	c := newToll(t, s, nc)
	const refresh = 50 * time.Millisecond
	began := time.Now()
	src := open(t, nc, Options{Stream: "E", Refresh: refresh, Heartbeat: 10 * time.Millisecond, PullMessages: 100})
	f := follow(t, src, store.Position{}, NewPipe(3))
	f.until(20_000)
	f.beats(50)
	f.stop()
	// A busy machine may be taken for silence, and each session asks for itself: one more than those that came to read, which was ended.
	sessions := int(src.Status().Sessions) + 1
	most := 1 + 2*sessions + int(time.Since(began)/refresh)
	if n := c.taken()["STREAM.INFO"]; n < 4 || n > most {
		t.Errorf("the leader was asked %d times, want 4 to %d", n, most)
	}
}
