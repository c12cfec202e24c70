package runtime

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// awaitStatus waits until ok holds of a fold's status, as runner.await does.
func awaitStatus(t testing.TB, f *Fold, ok func(Status) bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		moved := f.Moved()
		if ok(f.Status()) {
			return
		}
		select {
		case <-moved:
		case <-again.C:
		case <-late.C:
			t.Fatalf("fold %s: %+v", f.Name(), f.Status())
		}
	}
}

// TestDaemonOneFailsAlone runs four folds of which two cannot: the others go on, and all say what they do.
func TestDaemonOneFailsAlone(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	s.put(kv, "k", []byte("ax=1"))
	must(s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "JOBS", Subjects: []string{"jobs"}, Retention: jetstream.WorkQueuePolicy}))(t)
	named := func(name string, change func(*FoldOptions)) FoldOptions {
		o := s.modelFold("edge")
		o.Name = name
		change(&o)
		return o
	}
	dir := openDir(t, t.TempDir(), store.Options{Memory: must(store.SplitMemory(128<<20, 4, 0))(t)})
	var folds []*Fold
	for _, o := range []FoldOptions{
		named("good", func(*FoldOptions) {}),
		named("other", func(o *FoldOptions) { o.Collisions = nil }),
		named("module", func(o *FoldOptions) {
			o.Wasm, o.Collisions, o.Module.Config = testModule(t, "odd"), nil, []byte(`{"trap": true}`)
		}),
		named("queue", func(o *FoldOptions) { o.Source = source.Options{Stream: "JOBS"} }),
	} {
		folds = append(folds, must(NewFold(t.Context(), dir, o))(t))
	}
	d := NewDaemon(dir, folds)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		d.Run(ctx)
		close(done)
	}()
	for name, want := range map[string]struct{ code, reason, hint string }{
		"module": {CodeModule, "module odd does not start: foldrun_init: wasm error: unreachable", "module"},
		"queue":  {source.CodeRefused, "stream JOBS has workqueue retention", "nats stream add"},
	} {
		awaitStatus(t, d.Fold(name), func(st Status) bool { return st.State == StateStopped })
		st := d.Fold(name).Status()
		if st.Code != want.code || !strings.Contains(st.Reason, want.reason) || !strings.Contains(st.Hint, want.hint) {
			t.Errorf("fold %s: code %q, reason %q, hint %q", name, st.Code, st.Reason, st.Hint)
		}
	}
	last := s.put(kv, "later", []byte("ax=2"))
	for _, name := range []string{"good", "other"} {
		awaitStatus(t, d.Fold(name), func(st Status) bool { return st.Seq >= last && st.Code == "" })
		if st := d.Fold(name).Status(); st.Indexes[0].Rows != 2 {
			t.Errorf("fold %s: %+v", name, st)
		}
	}
	stop()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the daemon does not end")
	}
	for _, f := range d.Folds() {
		if db := f.Store(); db != nil {
			whole(t, db)
		}
	}
	check(t, d.Close(context.Background()))
	check(t, dir.Close())
}

// TestGracefulStop ends a fold amid a burst: whatever was read by then is committed, and the next start goes on there.
func TestGracefulStop(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 64)
	for i := range 3000 {
		must(s.js.PublishAsync(fmt.Sprintf("$KV.edge.k%d", i%100), fmt.Appendf(nil, "a%d=%d;b%d", i%7, i, i%11)))(t)
	}
	<-s.js.PublishAsyncComplete()
	s.put(kv, "last", []byte("a"))
	o := s.modelFold("edge")
	o.Source.BatchRecords = 50
	path := t.TempDir()
	seq := uint64(0)
	for range 5 {
		r := start(t, path, store.Options{}, o)
		r.await("a commit", func(st Status) bool { return st.Counts.Batches > 0 || st.CaughtUp })
		if from := r.Status().StartSeq; from != seq {
			t.Errorf("it began at %d, the stop before left %d", from, seq)
		}
		r.end()
		check(t, r.wait())
		st := r.Status()
		if handed := r.source().Seq; st.Seq < seq || st.Seq != handed {
			t.Errorf("stopped at %d, %d was read", st.Seq, handed)
		}
		seq = st.Seq
		whole(t, r.Store())
		r.close()
	}
	s.settle(path, o, nil)
}

// source is what the fold's source says of itself.
func (r *runner) source() source.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cur.src.Status()
}

// TestDiskLow starts a fold where more free space is asked for than there is: it pauses and says so, reads go on, and
// it folds once there is room.
func TestDiskLow(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	path := t.TempDir()
	r := start(t, path, store.Options{}, s.modelFold("edge"))
	r.reach(last)
	r.stop()

	s.put(kv, "k", []byte("ax=2"))
	r = start(t, path, store.Options{MinFreeDisk: math.MaxInt64 / 2}, s.modelFold("edge"))
	r.await("a pause", func(st Status) bool { return st.Code == CodeDiskLow })
	st := r.Status()
	if st.State != StateWaiting || st.Seq != last || !strings.Contains(st.Reason, "MiB free at "+path) {
		t.Errorf("paused: %+v", st)
	}
	if st.Hint == "" {
		t.Error("paused without a hint")
	}
	equal(t, "rows while paused", r.rows(0, store.Range{}), `"x" "k" "1"`)
	r.stop() // a pause does not hold up a stop
	s.settle(path, s.modelFold("edge"), nil)
}

// TestQuota: a fold that takes more than its quota pauses, and goes on under another one; reads go on.
func TestQuota(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	path := t.TempDir()
	r := start(t, path, store.Options{}, s.modelFold("edge"))
	r.reach(last)
	r.stop()

	s.put(kv, "k", []byte("ax=2"))
	o := s.modelFold("edge")
	o.DiskQuota = 1
	r = start(t, path, store.Options{}, o)
	r.await("a pause", func(st Status) bool { return st.Code == CodeQuota })
	if st := r.Status(); st.State != StateWaiting || st.Seq != last || st.Hint == "" {
		t.Errorf("paused: %+v", st)
	}
	equal(t, "rows while paused", r.rows(0, store.Range{}), `"x" "k" "1"`)
	r.stop()
	s.settle(path, s.modelFold("edge"), nil)
}

// TestQuotaOfBuild: a build for which the quota has no room beside what serves is not begun, and what serves follows on.
func TestQuotaOfBuild(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	path := t.TempDir()
	r := start(t, path, store.Options{}, s.modelFold("edge"))
	r.reach(last)
	size := must(r.Store().Size())(t)
	r.stop()

	o := s.modelFold("edge")
	o.Collisions, o.DiskQuota = nil, size+size/2
	r = start(t, path, store.Options{}, o)
	r.await("a hold", func(st Status) bool { return st.Code == CodeQuota })
	r.reach(s.put(kv, "k", []byte("ax=2")))
	if st := r.Status(); st.Build != nil || st.Hint == "" {
		t.Errorf("held: %+v", st)
	}
	r.stop()
	o.DiskQuota = 100 * size
	s.settle(path, o, nil)
}

// TestOtherIdentity starts a fold with another configuration while there is no server: the generation that is there
// answers reads, and nothing is folded into it. The one that is configured replaces it once it is built.
func TestOtherIdentity(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	path := t.TempDir()
	r := start(t, path, store.Options{}, s.modelFold("edge"))
	r.reach(last)
	r.stop()

	s.put(kv, "k", []byte("ax=2"))
	o := s.modelFold("edge")
	o.Collisions = nil
	s.Stop()
	r = start(t, path, store.Options{}, o)
	r.await("a build", func(st Status) bool { return st.Build != nil })
	if st := r.Status(); st.State != StateRebuilding || st.Code != CodeIdentity || st.Seq != last || !strings.Contains(st.Reason, "indexes differ") {
		t.Errorf("building: %+v", st)
	}
	equal(t, "rows", r.rows(0, store.Range{}), `"x" "k" "1"`)
	s.again()
	r.await("a switch", func(st Status) bool { return st.State == StateFollowing && st.Seq == last+1 })
	equal(t, "rows", r.rows(0, store.Range{}), `"x" "k" "2"`)
	r.stop()
}
