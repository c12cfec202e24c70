package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// scattering returns commits each of which changes all rows, and is so large that it is ingested: the tables of each overlap those
// of all others, so that a read looks into one more.
func scattering(rng *rand.Rand, commits, size int) (h []step) {
	const sources = 60
	for n := range commits {
		s := step{pos: Position{Stream: "S", Created: 1, Seq: uint64((n + 1) * sources)}}
		for i := range sources {
			e := event{source: fmt.Sprintf("s%02d", i), seq: uint64(n*sources + i + 1), time: 1}
			value := make([]byte, size)
			for j := range value {
				value[j] = byte(rng.Uint32())
			}
			e.entries = []entry{{0, fmt.Sprintf("k%02d", i), string(value), 0}, {1, fmt.Sprintf("k%02d", i/2), string(value[:20]), 0}}
			s.events = append(s.events, e)
		}
		h = append(h, s)
	}
	return h
}

// A scattered is a store whose rows lie in many tables, on a file system that is watched.
type scattered struct {
	t       *testing.T
	fs      *hookFS
	d       *Dir
	db      *DB
	history []step
	done    int
	worlds  map[uint64]*world
}

// scatter makes a store by some of 20 commits.
func scatter(t *testing.T, commits int, o Options) *scattered {
	t.Helper()
	x := &scattered{t: t, fs: &hookFS{FS: vfs.NewMem(), before: func(string, string) error { return nil }, usage: func() (vfs.DiskUsage, error) { return vfs.DiskUsage{AvailBytes: 1 << 40}, nil }},
		history: scattering(seeded(t), 20, 4000)}
	x.worlds = replay(twoIndexes, x.history)
	y := options(x.fs)
	y.MinFreeDisk = o.MinFreeDisk
	var err error
	x.d, x.db, err = openStore(dataDir, y, twoIndexes)
	ok(t, err)
	t.Cleanup(func() {
		x.agrees()
		ok(t, closeStore(x.d, x.db))
	})
	for range commits {
		x.commit()
	}
	ok(t, x.db.pebble.Flush())
	if n := x.tables(); n < commits {
		t.Fatalf("%d commits lie in %d tables, one over the other", commits, n)
	}
	return x
}

func (x *scattered) commit() {
	x.t.Helper()
	_, err := commitStep(x.db, x.history[x.done])
	ok(x.t, err)
	x.done++
}

// agrees asks whether the store is whole, and what its commits make it.
func (x *scattered) agrees() {
	x.t.Helper()
	if x.done > 0 {
		ok(x.t, errors.Join(checkStore(x.db), x.worlds[x.db.State().Position().Seq].compare(x.db)))
	}
}

// tables returns how many a read may have to look into.
func (x *scattered) tables() int {
	m, _ := x.db.Metrics()
	return m.ReadAmp
}

// compact compacts the store, in so many steps; -1: some.
func (x *scattered) compact(steps int, o CompactOptions) {
	x.t.Helper()
	did, err := x.db.Compact(x.t.Context(), o)
	ok(x.t, err)
	if did.Steps != steps && (steps != -1 || did.Steps == 0) {
		x.t.Errorf("%+v, want %d steps", did, steps)
	}
	x.agrees()
}

func TestCompact(t *testing.T) {
	x := scatter(t, 5, Options{})
	x.compact(-1, CompactOptions{})
	if n := x.tables(); n != 1 {
		t.Errorf("%d tables", n)
	}
	x.compact(0, CompactOptions{}) // nothing changed
	x.commit()
	x.compact(0, CompactOptions{}) // half of it lies above, but in one table
	for range 2 {
		x.commit()
	}
	x.compact(-1, CompactOptions{})
	if n := x.tables(); n != 1 {
		t.Errorf("%d tables", n)
	}
}

// TestCompactLittle: tables in which there is next to nothing are no reason to write all others anew, but where they are many, once
// for each time that the store is opened.
func TestCompactLittle(t *testing.T) {
	x := scatter(t, 5, Options{})
	x.compact(-1, CompactOptions{})
	x.little(tooMany)
	x.compact(0, CompactOptions{})
	x.reopen()
	x.compact(-1, CompactOptions{})
	if n := x.tables(); n != 1 {
		t.Errorf("%d tables", n)
	}
	x.little(tooMany)
	x.compact(0, CompactOptions{})
	x.reopen()
	x.compact(-1, CompactOptions{})
	x.reopen()
	x.little(tooMany - 2)
	x.compact(0, CompactOptions{})
	x.little(1)
	x.compact(-1, CompactOptions{})
}

// little makes so many tables of next to nothing.
func (x *scattered) little(n int) {
	x.t.Helper()
	before, pos := x.tables(), x.db.State().Position()
	for range n {
		pos.Seq++
		s := step{pos: pos, events: []event{{source: "s00", seq: pos.Seq, time: 1}}}
		x.worlds[pos.Seq], _ = x.worlds[pos.Seq-1].after(s)
		_, err := commitStep(x.db, s)
		ok(x.t, err)
		ok(x.t, x.db.pebble.Flush())
	}
	if is := x.tables(); is != before+n {
		x.t.Fatalf("%d tables, and %d before", is, before)
	}
}

func (x *scattered) reopen() {
	x.t.Helper()
	ok(x.t, closeStore(x.d, x.db))
	var err error
	x.d, x.db, err = openStore(dataDir, options(x.fs), twoIndexes)
	ok(x.t, err)
}

// TestCompactLeft: what could not be merged is no reason to try it again and again.
func TestCompactLeft(t *testing.T) {
	x := scatter(t, 5, Options{})
	x.fs.before = func(kind, name string) error {
		if kind == "write" && strings.HasSuffix(name, ".sst") {
			return syscall.EIO
		}
		return nil
	}
	if did, err := x.db.Compact(t.Context(), CompactOptions{}); !errors.Is(err, syscall.EIO) || did.Steps != 1 {
		t.Errorf("%+v, %v", did, err)
	}
	x.fs.before = func(string, string) error { return nil }
	x.compact(0, CompactOptions{})
	x.commit()
	x.compact(-1, CompactOptions{})
}

// TestCompactSteps: it ends between two steps, and goes on there.
func TestCompactSteps(t *testing.T) {
	x := scatter(t, 5, Options{})
	if keys, err := x.db.cuts(); err != nil || len(keys) < 3 || len(keys)-1 > mostSteps+1 {
		t.Errorf("%d ranges: %v", len(keys)-1, err)
	}
	x.compact(1, CompactOptions{While: func() bool {
		m, _ := x.db.Metrics()
		return m.Compactions == 0
	}})
	if x.tables() == 1 {
		t.Error("one step merged all")
	}
	x.compact(-1, CompactOptions{})
	if n := x.tables(); n != 1 {
		t.Errorf("%d tables", n)
	}
}

// held has a compaction wait ahead of an operation on a table until release; begun is closed when it waits.
func (x *scattered) held(op string) (begun chan struct{}, release func()) {
	begun, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	x.fs.before = func(kind, name string) error {
		if kind == op && strings.HasSuffix(name, ".sst") {
			once.Do(func() {
				close(begun)
				<-end
			})
		}
		return nil
	}
	return begun, func() { close(end) }
}

// TestCompactBeside: commits and reads do not wait for a step.
func TestCompactBeside(t *testing.T) {
	x := scatter(t, 5, Options{})
	begun, release := x.held("write")
	var busy atomic.Bool
	done := make(chan error)
	go func() {
		did, err := x.db.Compact(context.Background(), CompactOptions{While: func() bool { return !busy.Load() }})
		if err == nil && did.Steps != 1 {
			err = fmt.Errorf("%+v: the steps went on beside a fold that does not stand", did)
		}
		done <- err
	}()
	<-begun
	busy.Store(true)
	over, end := context.WithCancel(t.Context())
	end()
	if _, err := x.db.Compact(over, CompactOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("another one did not wait: %v", err)
	}
	for range 3 {
		x.commit()
		x.agrees()
	}
	release()
	ok(t, <-done)
}

// TestCompactLeaves: who ends it does not wait for the step in hand, which goes on by itself.
func TestCompactLeaves(t *testing.T) {
	x := scatter(t, 5, Options{})
	before := x.tables()
	begun, release := x.held("create")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := x.db.Compact(ctx, CompactOptions{})
		done <- err
	}()
	<-begun
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended by %v", err)
	}
	release()
	for deadline := time.Now().Add(time.Minute); ; goruntime.Gosched() {
		if m, _ := x.db.Metrics(); m.Compacting == 0 && m.ReadAmp < before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d tables, %d before: the step in hand is not done", x.tables(), before)
		}
	}
	x.agrees()
	if n := x.db.compactions.Load(); n != 0 {
		t.Errorf("%d compactions failed", n)
	}
}

// TestCompactCut: who ends it, or closes the store, does not wait for the step in hand, and finds the store as it was.
func TestCompactCut(t *testing.T) {
	for _, closes := range []bool{false, true} {
		t.Run(fmt.Sprintf("closes=%t", closes), func(t *testing.T) {
			x := scatter(t, 5, Options{})
			before := x.tables()
			begun, release := x.held("create")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			done, closed := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := x.db.Compact(ctx, CompactOptions{})
				done <- err
			}()
			<-begun
			want := context.Canceled
			if closes {
				want = ErrClosed
			} else {
				stop()
			}
			go func() { closed <- x.db.Close() }()
			if err := <-done; !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			for deadline := time.Now().Add(time.Minute); !x.db.closing.Load(); goruntime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatal("the store is not closed")
				}
			}
			release()
			ok(t, errors.Join(<-closed, x.d.Close()))
			var err error
			was := x.db
			x.d, x.db, err = openStore(dataDir, options(x.fs), twoIndexes)
			ok(t, err)
			x.agrees()
			if n := x.tables(); n < before {
				t.Errorf("%d tables, %d before: the step was done", n, before)
			}
			if n := was.compactions.Load(); n != 0 {
				t.Errorf("%d compactions are said to have failed", n)
			}
		})
	}
}

// TestCompactRoom: there is room for the store a second time, or it is left as it is.
func TestCompactRoom(t *testing.T) {
	x := scatter(t, 5, Options{MinFreeDisk: 1 << 20})
	size, _ := sizes(x.db.pebble.Metrics())
	free := 1<<20 + uint64(small.Memtables()) + size
	x.fs.usage = func() (vfs.DiskUsage, error) { return vfs.DiskUsage{AvailBytes: free - 1}, nil }
	if did, err := x.db.Compact(t.Context(), CompactOptions{}); !errors.Is(err, ErrDiskLow) || did.Steps != 0 {
		t.Errorf("%+v, %v", did, err)
	}
	x.fs.usage = func() (vfs.DiskUsage, error) { return vfs.DiskUsage{AvailBytes: free}, nil }
	used, err := x.d.Used("f")
	ok(t, err)
	if did, err := x.db.Compact(t.Context(), CompactOptions{Quota: used + int64(size) - 1}); !errors.Is(err, ErrQuota) || did.Steps != 0 {
		t.Errorf("%+v, %v", did, err)
	}
	x.fs.usage = func() (vfs.DiskUsage, error) { return vfs.DiskUsage{AvailBytes: 1 << 40}, nil }
	x.compact(-1, CompactOptions{Quota: 1 << 40})
}

func TestCompactReadOnly(t *testing.T) {
	x := scatter(t, 5, Options{})
	ok(t, closeStore(x.d, x.db))
	o := options(x.fs)
	o.ReadOnly = true
	d, err := OpenDir(dataDir, o)
	ok(t, err)
	db, err := d.Open("f", x.db.Generation())
	ok(t, err)
	if _, err := db.Compact(t.Context(), CompactOptions{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("%v", err)
	}
	ok(t, closeStore(d, db))
	if x.d, x.db, err = openStore(dataDir, options(x.fs), twoIndexes); err != nil {
		t.Fatal(err)
	}
}

// TestCrashCompact is TestCrash for a store that is compacted now and then.
func TestCrashCompact(t *testing.T) {
	rng := seeded(t)
	c := &camera{sync: SyncAlways, share: 1, rng: rng, history: scattering(rng, 6, 400), every: 5}
	ok(t, c.run(twoIndexes))
	c.report(t)
	if c.steps == 0 || c.images == 0 || c.reopened < c.images || c.ops["write .sst"] == 0 || c.ops["remove .sst"] == 0 {
		t.Errorf("%d steps; %v", c.steps, c.ops)
	}
	for _, s := range c.bad[:min(len(c.bad), 10)] {
		t.Error(s)
	}
}

func TestPace(t *testing.T) {
	var rests []time.Duration
	start := time.Now()
	p := &pace{ctx: t.Context(), since: start, rest: func(_ context.Context, d time.Duration) { rests = append(rests, d) }}
	for _, at := range []time.Duration{workMost - 1, workMost, 2*workMost + 1, 3 * workMost, time.Minute} {
		p.wait(start.Add(at))
	}
	ctx, cut := context.WithCancel(t.Context())
	p.ctx = ctx
	cut()
	p.wait(start.Add(2 * time.Minute)) // who is to be done does not rest
	if want := []time.Duration{workMost, workMost, restMost}; fmt.Sprint(rests) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", rests, want)
	}
}
