package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// What makes Compact worth its while: so many tables on a read's way, and what lies above the lowest level is such a part of
// the store; or, once for each time that it is opened, more tables, since an open leaves one, of whatever little was in memory.
const (
	manyTables = 3
	worthPart  = 16
	tooMany    = 5
)

// mostSteps is how many steps Compact makes at most, about. Each flushes what is in memory, and then merges all of it into the level
// under L0, whatever range is asked for: beside a trickle of 100 updates a second, 26 steps wrote twice what they wrote alone.
const mostSteps = 8

// CompactOptions say how far Compact may go.
type CompactOptions struct {
	Quota int64       // as Batch.Quota
	While func() bool // asked ahead of each step: false ends it there; nil goes on
}

// Compacted is what Compact did.
type Compacted struct {
	Steps         int
	Before, After int    // tables that a read may have to look into: Metrics.ReadAmp
	Written       uint64 // bytes, those of compactions that Pebble made meanwhile with them
}

// Compact merges tables into one level, so that a read has fewer to look into: Pebble by itself leaves up to ten in L0, which
// spares builds. It works on a range of keys at a time, and rests as long as it works. Commits and reads go on beside it.
//
// A step is of an eighth of the store, or of a memtable's size, and of whatever tables of L0 overlap with that: those of flushes may lie
// across all keys, those of ingestions in columns. When ctx is done it returns at once: a step that has begun goes on by itself, without rests, until the store is
// closed, which gives it up: nothing is lost but its work.
//
// Nothing is done where little is to be gained. Since it begins only when a sixteenth of the store has come to lie above the
// lowest level that did not when it ended last, it writes at most 16 bytes for each that comes in, one for each level between, and
// beside updates four: see mostSteps. Besides it writes the store anew once in four times that it is opened, at most.
//
// One store of a directory is compacted at a time: it waits for the others. It begins no step while the whole store has not room
// on the disk, and in the quota, a second time: ErrDiskLow, ErrQuota. Any other error than those two, ErrClosed, ErrReadOnly, that
// of ctx and what damage there is, is of Pebble's compaction, and leaves the store as it was.
func (db *DB) Compact(ctx context.Context, o CompactOptions) (Compacted, error) {
	return db.compact(ctx, &pace{rest: rest}, o)
}

func (db *DB) compact(ctx context.Context, p *pace, o CompactOptions) (did Compacted, err error) {
	if err := db.beginCompact(ctx, p); err != nil {
		return did, err
	}
	defer db.endCompact(p)
	m := db.pebble.Metrics()
	size, above := sizes(m)
	did.Before, did.After = m.ReadAmp(), m.ReadAmp()
	much := (above-min(above, db.leftAbove))*worthPart >= size
	if did.Before < manyTables || !much && (db.compacted || did.Before < tooMany) {
		return did, nil
	}
	whole, err := db.compactAll(p, &o, &did)
	if p.ctx.Err() != nil {
		err = context.Cause(p.ctx)
	}
	was := written(m)
	m = db.pebble.Metrics()
	did.After, did.Written = m.ReadAmp(), written(m)-was
	if whole {
		db.compacted = true
		_, db.leftAbove = sizes(m)
	}
	return did, err
}

// beginCompact waits until no other store of the directory is compacted, and registers a compaction of this one.
func (db *DB) beginCompact(ctx context.Context, p *pace) error {
	if db.env.ReadOnly {
		return ErrReadOnly
	}
	select {
	case db.dir.compacting <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	db.closeMu.RLock()
	defer db.closeMu.RUnlock()
	if err := db.Damage(); db.closed || err != nil {
		<-db.dir.compacting
		return cmp.Or(err, ErrClosed)
	}
	p.since = time.Now()
	p.ctx, p.cut = context.WithCancelCause(ctx)
	db.pace.Store(p)
	db.readers.Add(1)
	return nil
}

func (db *DB) endCompact(p *pace) {
	p.cut(nil)
	db.pace.Store(nil)
	<-db.dir.compacting
	db.readers.Done()
}

// compactAll goes through the ranges. It reports whether that is over: none is left, or one failed, which is not tried again
// until there is more to gain.
func (db *DB) compactAll(p *pace, o *CompactOptions, did *Compacted) (over bool, err error) {
	keys, err := db.cuts()
	for i := 1; i < len(keys) && err == nil; i++ {
		if p.ctx.Err() != nil || o.While != nil && !o.While() {
			return false, nil
		}
		if err := db.compactRoom(o.Quota); err != nil {
			return false, err
		}
		var merged bool
		if merged, err = db.compactRange(p.ctx, keys[i-1], keys[i]); merged {
			did.Steps++
		}
	}
	return p.ctx.Err() == nil, err
}

// compactRange merges what has keys of a range, if it lies in more than one level.
func (db *DB) compactRange(ctx context.Context, start, end []byte) (merged bool, err error) {
	levels, err := db.pebble.SSTables(pebble.WithKeyRangeFilter(start, end))
	if err != nil {
		return false, fmt.Errorf("store: compact %s: %w", db.path, err)
	}
	many := 0
	for i, tables := range levels {
		many += min(len(tables), 1)
		if i == 0 {
			many += min(len(tables), 1)
		}
	}
	if many < 2 {
		return false, nil
	}
	if err := db.pebble.Compact(ctx, start, end, false); err != nil {
		return true, fmt.Errorf("store: compact %s: %w", db.path, err)
	}
	return true, nil
}

// cuts cuts all keys into ranges, of each of which tables hold the same part of the store, or as much as a memtable.
func (db *DB) cuts() ([][]byte, error) {
	levels, err := db.pebble.SSTables()
	if err != nil {
		return nil, fmt.Errorf("store: compact %s: %w", db.path, err)
	}
	all := slices.Concat(levels...)
	slices.SortFunc(all, func(a, b pebble.SSTableInfo) int { return bytes.Compare(a.Smallest.UserKey, b.Smallest.UserKey) })
	total := uint64(0)
	for _, t := range all {
		total += t.Size
	}
	keys, size, step := [][]byte{{0}}, uint64(0), max(total/mostSteps, uint64(db.env.Memory.Memtable))
	for _, t := range all {
		if size >= step && bytes.Compare(keys[len(keys)-1], t.Smallest.UserKey) < 0 {
			keys, size = append(keys, bytes.Clone(t.Smallest.UserKey)), 0
		}
		size += t.Size
	}
	return append(keys, []byte{0xff}), nil
}

// compactRoom says whether the store has room a second time.
func (db *DB) compactRoom(quota int64) error {
	size, _ := sizes(db.pebble.Metrics())
	if err := db.diskRoomFor(size); err != nil {
		return err
	}
	if quota == 0 {
		return nil
	}
	used, err := db.dir.Used(db.fold)
	if err == nil && used+int64(size) > quota {
		err = fmt.Errorf("%w, or would: %d MiB, and %d MiB to compact it, of %d MiB", ErrQuota, used/mib, size/mib, quota/mib)
	}
	return err
}

// sizes returns the bytes of all tables, and of those that do not lie in the lowest level that has any. L0 is above all others,
// and above none.
func sizes(m *pebble.Metrics) (all, above uint64) {
	lowest := uint64(0)
	for i := range m.Levels {
		n := uint64(m.Levels[i].TablesSize)
		all += n
		if i > 0 && n > 0 {
			lowest = n
		}
	}
	return all, all - lowest
}

// written returns the bytes that compactions wrote.
func written(m *pebble.Metrics) (n uint64) {
	for i := range m.Levels {
		n += m.Levels[i].TableBytesCompacted
	}
	return n
}

// compactionWrites is Pebble's name for what a compaction writes.
const compactionWrites vfs.DiskWriteCategory = "pebble-compaction"

// What is done in one go, and the longest rest.
const (
	workMost = 5 * time.Millisecond
	restMost = 100 * time.Millisecond
)

// errCut is the error of a compaction that was given up.
var errCut = errors.New("store: the compaction is given up")

// A pace is that of a compaction, held where it writes: Pebble has no way to slow one down.
type pace struct {
	ctx   context.Context
	cut   context.CancelCauseFunc
	mu    sync.Mutex
	since time.Time                                  // when the last rest ended
	rest  func(ctx context.Context, d time.Duration) // rests; nil: it never does
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// wait rests as long as was worked since the last rest, unless the compaction is to be done with.
func (p *pace) wait(now time.Time) {
	if p.rest == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	worked := now.Sub(p.since)
	if worked < workMost || p.ctx.Err() != nil {
		return
	}
	worked = min(worked, restMost)
	p.rest(p.ctx, worked)
	p.since = now.Add(worked)
}

// compactedFile is a table that a compaction writes: at the pace of Compact, while that is under way. Pebble cannot end a
// compaction that has begun, and its Close waits for it: what it writes fails then. Before that it must not: Pebble begins what
// failed anew, at once and for ever.
type compactedFile struct {
	vfs.File
	db *DB
}

func (f compactedFile) Write(p []byte) (int, error) {
	if f.db.closing.Load() {
		return 0, errCut
	}
	if at := f.db.pace.Load(); at != nil {
		at.wait(time.Now())
	}
	return f.File.Write(p)
}
