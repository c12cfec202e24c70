package runtime

import (
	"fmt"
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

// TestCompact: a store that many flushes left in many tables is compacted when its fold stands, beside a trickle of updates.
func TestCompact(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("compact", 1)
	path, so := t.TempDir(), store.Options{Sync: store.SyncNever, Memory: must(store.SplitMemory(64<<20, 1, 0))(t)}
	memtable := so.Memory.Memtable
	o := s.modelFold("compact")
	open := func(after time.Duration) *runner {
		dir := openDir(t, path, so)
		f := must(NewFold(t.Context(), dir, o))(t)
		f.compactAfter = after
		return run(t, dir, f)
	}
	tables := func(r *runner) int {
		m, _ := r.Store().Metrics()
		return m.ReadAmp
	}
	rng, value := seeded(t), make([]byte, 2000)
	so.Memory.Memtable = 64 << 10
	r := open(time.Hour)
	for n, last := 0, uint64(0); n == 0 || tables(r) < 6; n++ {
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		last = s.put(kv, fmt.Sprint("k", n%50), value)
		r.reach(last)
	}
	r.stop()

	so.Memory.Memtable = memtable // the trickle fills none, so that Pebble has no reason of its own
	r = open(0)
	r.await("a store", func(Status) bool { return r.Store() != nil })
	trickle, late := time.NewTimer(0), time.NewTimer(patience)
	defer trickle.Stop()
	defer late.Stop()
	for n := 0; tables(r) > 2; n++ {
		select {
		case <-trickle.C:
			began := time.Now()
			r.reach(s.put(kv, "k0", fmt.Append(nil, n)))
			trickle.Reset(max(10*time.Millisecond, 4*time.Since(began))) // on a slow machine too it has caught up most of the time
		case <-late.C:
			t.Fatalf("a read may still have to look into %d tables", tables(r))
		}
	}
	whole(t, r.Store())
	r.mu.Lock()
	cur := r.cur
	r.mu.Unlock()
	if !cur.serves() || r.follower(cur.db, true).serves() {
		t.Error("what serves is not told from what is built")
	}
	r.stop()
}

// TestLull: what commits much does not stand.
func TestLull(t *testing.T) {
	l := &lull{bytes: 1 << 30}
	for _, x := range []struct {
		more  uint64
		took  time.Duration
		stand bool
	}{{0, time.Second, true}, {standsBelow, time.Second, true}, {standsBelow + 1, time.Second, false}, {standsBelow, 900 * time.Millisecond, false}, {3 * standsBelow, time.Minute, true}} {
		if is := l.calm(1<<30+x.more, x.took); is != x.stand {
			t.Errorf("%d bytes in %v: %v", x.more, x.took, is)
		}
	}
}
