package source

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/store"
)

func TestLoadAndResume(t *testing.T) {
	s := newSite(t)
	s.bucket(jetstream.KeyValueConfig{Bucket: "b", Storage: jetstream.MemoryStorage})
	s.publish("$KV.b", 1<<30, 3000, 20)
	src := open(t, s.nc, Options{Bucket: "b", BatchRecords: 700})
	f := follow(t, src, store.Position{}, NewPipe(3))
	f.until(3000)
	if len(f.seen) != 3000 || f.seen[0].key != "0" || f.seen[2999].key != "2999" {
		t.Fatalf("%d updates came", len(f.seen))
	}
	for _, n := range f.sizes {
		if n > 700 {
			t.Errorf("a batch holds %d updates", n)
		}
	}
	pos := f.stop()
	if pos.Stream != "KV_b" || pos.Created == 0 || pos.CaughtUp == 0 || len(pos.Anchors) == 0 {
		t.Errorf("position %+v", pos)
	}
	if st := src.Status(); !st.CaughtUp || st.Lag != 0 || st.Updates != 3000 || st.Seq != 3000 || st.Prefix != "$KV.b." {
		t.Errorf("status %+v", st)
	}

	s.publish("$KV.b", 10, 10, 20)
	f = follow(t, open(t, s.nc, Options{Bucket: "b"}), pos, NewPipe(3))
	f.until(3010)
	f.stop()
	if len(f.seen) != 10 || f.seen[0].seq != 3001 {
		t.Errorf("the second run delivered %v", f.seen)
	}
	s.fewConsumers("KV_b", 0)
}

// While nothing is in flight, each update is a batch.
func TestLive(t *testing.T) {
	s := newSite(t)
	kv := s.bucket(jetstream.KeyValueConfig{Bucket: "b"})
	f := follow(t, open(t, s.nc, Options{Bucket: "b"}), store.Position{}, NewPipe(3))
	for i := range 20 {
		rev, err := kv.PutString(t.Context(), fmt.Sprint("k", i), "v")
		check(t, err)
		for f.pos.Seq < rev {
			b, free := f.next()
			if b.Len() > 1 || b.Len() == 1 && b.Arrived.IsZero() {
				t.Errorf("a batch of %d, arrived %v", b.Len(), b.Arrived)
			}
			free()
		}
	}
	f.stop()
	if len(f.seen) != 20 {
		t.Errorf("%d updates came", len(f.seen))
	}
}

// While one batch is in flight, what arrives waits in the next; the batch that comes back wakes it.
func TestBatchFillsWhileOneIsInFlight(t *testing.T) {
	s := newSite(t)
	s.bucket(jetstream.KeyValueConfig{Bucket: "b"})
	// the end of a session would hand on a batch that is not full
	f := follow(t, open(t, s.nc, Options{Bucket: "b", BatchRecords: 50, Heartbeat: mute}), store.Position{}, NewPipe(3))
	s.put("$KV.b.first", "")
	first, free := f.next()
	for first.Len() == 0 {
		free()
		first, free = f.next()
	}
	for i := range 60 {
		s.put(fmt.Sprint("$KV.b.", i), "")
	}
	full, freeFull := f.next() // 50 leave because they are full
	if full.Len() != 50 {
		t.Errorf("a batch of %d", full.Len())
	}
	freeFull()
	free() // now nothing is in flight: the other 10 leave
	f.until(61)
	f.stop()
	if f.received != 61 {
		t.Errorf("sizes %v", f.sizes)
	}
}

func TestOps(t *testing.T) {
	s := newSite(t)
	kv := s.bucket(jetstream.KeyValueConfig{Bucket: "b", History: 5, LimitMarkerTTL: time.Second})
	ctx := t.Context()
	for _, v := range []string{"1", "2", "3"} { // history > 1: all of it comes
		_, err := kv.PutString(ctx, "a.b", v)
		check(t, err)
	}
	check(t, kv.Delete(ctx, "a.b"))
	_, err := kv.PutString(ctx, "p", "")
	check(t, err)
	check(t, kv.Purge(ctx, "p")) // takes seq 5 away
	marker := &nats.Msg{Subject: "$KV.b.m", Header: nats.Header{"Nats-Marker-Reason": {"Remove"}}}
	_, err = s.js.PublishMsg(ctx, marker)
	check(t, err)
	odd := &nats.Msg{Subject: "$KV.b.odd", Header: nats.Header{"KV-Operation": {"UNHEARD-OF"}}}
	_, err = s.js.PublishMsg(ctx, odd)
	check(t, err)
	f := follow(t, open(t, s.nc, Options{Bucket: "b"}), store.Position{}, NewPipe(3))
	f.until(8)
	published := slices.Clone(f.seen)
	// The server leaves a marker of what expires, which expires as soon: a busy machine may be too late for it, and then there is another.
	var got, left seen
	for late := time.Now().Add(patience); got != left || left.seq == 0; {
		if time.Now().After(late) {
			t.Fatalf("got %v, want %v", got, left)
		}
		key := fmt.Sprint("ttl", f.pos.Seq)
		put, err := kv.Create(ctx, key, []byte("x"), jetstream.KeyTTL(time.Second))
		check(t, err)
		f.until(put + 1)
		got, left = f.seen[len(f.seen)-1], seen{put + 1, key, "", abi.OpPurge}
	}
	f.stop()
	want := []seen{
		{1, "a.b", "1", abi.OpPut}, {2, "a.b", "2", abi.OpPut}, {3, "a.b", "3", abi.OpPut}, {4, "a.b", "", abi.OpDelete},
		{6, "p", "", abi.OpPurge}, {7, "m", "", abi.OpDelete}, {8, "odd", "", abi.OpDelete},
	}
	if !reflect.DeepEqual(published, want) {
		t.Errorf("got  %v\nwant %v", published, want)
	}
}

func TestKeyingMessage(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	m := &nats.Msg{Subject: "e.1", Data: []byte("v"), Header: nats.Header{"KV-Operation": {"DEL"}, "B": {"2", "1"}, "A": {"", "x"}}}
	_, err := s.js.PublishMsg(t.Context(), m)
	check(t, err)
	f := follow(t, open(t, s.nc, Options{Stream: "E", KeyingMessage: true}), store.Position{}, NewPipe(2))
	for f.received == 0 {
		b, free := f.next()
		if b.Len() == 1 {
			u := b.Records[0]
			var headers []string
			for _, h := range b.Headers[u.Header : u.Header+u.Headers] {
				headers = append(headers, string(b.At(h.Name))+"="+string(b.At(h.Value)))
			}
			if want := []string{"A=", "A=x", "B=2", "B=1", "KV-Operation=DEL"}; !reflect.DeepEqual(headers, want) {
				t.Errorf("headers %q", headers)
			}
			if string(b.At(u.Subject)) != "e.1" || string(b.Key(0)) != seqKey(1) || u.Op != abi.OpPut || u.Time == 0 {
				t.Errorf("update %+v", u)
			}
		}
		free()
	}
	f.stop()
}

// A filter that matches nothing new: the heartbeats move the cursor.
func TestIdleAdvance(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.put("e.mine.1", "")
	f := follow(t, open(t, s.nc, Options{Stream: "E", Filter: "e.mine.>"}), store.Position{}, NewPipe(2))
	f.until(1)
	var last uint64
	for range 10 {
		last = s.put("e.other", "")
	}
	f.until(last)
	f.stop()
	if len(f.seen) != 1 || f.pos.Anchors[0].Seq != 1 {
		t.Errorf("seen %v, anchors %v", f.seen, f.pos.Anchors)
	}
	if st := f.source.Status(); st.Advances == 0 || st.Heartbeats == 0 {
		t.Errorf("status %+v", st)
	}
}

// No batch with updates spans a digest point, and the point before an update is a position of its own.
func TestDigestPoints(t *testing.T) {
	s := newSite(t)
	const point = store.PointEvery
	s.stream(jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}, FirstSeq: 3*point - 5})
	s.publish("e", 3, 8, 1) // over point 3
	// heartbeats would move the position by themselves
	f := follow(t, open(t, s.nc, Options{Stream: "E", Heartbeat: 10 * time.Second}), store.Position{}, NewPipe(6))
	f.until(3*point + 2)
	_, free := f.put1(s) // one batch stays in flight, so that the next one stays open
	s.publish("e", 3, 2, 1)
	st, err := s.js.Stream(t.Context(), "E")
	check(t, err)
	s.delivered(st) // what is stored need not be on its way, and would be gone
	check(t, st.Purge(t.Context(), jetstream.WithPurgeSequence(6*point+10)))
	last := s.put("e.far", "")
	for f.pos.Seq < last {
		_, freeNext := f.next()
		if f.pos.Seq == 6*point {
			free() // else the last update would wait for it
		}
		freeNext()
	}
	f.stop()
	var points []uint64
	var sizes []int
	for i, p := range f.batches {
		if p.Seq%point == 0 {
			points, sizes = append(points, p.Seq/point), append(sizes, f.sizes[i])
		}
	}
	// before the first update; between two; the open batch closed before the jump; the rest of the jump
	if want := []uint64{2, 3, 4, 6}; !slices.Equal(points, want) {
		t.Fatalf("batches end on the points %v, want %v", points, want)
	}
	if sizes[0] != 0 || sizes[1] == 0 || sizes[2] != 2 || sizes[3] != 0 {
		t.Errorf("batches that end on points hold %v updates", sizes)
	}
}

// put1 puts an update and receives its batch.
func (f *fold) put1(s *site) (*Batch, func()) {
	f.t.Helper()
	last := s.put("e.held", "")
	for {
		b, free := f.next()
		if f.pos.Seq == last {
			return b, free
		}
		free()
	}
}

// Nothing comes back: the source stops pulling, and goes on where it was.
func TestBackpressure(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	const total, batch, pull = 20000, 500, 1000
	s.publish("e", 7, total, 100)
	f := follow(t, open(t, s.nc, Options{Stream: "E", BatchRecords: batch, PullMessages: pull, Heartbeat: mute}), store.Position{}, NewPipe(3))
	var frees []func()
	for range 3 {
		_, free := f.next()
		frees = append(frees, free)
	}
	names := s.consumers("E")
	if len(names) != 1 {
		t.Fatalf("consumers %v", names)
	}
	c, err := s.js.Consumer(t.Context(), "E", names[0])
	check(t, err)
	if n := c.CachedInfo().Delivered.Consumer; n > 3*batch+2*pull {
		t.Errorf("the server delivered %d while nothing came back", n)
	}
	if n := len(f.pipe.Out); n != 0 {
		t.Errorf("%d batches more came", n)
	}
	for _, free := range frees {
		free()
	}
	f.until(total)
	f.stop()
	if len(f.seen) != total {
		t.Errorf("%d updates came", len(f.seen))
	}
}

// A message larger than a pull's bytes does not keep the loop from going on.
func TestLargeMessages(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.publish("e", 3, 40, 900<<10)
	src := open(t, s.nc, Options{Stream: "E", PullBytes: 1, BatchBytes: 1 << 20, Heartbeat: 10 * time.Second}) // a busy machine is not silence
	f := follow(t, src, store.Position{}, NewPipe(3))
	f.until(40)
	f.stop()
	if st := src.Status(); f.received != 40 || len(st.Resets) != 0 {
		t.Errorf("%d updates, resets %v", f.received, st.Resets)
	}
}

func TestMirrorBucket(t *testing.T) {
	s := newSite(t)
	s.bucket(jetstream.KeyValueConfig{Bucket: "origin"})
	s.bucket(jetstream.KeyValueConfig{Bucket: "copy", Mirror: &jetstream.StreamSource{Name: "origin"}})
	s.put("$KV.origin.a.b", "v")
	f := follow(t, open(t, s.nc, Options{Bucket: "copy", Filter: "a.>"}), store.Position{}, NewPipe(2))
	f.until(1)
	f.stop()
	if want := []seen{{1, "a.b", "v", abi.OpPut}}; !reflect.DeepEqual(f.seen, want) {
		t.Errorf("seen %v", f.seen)
	}
}
