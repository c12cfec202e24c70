package source

import (
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

	"github.com/foldrun/foldrun/store"
)

// recreate deletes a stream and makes it again.
func (s *site) recreate(c jetstream.StreamConfig) {
	s.t.Helper()
	recreate(s.t, s.js, s.dir, c)
}

// errStoreFailed is the server's code of "error creating store for stream".
const errStoreFailed = 10049

// recreate deletes a stream and makes it again, once the server, which keeps its streams at dir, has removed the old one's files: where
// the new one is deleted before, nats-server 2.15 leaves its files, and the next begins with its messages.
func recreate(t testing.TB, js jetstream.JetStream, dir string, c jetstream.StreamConfig) {
	t.Helper()
	check(t, js.DeleteStream(t.Context(), c.Name))
	eventually(t, func() error {
		left, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", ".*"))
		if len(left) > 0 {
			return fmt.Errorf("still removed: %v", left)
		}
		return err
	})
	var err error
	eventually(t, func() error {
		_, err = js.CreateStream(t.Context(), c)
		if refused := (*jetstream.APIError)(nil); errors.As(err, &refused) && refused.ErrorCode == errStoreFailed {
			return err
		}
		return nil
	})
	check(t, err)
}

func TestStreamRecreated(t *testing.T) {
	s := newSite(t)
	config := jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}}
	s.stream(config)
	s.publish("e", 3, 10, 1)
	f := follow(t, open(t, s.nc, Options{Stream: "E"}), store.Position{}, NewPipe(3))
	f.until(10)
	pos := f.stop()
	for _, n := range []int{5, 20} { // ends below the cursor, ends above it
		s.recreate(config)
		s.publish("e", 3, n, 1)
		f = follow(t, open(t, s.nc, Options{Stream: "E"}), pos, NewPipe(3))
		f.stopped(CodeRecreated)
		if st := f.source.Status(); st.State != StateStopped || st.Code != CodeRecreated {
			t.Errorf("status %+v", st)
		}
	}
}

// The same while the source is reading.
func TestStreamRecreatedLive(t *testing.T) {
	s := newSite(t)
	config := jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}}
	s.stream(config)
	s.publish("e", 3, 10, 1)
	f := follow(t, open(t, s.nc, Options{Stream: "E"}), store.Position{}, NewPipe(3))
	f.until(10)
	s.recreate(config)
	s.publish("e", 3, 20, 1)
	f.stopped(CodeRecreated)
	f.each(10)
}

// The same between the two looks of a proof: the messages are those of another stream than was seen.
func TestStreamRecreatedInProof(t *testing.T) {
	s := newSite(t)
	config := jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}}
	s.stream(config)
	s.publish("e", 3, 10, 1)
	f := follow(t, open(t, s.nc, Options{Stream: "E"}), store.Position{}, NewPipe(3))
	f.until(10)
	pos := f.stop()
	looks, anew := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(looks) })
	relay, err := s.nc.Subscribe("RELAY.>", func(m *nats.Msg) {
		op := strings.TrimPrefix(m.Subject, "RELAY.")
		if strings.HasPrefix(op, "STREAM.MSG.GET.") {
			first()
			<-anew
		}
		s.nc.PublishRequest(plainAPI+op, m.Reply, m.Data)
	})
	check(t, err)
	defer relay.Unsubscribe()
	src := open(t, s.nc, Options{Stream: "E"})
	src.api = "RELAY."
	f = follow(t, src, pos, NewPipe(3))
	<-looks
	s.recreate(config)
	s.publish("e", 3, 20, 1)
	close(anew)
	stream, err := s.js.Stream(t.Context(), "E")
	check(t, err)
	if stop, is := f.stopped(CodeRecreated), stream.CachedInfo().Created; stop.Created != is.UnixNano() {
		t.Errorf("it found a stream of %s, and it is of %s", stamp(stop.Created), is)
	}
}

// An older copy of the store directory comes back, under a source that reads: at first the stream ends below the
// cursor, then it has grown beyond it with other messages.
func TestStoreRewound(t *testing.T) {
	s := newSite(t)
	s.stream(jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}})
	s.publish("e", 3, 10, 1)
	s.server.Stop()
	older := filepath.Join(t.TempDir(), "older")
	check(t, os.CopyFS(older, os.DirFS(s.dir)))
	s.start()
	for i := range 5 {
		s.put(fmt.Sprint("e.", i), "first history")
	}
	f := follow(t, open(t, connect(t, s.server.URL()), Options{Stream: "E"}), store.Position{}, NewPipe(3))
	f.until(15)
	s.server.Stop()
	s.replace(older)
	s.start()
	f.stopped(CodeRewound)
	pos := f.pos

	for f.pos.Seq = 10; f.pos.Seq < 30; f.pos.Seq++ {
		s.put("e.other", "second history")
	}
	f = follow(t, open(t, connect(t, s.server.URL()), Options{Stream: "E"}), pos, NewPipe(3))
	f.stopped(CodeDiverged)
	if len(f.seen) != 0 {
		t.Errorf("%d updates came", len(f.seen))
	}
}

// Every anchor is gone: what follows them in time tells.
func TestDivergedByTime(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.publish("e", 3, 10, 1)
	f := follow(t, open(t, s.nc, Options{Stream: "E"}), store.Position{}, NewPipe(3))
	f.until(10)
	pos := f.stop()
	st, err := s.js.Stream(t.Context(), "E")
	check(t, err)
	pos.Anchors = pos.Anchors[:1] // each batch has one: who is slow to read has one of each message
	check(t, st.DeleteMsg(t.Context(), pos.Anchors[0].Seq))
	f = follow(t, open(t, s.nc, Options{Stream: "E", Heartbeat: mute}), pos, NewPipe(3)) // one session: it is proved once
	f.until(s.put("e.1", ""))
	f.stop()
	if st := f.source.Status(); st.Checks["unknown"] != 1 {
		t.Errorf("checks %v", st.Checks)
	}
	pos.Anchors[0].Time -= int64(time.Hour) // as if what is there had been written an hour after it
	f = follow(t, open(t, s.nc, Options{Stream: "E"}), pos, NewPipe(3))
	f.stopped(CodeDiverged)
}

func TestPositionOfAnotherStream(t *testing.T) {
	s := newSite(t)
	f := follow(t, open(t, s.nc, Options{Stream: "E"}), store.Position{Stream: "F", Seq: 3}, NewPipe(2))
	f.stopped(CodeRefused)
}

// A creation time that changed under a stream that holds what was folded is adopted.
func TestCreatedAdopted(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.publish("e", 3, 10, 1)
	f := follow(t, open(t, s.nc, Options{Stream: "E"}), store.Position{}, NewPipe(3))
	f.until(10)
	pos := f.stop()
	created := pos.Created
	pos.Created--
	f = follow(t, open(t, s.nc, Options{Stream: "E"}), pos, NewPipe(3))
	f.until(s.put("e.1", ""))
	f.stop()
	if f.pos.Created != created || len(f.seen) != 1 {
		t.Errorf("position %+v, seen %v", f.pos, f.seen)
	}
}

func TestRefusesWorkQueue(t *testing.T) {
	s := newSite(t)
	for _, r := range []jetstream.RetentionPolicy{jetstream.WorkQueuePolicy, jetstream.InterestPolicy} {
		name := "E" + r.String()
		s.stream(jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Retention: r})
		_, err := Open(t.Context(), s.nc, Options{Stream: name})
		var stop *Stop
		if !errors.As(err, &stop) || stop.Code != CodeRefused || !strings.Contains(stop.Hint, "limits") {
			t.Errorf("%s: %v", r, err)
		}
	}
}

func TestMissingStream(t *testing.T) {
	s := newSite(t)
	d := newDiary()
	src := open(t, s.nc, Options{Stream: "E", Log: d.log()})
	if st := src.Status(); st.Code != CodeMissing {
		t.Errorf("status %+v", st)
	}
	f := follow(t, src, store.Position{}, NewPipe(3))
	missing := func(line string) bool { return strings.Contains(line, "reason=missing") }
	_, at := d.await(t, 0, missing)
	eventually(t, func() error { // it looks again and again, and says so while it does
		if st := src.Status(); st.State != StateWaiting || st.Code != CodeMissing {
			return fmt.Errorf("status %+v", st)
		}
		return nil
	})
	s.log("e.>")
	f.until(s.put("e.1", ""))
	_, at = d.await(t, at, func(line string) bool { return strings.Contains(line, "msg=reading") })
	check(t, s.js.DeleteStream(t.Context(), "E"))
	d.await(t, at, missing)
	f.stop()
}

func TestHeadLost(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.publish("e", 3, 10, 1)
	f := follow(t, open(t, s.nc, Options{Stream: "E", KeyingMessage: true}), store.Position{}, NewPipe(3))
	f.until(10)
	pos := f.stop()
	s.publish("e", 3, 10, 1)
	st, err := s.js.Stream(t.Context(), "E")
	check(t, err)
	check(t, st.Purge(t.Context(), jetstream.WithPurgeSequence(15)))
	f = follow(t, open(t, s.nc, Options{Stream: "E", KeyingMessage: true}), pos, NewPipe(3))
	f.until(20)
	f.stop()
	if got := f.source.Status().HeadLost; got != 4 || len(f.seen) != 6 {
		t.Errorf("head lost %d, %d updates came", got, len(f.seen))
	}
}
