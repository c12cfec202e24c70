package source

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/store"
)

// TestMirrorRefilled deletes a mirror under a source that reads it and makes it again: until it is filled as far as it
// was, it ends below the cursor and lacks the anchors; then it proves to be the same history, and the source goes on.
func TestMirrorRefilled(t *testing.T) {
	s := newSite(t)
	s.stream(jetstream.StreamConfig{Name: "ORIGIN", Subjects: []string{"e.>"}})
	mirror := jetstream.StreamConfig{Name: "E", Mirror: &jetstream.StreamSource{Name: "ORIGIN"}}
	s.stream(mirror)
	s.publish("e", 10, 5000, 100)
	src := open(t, s.nc, Options{Stream: "E"})
	src.opts.Settle = patience // it is as slow as the machine
	f := follow(t, src, store.Position{}, NewPipe(3))
	f.until(5000)
	for n := uint64(5000); n < 8000; n += 1000 {
		s.recreate(mirror)
		s.publish("e", 10, 1000, 100)
		f.until(n + 1000)
	}
	pos := f.stop()
	f.each(8000)
	if st := src.Status(); st.Mirror != "ORIGIN" || st.Checks["match"] == 0 {
		t.Errorf("mirror of %q, checks %v, resets %v", st.Mirror, st.Checks, st.Resets)
	}
	s.fewConsumers("E", 0)

	// a mirror of another history with the same seqs is not it
	s.recreate(jetstream.StreamConfig{Name: "ORIGIN", Subjects: []string{"e.>"}})
	s.publish("e", 10, 9000, 100)
	s.recreate(mirror)
	eventually(t, func() error { return s.reaches("E", 9000) })
	f = follow(t, src, pos, NewPipe(3))
	f.stopped(CodeRecreated)
}

// reaches says what a stream lacks to a last seq.
func (s *site) reaches(stream string, last uint64) error {
	st, err := s.js.Stream(s.t.Context(), stream)
	if err == nil && st.CachedInfo().State.LastSeq < last {
		err = fmt.Errorf("%s ends at %d", stream, st.CachedInfo().State.LastSeq)
	}
	return err
}

// TestSourcedBucket reads buckets that are filled from another: the keys are those under the bucket's own prefix. So they
// are in a mirror that renames its subjects.
func TestSourcedBucket(t *testing.T) {
	s := newSite(t)
	s.bucket(jetstream.KeyValueConfig{Bucket: "origin", History: 5})
	s.bucket(jetstream.KeyValueConfig{Bucket: "sourced", History: 5, Sources: []*jetstream.StreamSource{{Name: "origin"}}})
	s.bucket(jetstream.KeyValueConfig{Bucket: "below", History: 5, Sources: []*jetstream.StreamSource{{Name: "KV_origin",
		SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "$KV.origin.>", Destination: "$KV.below.from.origin.>"}}}}})
	s.bucket(jetstream.KeyValueConfig{Bucket: "renamed", History: 5, Mirror: &jetstream.StreamSource{Name: "KV_origin",
		SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "$KV.origin.>", Destination: "$KV.renamed.>"}}}})
	origin, err := s.js.KeyValue(t.Context(), "origin")
	check(t, err)
	for _, key := range []string{"a.b", "c", "gone"} {
		_, err := origin.PutString(t.Context(), key, "v "+key)
		check(t, err)
	}
	check(t, origin.Delete(t.Context(), "gone"))
	for bucket, below := range map[string]string{"sourced": "", "below": "from.origin.", "renamed": ""} {
		t.Run(bucket, func(t *testing.T) {
			f := follow(t, open(t, s.nc, Options{Bucket: bucket}), store.Position{}, NewPipe(2))
			f.until(4)
			f.stop()
			want := []seen{{1, below + "a.b", "v a.b", abi.OpPut}, {2, below + "c", "v c", abi.OpPut},
				{3, below + "gone", "v gone", abi.OpPut}, {4, below + "gone", "", abi.OpDelete}}
			if !reflect.DeepEqual(f.seen, want) {
				t.Errorf("got  %v\nwant %v", f.seen, want)
			}
		})
	}
}

// A leaf is a server of a domain of its own that is joined to another, the hub, by a leaf node connection.
type leaf struct {
	t         testing.TB
	dir       string
	port      int // for leaf nodes, of the hub
	hub, here *embedded.Server
	nc        *nats.Conn // to the leaf
	js        jetstream.JetStream
}

func newLeaf(t testing.TB) *leaf {
	t.Helper()
	l := &leaf{t: t, dir: t.TempDir(), port: spare(t)}
	l.startHub()
	l.here = l.start("leaf", fmt.Sprintf(`leafnodes { reconnect: 1, remotes: [{url: "nats://127.0.0.1:%d"}] }`, l.port))
	t.Cleanup(func() {
		l.here.Stop()
		l.hub.Stop()
	})
	l.nc = connect(t, l.here.URL())
	var err error
	l.js, err = jetstream.NewWithDomain(l.nc, "hub")
	check(t, err)
	return l
}

func (l *leaf) startHub() {
	l.t.Helper()
	l.hub = l.start("hub", fmt.Sprintf(`leafnodes { listen: "127.0.0.1:%d" }`, l.port))
}

func (l *leaf) start(domain, config string) *embedded.Server {
	l.t.Helper()
	path := filepath.Join(l.dir, domain+".conf")
	check(l.t, os.WriteFile(path, []byte(config), 0o600))
	return serverAt(l.t, embedded.Options{Name: domain, Domain: domain, Config: path, StoreDir: filepath.Join(l.dir, domain)})
}

// put stores a value in the hub, through the leaf, as soon as that works, and returns its seq: as nats.go writes to a
// bucket of another domain, whose subjects a leaf node does not forward. A value whose acknowledgement is lost is stored
// once all the same.
func (l *leaf) put(subject, value string) (seq uint64) {
	l.t.Helper()
	eventually(l.t, func() error {
		ack, err := l.js.Publish(l.t.Context(), "$JS.hub.API."+subject, []byte(value), jetstream.WithMsgID(subject+value), jetstream.WithRetryAttempts(0))
		if err == nil {
			seq = ack.Sequence
		}
		return err
	})
	return seq
}

// TestLeafNode reads, from a connection to a leaf node, a bucket in the hub's domain, and a mirror of it in the leaf's,
// while the hub goes away and comes back.
func TestLeafNode(t *testing.T) {
	l := newLeaf(t)
	eventually(t, func() error {
		_, err := l.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
		return err
	})
	local, err := jetstream.NewWithDomain(l.nc, "leaf")
	check(t, err)
	_, err = local.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KV_copy", Mirror: &jetstream.StreamSource{Name: "KV_b", Domain: "hub"}})
	check(t, err)
	src := open(t, l.nc, Options{Bucket: "b", Domain: "hub"})
	src.pace.api = 2 * time.Second // what the hub was asked as it went away it never answers
	far := follow(t, src, store.Position{}, NewPipe(2))
	var want []seen
	write := func(round int) (last uint64) {
		for i := range 10 {
			key, value := fmt.Sprintf("%d.%d", round, i), fmt.Sprint(i)
			last = l.put("$KV.b."+key, value)
			want = append(want, seen{last, key, value, abi.OpPut})
		}
		return last
	}
	last := write(0)
	far.until(last)
	near := follow(t, open(t, l.nc, Options{Bucket: "copy", Domain: "leaf"}), store.Position{}, NewPipe(2))
	near.until(last)
	near.stop()
	same(t, near.seen, want)
	for round := range 2 {
		l.hub.Stop()
		l.startHub()
		far.until(write(round + 1))
	}
	far.stop()
	same(t, far.seen, want)
	t.Log(far.source.Status().Resets)
	for stream, js := range map[string]jetstream.JetStream{"KV_b": l.js, "KV_copy": local} {
		st, err := js.Stream(t.Context(), stream)
		check(t, err)
		eventually(t, func() error { // only the last session's deletion is waited for
			for name := range st.ConsumerNames(t.Context()).Name() {
				return fmt.Errorf("consumer %s of %s is left", name, stream)
			}
			return nil
		})
	}
}

// TestMirrorWithoutOrigin makes a mirror anew while its origin is away: it is empty, and nobody can say how far behind
// it is. The source waits, and goes on once the mirror is filled.
func TestMirrorWithoutOrigin(t *testing.T) {
	l := newLeaf(t)
	eventually(t, func() error {
		_, err := l.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
		return err
	})
	local, err := jetstream.NewWithDomain(l.nc, "leaf")
	check(t, err)
	mirror := jetstream.StreamConfig{Name: "KV_copy", Mirror: &jetstream.StreamSource{Name: "KV_b", Domain: "hub"}}
	_, err = local.CreateStream(t.Context(), mirror)
	check(t, err)
	last := l.put("$KV.b.k", "v")
	src := open(t, l.nc, Options{Bucket: "copy", Domain: "leaf"})
	f := follow(t, src, store.Position{}, NewPipe(2))
	f.until(last)
	l.hub.Stop()
	recreate(t, local, filepath.Join(l.dir, "leaf"), mirror)
	eventually(t, func() error {
		if st := src.Status(); st.Resets["refilling"] == 0 {
			return fmt.Errorf("%s: %s", st.State, st.Reason)
		}
		return nil
	})
	f.stop()
}
