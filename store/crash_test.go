package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A camera runs a history on a file system and takes images of it, as a crash could leave it, ahead of every write
// operation: with none, some and all of what was not synced. Each image is opened, judged and written on.
type camera struct {
	sync    Sync
	share   float64 // of the operations that are taken
	history []step
	at      map[uint64]*world
	apply   func(*pebble.DB, *pebble.Batch, *pebble.WriteOptions) error
	ingest  func(*pebble.DB, []string) error
	every   int // so many commits the store is compacted, and images are taken then alone; 0 = never
	steps   int // of that

	acked   atomic.Uint64 // the last position that is on disk for certain: of a commit, or of a flush after it
	begun   atomic.Uint64 // the last position that a commit was begun for
	current atomic.Pointer[string]
	merging atomic.Bool // the store is just being compacted

	shutter sync.Mutex // guards what follows
	rng     *rand.Rand
	ops     map[string]int // by kind and sort of file
	images  int

	queue    chan image
	bench    sync.Mutex // guards what follows
	bad      []string
	reopened int // images that held more than nothing
}

// An image is a disk after a crash, and what had been promised by then.
type image struct {
	fs      *vfs.MemFS
	at      string
	acked   uint64
	current string
}

// run runs the history with images taken, and returns when all are judged.
func (c *camera) run(specs []IndexSpec) error {
	c.ops, c.at, c.queue = map[string]int{}, replay(specs, c.history), make(chan image, 2)
	var judges sync.WaitGroup
	for range 2 {
		judges.Go(func() {
			for i := range c.queue {
				c.judge(i)
			}
		})
	}
	mem := vfs.NewCrashableMem()
	fs := &hookFS{FS: mem}
	fs.before = func(kind, name string) error { c.shoot(fs, mem, kind, name); return nil }
	o := options(fs)
	o.Sync, o.apply, o.ingest = c.sync, c.apply, c.ingest
	err := c.drive(o, specs)
	close(c.queue)
	judges.Wait()
	return err
}

// drive is the life of a store: made, made current, written, closed and opened half-way, closed.
func (c *camera) drive(o Options, specs []IndexSpec) error {
	d, db, err := openKeeping(dataDir, o, specs)
	if err != nil {
		return err
	}
	if err := d.SetCurrent("f", db.Generation()); err != nil {
		return err
	}
	generation := db.Generation()
	c.current.Store(&generation)
	for i, s := range c.history {
		if i == len(c.history)/2 && !db.Waiting() {
			if err := closeStore(d, db); err != nil {
				return err
			}
			if d, db, err = openKeeping(dataDir, o, specs); err != nil {
				return err
			}
		}
		c.begun.Store(s.pos.Seq)
		if _, err := commitStep(db, s); err != nil {
			return err
		}
		if c.every > 0 && i%c.every == 0 {
			c.merging.Store(true)
			did, err := db.Compact(context.Background(), CompactOptions{})
			c.merging.Store(false)
			if err != nil {
				return err
			}
			c.steps += did.Steps
		}
		if c.sync == SyncSecond && i%5 != 0 || db.Waiting() {
			continue
		}
		if err := db.Flush(); err != nil {
			return err
		}
		c.acked.Store(s.pos.Seq)
	}
	return closeStore(d, db)
}

// shoot takes the images of one moment.
func (c *camera) shoot(fs *hookFS, mem *vfs.MemFS, kind, name string) {
	c.shutter.Lock()
	defer c.shutter.Unlock()
	c.ops[kind+" "+fileSort(name)]++
	if kind == "close" || c.every > 0 && !c.merging.Load() || c.rng.Float64() >= c.share {
		return
	}
	i := image{acked: c.acked.Load()}
	if p := c.current.Load(); p != nil {
		i.current = *p
	}
	for _, percent := range []int{0, 50, 100} {
		i.at = fmt.Sprintf("%s %s at %d, %d %% of the unsynced kept", kind, name, c.begun.Load(), percent)
		fs.cloning.Lock()
		i.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng})
		fs.cloning.Unlock()
		c.images++
		c.queue <- i
	}
}

// fileSort says what a file is, "dir" when it is none.
func fileSort(name string) string {
	for _, s := range []string{".log", ".sst", runSuffix, "MANIFEST", "marker", "OPTIONS", "FORMAT", "CURRENT", "LOCK", ".dbtmp"} {
		if strings.Contains(name[strings.LastIndexByte(name, '/')+1:], s) {
			return s
		}
	}
	return "dir"
}

// judge opens an image and asks: does what is there agree, is all there that was acknowledged, can it go on?
func (c *camera) judge(i image) {
	held, err := c.verdict(i)
	c.bench.Lock()
	defer c.bench.Unlock()
	if held {
		c.reopened++
	}
	if err != nil {
		c.bad = append(c.bad, fmt.Sprintf("%s: %v", i.at, err))
	}
}

func (c *camera) verdict(i image) (held bool, err error) {
	d, db, err := openKeeping(dataDir, options(i.fs), twoIndexes)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, closeStore(d, db)) }()
	current, err := d.Current("f")
	if err != nil || current != i.current && (i.current != "" || current != db.Generation()) {
		return false, fmt.Errorf("current is %q, want %q (%v)", current, i.current, err)
	}
	seq := db.State().Position().Seq
	w := c.at[seq]
	switch {
	case w == nil:
		return true, fmt.Errorf("cursor %d is of no commit", seq)
	case c.sync != SyncNever && seq < i.acked:
		return true, fmt.Errorf("cursor %d, acknowledged %d", seq, i.acked)
	}
	if err := errors.Join(checkStore(db), w.compare(db)); err != nil {
		return true, err
	}
	for n, s := range c.history {
		if s.pos.Seq <= seq {
			continue
		}
		for _, s := range c.history[n:min(n+2, len(c.history))] {
			s.more = false
			if _, err := commitStep(db, s); err != nil {
				return true, fmt.Errorf("going on: %w", err)
			}
			w, _ = w.after(s)
		}
		return seq > 0, errors.Join(checkStore(db), w.compare(db))
	}
	return seq > 0, nil
}

// crashHistory is one that fills memtables, so that logs are recycled and tables compacted.
func crashHistory(rng *rand.Rand, steps int) []step {
	return history(rng, style{steps: steps, sources: 40, events: 30, value: 400})
}

func (c *camera) report(t *testing.T) {
	t.Logf("%d images, %d of them with a cursor, %d bad; write operations: %v", c.images, c.reopened, len(c.bad), c.ops)
}

func TestCrash(t *testing.T) {
	for _, policy := range []Sync{SyncAlways, SyncSecond, SyncNever} {
		t.Run(string(policy), func(t *testing.T) {
			rng := seeded(t)
			c := &camera{sync: policy, share: 0.25 / slow, rng: rng, history: crashHistory(rng, 60)}
			if *all {
				c.share = 1
			}
			if err := c.run(twoIndexes); err != nil {
				t.Fatal(err)
			}
			c.report(t)
			for _, op := range []string{"reuse .log", "create .sst", "sync .log", "rename CURRENT", "write .log", "remove .sst"} {
				if c.ops[op] == 0 {
					t.Errorf("no %q in the run", op)
				}
			}
			if c.images < 300/slow/2 || c.reopened < c.images/2 {
				t.Errorf("%d images, %d with a cursor: too few to mean anything", c.images, c.reopened)
			}
			for _, s := range c.bad[:min(len(c.bad), 10)] {
				t.Error(s)
			}
		})
	}
}

// waitingHistory is one of commits so large that few wait, and most are ingested.
func waitingHistory(rng *rand.Rand, steps int) []step {
	return wait(rng, history(rng, style{steps: steps, sources: 40, events: 30, value: 2000}))
}

// wait has most commits of a history wait for those that follow.
func wait(rng *rand.Rand, h []step) []step {
	for i := range h[:len(h)-1] {
		h[i].more = rng.IntN(5) > 0
	}
	return h
}

// TestCrashWaiting is TestCrash for commits that wait and are stored together, most of them by ingestion.
func TestCrashWaiting(t *testing.T) {
	rng := seeded(t)
	c := &camera{sync: SyncAlways, share: 0.12 / slow, rng: rng, history: waitingHistory(rng, 40)}
	if *all {
		c.share = 1
	}
	ok(t, c.run(twoIndexes))
	c.report(t)
	for _, op := range []string{"create .run", "write .run", "sync .run", "remove .run", "link .sst", "write .log"} {
		if c.ops[op] == 0 {
			t.Errorf("no %q in the run", op)
		}
	}
	if c.images < 100/slow || c.reopened < c.images/2 {
		t.Errorf("%d images, %d with a cursor: too few to mean anything", c.images, c.reopened)
	}
	for _, s := range c.bad[:min(len(c.bad), 10)] {
		t.Error(s)
	}
}

// TestIngestSabotage breaks the law that TestCrashWaiting guards and asserts that it is noticed.
func TestIngestSabotage(t *testing.T) {
	rng := seeded(t)
	c := &camera{sync: SyncAlways, share: 0.3 / slow, rng: rng, history: waitingHistory(rng, 12)}
	c.ingest = func(p *pebble.DB, paths []string) error {
		var err error
		for _, path := range paths {
			err = errors.Join(err, p.Ingest(context.Background(), []string{path}))
		}
		return err
	}
	ok(t, c.run(twoIndexes))
	c.report(t)
	if len(c.bad) == 0 {
		t.Error("tables of one act were ingested one by one, and no image showed it")
	}
}

// TestCrashSabotage breaks the law that TestCrash guards and asserts that it is noticed.
func TestCrashSabotage(t *testing.T) {
	parts := func(w *pebble.Batch, p *pebble.DB) (rows, cursor *pebble.Batch) {
		rows, cursor = p.NewBatch(), p.NewBatch()
		for r := w.Reader(); ; {
			kind, k, v, ok, _ := r.Next()
			switch {
			case !ok:
				return rows, cursor
			case string(k) == string(keyState):
				cursor.Set(k, v, nil)
			case kind == pebble.InternalKeyKindDelete:
				rows.Delete(k, nil)
			case kind == pebble.InternalKeyKindSet:
				rows.Set(k, v, nil)
			}
		}
	}
	sabotages := map[string]func(*pebble.DB, *pebble.Batch, *pebble.WriteOptions) error{
		"rows first": func(p *pebble.DB, w *pebble.Batch, o *pebble.WriteOptions) error {
			rows, cursor := parts(w, p)
			return errors.Join(p.Apply(rows, o), p.Apply(cursor, o))
		},
		"cursor first": func(p *pebble.DB, w *pebble.Batch, o *pebble.WriteOptions) error {
			rows, cursor := parts(w, p)
			return errors.Join(p.Apply(cursor, o), p.Apply(rows, o))
		},
	}
	for name, apply := range sabotages {
		t.Run(name, func(t *testing.T) {
			rng := seeded(t)
			c := &camera{sync: SyncAlways, share: 0.3, rng: rng, history: crashHistory(rng, 20/slow+4), apply: apply}
			if err := c.run(twoIndexes); err != nil {
				t.Fatal(err)
			}
			c.report(t)
			if len(c.bad) == 0 {
				t.Error("the batch was split, and no image showed it")
			}
		})
	}
}
