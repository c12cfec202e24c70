package source

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// reach commits batches until the position has reached seq, and nudges for as long as it has not.
func (f *fold) reach(seq uint64) {
	f.t.Helper()
	deadline := time.After(patience)
	for proof := f.source.Nudge(); f.pos.Seq < seq; {
		select {
		case b := <-f.pipe.Out:
			f.examine(b)
			f.pipe.Free <- b
		case <-proof.Done():
			proof = f.source.Nudge()
		case <-deadline:
			f.t.Fatalf("seq %d was not reached: %+v", seq, f.source.Status())
		}
	}
}

// await commits batches until the proof is there.
func (f *fold) await(p *Proof) {
	f.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case b := <-f.pipe.Out:
			f.examine(b)
			f.pipe.Free <- b
		case <-p.Done():
			return
		case <-deadline:
			f.t.Fatalf("no proof came: %+v", f.source.Status())
		}
	}
}

// A nudge brings a position that no message of the filter and no heartbeat brings, and it is handed on at once.
func TestNudge(t *testing.T) {
	s := newSite(t)
	s.bucket(jetstream.KeyValueConfig{Bucket: "b"})
	src := open(t, s.nc, Options{Bucket: "b", Filter: "a.>", Heartbeat: mute, PullMessages: 10})
	src.pace.advance = time.Hour
	f := follow(t, src, store.Position{}, NewPipe(3))
	for i := range 20 {
		f.reach(s.put("$KV.b.a.x", fmt.Sprint(i)))
		f.reach(s.put("$KV.b.c.x", fmt.Sprint(i)))
	}
	f.stop()
	if st := src.Status(); st.Sessions != 1 || len(st.Resets) > 0 || len(f.seen) != 20 {
		t.Errorf("%d updates came; %+v", len(f.seen), st)
	}
}

// Nudges take no message, and end no pull of those that do.
func TestNudgeWhileBusy(t *testing.T) {
	const total = 20_000
	s := newSite(t)
	s.log("e.>")
	src := open(t, s.nc, Options{Stream: "E", PullMessages: 50, Heartbeat: 2 * time.Second}) // a busy machine is not silence
	src.pace.nudge = time.Nanosecond
	f := follow(t, src, store.Position{}, NewPipe(3))
	f.loose = true
	published := make(chan struct{})
	go func() {
		defer close(published)
		s.publish("e", 100, total, 100)
	}()
	nudges := 0
	for f.pos.Seq < total {
		f.await(src.Nudge())
		nudges++
	}
	<-published
	f.stop()
	if st := src.Status(); f.received != total || st.Sessions != 1 || len(st.Resets) > 0 {
		t.Errorf("%d updates came, with %d nudges; %+v", f.received, nudges, st)
	}
	t.Logf("%d nudges", nudges)
}

// What asks while there is no consumer is answered by the next one.
func TestNudgeAcrossSessions(t *testing.T) {
	s := newSite(t)
	s.bucket(jetstream.KeyValueConfig{Bucket: "b"})
	f := follow(t, open(t, s.nc, Options{Bucket: "b", Heartbeat: mute}), store.Position{}, NewPipe(3))
	f.await(f.source.Nudge())
	for range 5 {
		s.deleteConsumers("KV_b")
		p := f.source.Nudge()
		f.await(p)
		if p.Created() != f.source.Status().Created.UnixNano() {
			t.Errorf("proved is the stream of %d", p.Created())
		}
	}
	if n := f.source.Status().Sessions; n < 6 {
		t.Errorf("%d sessions", n)
	}
	f.stop()
}

// A session that ends before the answer leaves who asks to the next one.
func TestNudgeUnanswered(t *testing.T) {
	src := &Source{nudges: nudges{wake: make(chan struct{}, 1)}}
	n := &src.nudges
	first := src.Nudge()
	n.take() // the extra pull is sent
	second := src.Nudge()
	n.take()
	if n.renew(); !n.wanted.Load() {
		t.Error("nothing is asked again")
	}
	n.take()
	third := src.Nudge()
	n.answered(7)
	for i, p := range []*Proof{first, second, third} {
		select {
		case <-p.Done():
			if i == 2 || p.Created() != 7 {
				t.Errorf("proof %d is there, of %d", i, p.Created())
			}
		default:
			if i < 2 {
				t.Errorf("proof %d is not there", i)
			}
		}
	}
}

// A stream that was deleted and made again proves nothing.
func TestNudgeRecreated(t *testing.T) {
	s := newSite(t)
	for range 10 {
		s.bucket(jetstream.KeyValueConfig{Bucket: "b", Storage: jetstream.MemoryStorage})
		f := follow(t, open(t, s.nc, Options{Bucket: "b", Heartbeat: mute}), store.Position{}, NewPipe(3))
		f.until(s.put("$KV.b.x", "1"))
		f.await(f.source.Nudge())
		check(t, s.js.DeleteKeyValue(t.Context(), "b"))
		s.bucket(jetstream.KeyValueConfig{Bucket: "b", Storage: jetstream.MemoryStorage})
		p := f.source.Nudge()
		f.stopped(CodeRecreated)
		select {
		case <-p.Done():
			t.Error("the stream that was deleted is proved")
		default:
		}
		check(t, s.js.DeleteKeyValue(t.Context(), "b"))
	}
}

// However many ask, the server is asked no more often than the pace says, and not at all while nobody asks.
func TestNudgeRequests(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	nc := connect(t, s.server.URL())
	c := newToll(t, s, nc)
	src := open(t, nc, Options{Stream: "E", Refresh: time.Hour, Heartbeat: mute})
	src.pace.nudge = defaultPace.nudge
	f := follow(t, src, store.Position{}, NewPipe(3))
	f.await(src.Nudge())
	c.taken()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 20 {
				select {
				case <-src.Nudge().Done():
				case <-ctx.Done():
					t.Error("not answered")
					return
				}
			}
		})
	}
	all.Wait()
	most := 2 + int(time.Since(began)/src.pace.nudge)
	n := c.taken()
	if n["CONSUMER.MSG.NEXT"] < 20 || n["CONSUMER.MSG.NEXT"] > most || len(n) != 1 {
		t.Errorf("1000 proofs took %v, want 20 to %d pulls", n, most)
	}
	t.Logf("1000 proofs for 50 who ask: %v in %s", n, time.Since(began))
	f.stop()
}
