package runtime

import (
	"math"
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

// TestStale takes the server away from a fold: it is stale once everything was folded last longer ago than it may be, and
// after a restart too.
func TestStale(t *testing.T) {
	s := newSite(t)
	last := s.put(s.bucket("edge", 1), "k", []byte("ax=1"))
	path, o := t.TempDir(), s.modelFold("edge")
	o.Staleness = time.Nanosecond
	r := start(t, path, store.Options{}, o)
	r.reach(last)
	eventually(t, "everything folded", func() bool { st := r.Status(); return st.CaughtUp && !st.Stale && st.BehindSince == "" })
	s.Stop()
	away := func() bool { st := r.Status(); return st.Code != "" && st.Stale && st.Ready && st.BehindSince != "" }
	eventually(t, "staleness", away)
	since := r.Status().HeldAt
	r.stop()
	r = start(t, path, store.Options{}, o)
	eventually(t, "staleness after a restart", away)
	if is := r.Status().HeldAt; is > since {
		t.Errorf("behind since %s, and since %s before the restart", rfc3339(is), rfc3339(since))
	}
	r.stop()
	o.Staleness = time.Hour
	r = start(t, path, store.Options{}, o)
	eventually(t, "NATS away", func() bool { return r.Status().Code != "" })
	if r.Status().Stale {
		t.Error("it is stale within the hour")
	}
	r.stop()
}

// TestStaleInFlight has an update arrive after a long idle time while commits wait for disk space: the fold is behind since
// then, not since its last commit.
func TestStaleInFlight(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	path, o := t.TempDir(), s.modelFold("edge")
	r := start(t, path, store.Options{}, o)
	r.reach(last)
	r.stop()
	was := r.Status().HeldAt
	r = start(t, path, store.Options{MinFreeDisk: math.MaxInt64 / 2}, o)
	var heard int64
	eventually(t, "the leader's word", func() bool { heard = r.Status().HeldAt; return heard > was })
	s.put(kv, "k", []byte("ax=2"))
	r.await("a pause", func(st Status) bool { return st.Code == CodeDiskLow && !st.CaughtUp })
	if since := r.Status().HeldAt; since < heard {
		t.Errorf("behind since %s, and everything was folded at %s", rfc3339(since), rfc3339(heard))
	}
	r.stop()
}
