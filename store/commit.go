package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Errors of Commit that say what to do. Any other error of it leaves the outcome unknown: close the store, open it
// again, and read the cursor.
var (
	// ErrDiskLow is returned before anything is written, when less than the minimum is free. Reads go on; try again.
	ErrDiskLow = errors.New("store: free disk space is below min_free_disk")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("store: closed")
)

// Committed counts what one commit did.
type Committed struct {
	Written   int // rows written
	Retracted int // rows deleted, expired ones among them
	Unchanged int // rows that stood already as they are
	Expired   int // source keys of which something expired
	Removed   int // source keys whose record RemoveIf found as it said
	Failed    int // source keys whose update was put into quarantine
	Passed    int // source keys of a Retry that had moved on
}

// committer is the memory that commits reuse. owned by Commit.
type committer struct {
	slab    []byte
	writes  []write
	old     lineage
	new     lineage
	oldSeen []byte // copy of the old lineage's value: its rows are views of it
	key     []byte
	buf     []byte
	due     dueKeys
}

// Commit stores everything that b yields and moves the cursor to pos, in one atomic batch of Pebble. What is due by
// now (ns since 1970; earlier than a commit before is that commit's) and by b.MaxAge expires first; where that is more
// than one commit should hold, State says how far it came, and the next commit goes on. It returns once the batch is as
// durable as the store's sync policy says. One Commit runs at a time; reads go on beside it.
//
// A commit that stores anything must not span a multiple of PointEvery. One with b.Rewind drops the points, which are of
// another history.
func (db *DB) Commit(b *Batch, pos Position, now int64) (Committed, error) {
	db.commitMu.Lock()
	defer db.commitMu.Unlock()
	var done Committed
	if db.failed != nil {
		return done, db.failed
	}
	if db.env.ReadOnly {
		return done, ErrReadOnly
	}
	if err := db.checkCommit(b, pos); err != nil {
		return done, err
	}
	if err := db.diskRoom(); err != nil {
		return done, err
	}
	if was := db.State(); b.MaxAge > 0 && was.MaxAge == 0 && was.Live > 0 {
		if err := db.queueRecords(); err != nil {
			return done, db.fail(fmt.Errorf("store: commit at %d: %w", pos.Seq, err))
		}
	}
	state := db.state.Load().clone()
	state.ExpiredTo, state.MaxAge, state.Swept = max(state.ExpiredTo, now), b.MaxAge, max(state.Swept, b.Swept)
	w := db.pebble.NewBatchWithSize(len(b.slab)+128*len(b.rows)+64*len(b.changes)+4096,
		pebble.WithMaxRetainedSizeBytes(int(2*db.env.Memory.Batch)))
	defer w.Close()
	c := &db.commit
	c.slab, c.writes = c.slab[:0], c.writes[:0]
	err := db.stage(w, b, state, &done)
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		return Committed{}, fmt.Errorf("store: commit at %d: %w", pos.Seq, err)
	}
	if err != nil {
		return done, db.fail(fmt.Errorf("store: commit at %d: %w", pos.Seq, err))
	}
	if err := b.bounds(db.State(), state); err != nil {
		return Committed{}, fmt.Errorf("store: commit at %d: %w", pos.Seq, err)
	}
	c.flush(w)
	if err := db.advance(w, b, state, pos); err != nil {
		return done, db.fail(fmt.Errorf("store: commit at %d: %w", pos.Seq, err))
	}
	c.buf = state.append(c.buf[:0])
	w.Set(keyState, c.buf, nil)
	if err := db.write(w); err != nil {
		return done, db.fail(fmt.Errorf("store: commit at %d: %w", pos.Seq, err))
	}
	db.state.Store(state)
	return done, nil
}

// checkCommit refuses what would break the order of commits.
func (db *DB) checkCommit(b *Batch, pos Position) error {
	cur := db.State().Position()
	next := (cur.Seq/PointEvery + 1) * PointEvery
	switch {
	case b.Rewind && b.Len() > 0:
		return fmt.Errorf("store: commit at %d changes source keys and moves the cursor back", pos.Seq)
	case pos.Seq < cur.Seq && !b.Rewind:
		return fmt.Errorf("store: commit at %d behind the cursor %d", pos.Seq, cur.Seq)
	case cur.Stream != "" && (pos.Stream != cur.Stream || pos.Domain != cur.Domain):
		return fmt.Errorf("store: commit for stream %q (domain %q) into a store of %q (domain %q)",
			pos.Stream, pos.Domain, cur.Stream, cur.Domain)
	case b.Len() > 0 && pos.Seq > next:
		return fmt.Errorf("store: commit from %d to %d spans the point at %d", cur.Seq, pos.Seq, next)
	}
	for i := range b.changes {
		if seq := b.changes[i].seq; seq > pos.Seq {
			return fmt.Errorf("store: commit at %d of an update at %d", pos.Seq, seq)
		}
	}
	return b.Seal()
}

// fail remembers that the store's memory may disagree with its disk: nothing is committed after it.
func (db *DB) fail(err error) error {
	db.failed = fmt.Errorf("store: an earlier commit failed, open the store again: %w", err)
	return err
}

// stage puts the effect of b, and of what is due, into w and state.
func (db *DB) stage(w *pebble.Batch, b *Batch, state *State, done *Committed) error {
	c := &db.commit
	if err := c.due.load(db, state); err != nil {
		return err
	}
	it, err := db.lineages(state)
	if err != nil {
		return err
	}
	if it != nil {
		defer it.Close()
	}
	// Both lists are sorted by source key: a key that is in both is dealt with by its change, which knows what is due.
	i := 0
	for j := range b.changes {
		source := b.at(b.changes[j].source)
		for ; i < c.due.len() && bytes.Compare(c.due.at(i), source) < 0; i++ {
			if err := db.expire(w, it, c.due.at(i), state, done); err != nil {
				return err
			}
		}
		due := i < c.due.len() && bytes.Equal(c.due.at(i), source)
		if due {
			i++
		}
		if err := db.change(w, it, b, &b.changes[j], due, state, done); err != nil {
			return err
		}
	}
	for ; i < c.due.len(); i++ {
		if err := db.expire(w, it, c.due.at(i), state, done); err != nil {
			return err
		}
	}
	return nil
}

// lineages returns an iterator to look lineages up with, nil when there are none.
func (db *DB) lineages(state *State) (*pebble.Iterator, error) {
	if state.Live == 0 {
		return nil, nil
	}
	return db.pebble.NewIter(&pebble.IterOptions{
		LowerBound: []byte{kindLineage}, UpperBound: []byte{kindLineage + 1}, UseL6Filters: true})
}

// lookup reads the lineage of a source key into c.old. found is false, and c.old empty, when it has none.
func (c *committer) lookup(it *pebble.Iterator, source []byte) (found bool, err error) {
	c.old = lineage{rows: c.old.rows[:0]}
	if it == nil {
		return false, nil
	}
	c.key = appendLineageKey(c.key[:0], source)
	if !it.SeekPrefixGE(c.key) {
		return false, it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return false, err
	}
	c.oldSeen = append(c.oldSeen[:0], v...)
	if err := c.old.decode(c.oldSeen); err != nil {
		return false, fmt.Errorf("lineage of %q: %w", source, err)
	}
	return true, nil
}

// expire drops what is due of a source key that this commit does not change otherwise.
func (db *DB) expire(w *pebble.Batch, it *pebble.Iterator, source []byte, state *State, done *Committed) error {
	c := &db.commit
	found, err := c.lookup(it, source)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("expiry queue names source key %q, which has no lineage", source)
	}
	return db.dropDue(w, source, state, done)
}

// dropDue drops what is due of the source key whose lineage is in c.old.
func (db *DB) dropDue(w *pebble.Batch, source []byte, state *State, done *Committed) error {
	c := &db.commit
	done.Expired++
	rows := c.new.rows[:0]
	c.new = c.old
	c.new.rows = rows
	live := !c.old.gone(state.ExpiredTo, state.agedTo())
	if live {
		db.keep(source, state, done)
	} else {
		db.diff(nil, source, 0, nil, state, done)
	}
	c.replace(w, source, true, live, state)
	return nil
}

// replace stores the new lineage of a source key, or deletes it, and moves its places in the expiry queue and in
// quarantine along.
func (c *committer) replace(w *pebble.Batch, source []byte, found, live bool, state *State) {
	c.key = appendLineageKey(c.key[:0], source)
	switch {
	case live:
		c.buf = c.new.append(c.buf[:0])
		w.Set(c.key, c.buf, nil)
	case found:
		w.Delete(c.key, nil)
	}
	wasDue, isDue := int64(0), int64(0)
	wasHeld, isHeld := found && c.old.flags&lineageQuarantined != 0, live && c.new.flags&lineageQuarantined != 0
	wasAging, isAging := found && c.old.flags&lineageAges != 0, live && c.new.flags&lineageAges != 0
	if found {
		wasDue = c.old.due()
	}
	if live {
		isDue = c.new.due()
	}
	state.Live += count(live) - count(found)
	state.Expiring += count(isDue != 0) - count(wasDue != 0)
	state.Quarantined += count(isHeld) - count(wasHeld)
	if found {
		state.Held -= c.old.held
		state.Kept -= count(c.old.kept != 0)
	}
	if live {
		state.Held += c.new.held
		state.Kept += count(c.new.kept != 0)
	}
	state.Aging += count(isAging) - count(wasAging)
	c.requeue(w, kindExpiry, source, wasDue, isDue, wasDue != 0, isDue != 0)
	c.requeue(w, kindAging, source, c.old.time, c.new.time, wasAging, isAging)
	if wasHeld && !isHeld {
		c.key = appendQuarantineKey(c.key[:0], source)
		w.Delete(c.key, nil)
	}
}

// requeue moves the place of a source key in a queue: from one time, if it stood there, to another, if it is to.
func (c *committer) requeue(w *pebble.Batch, kind byte, source []byte, from, to int64, was, is bool) {
	if was && is && from == to {
		return
	}
	if was {
		c.key = appendQueueKey(c.key[:0], kind, from, source)
		w.Delete(c.key, nil)
	}
	if is {
		c.key = appendQueueKey(c.key[:0], kind, to, source)
		w.Set(c.key, nil, nil)
	}
}

// count is 1 for true.
func count(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// advance moves the cursor of state to pos and keeps the points that it passes.
func (db *DB) advance(w *pebble.Batch, b *Batch, state *State, pos Position) error {
	was := state.Position()
	state.Positions = []Position{pos}
	if b.Rewind {
		state.Rewound = max(state.Rewound, was.Seq)
		return w.DeleteRange(appendPointKey(nil, 0), []byte{kindPoint + 1}, nil)
	}
	from := max(was.Seq, state.Rewound) // until then what the rewind left stands beside what was folded again
	if pos.Seq >= state.Rewound {
		state.Rewound = 0
	}
	return notePoints(w, state, from)
}

// notePoints keeps the digests at each multiple of PointEvery that the cursor of state, coming from a seq, reaches or,
// storing nothing, passes.
func notePoints(w *pebble.Batch, state *State, from uint64) error {
	pos := state.Position()
	first, last := (from/PointEvery+1)*PointEvery, pos.Seq/PointEvery*PointEvery
	if pos.Seq < first {
		return nil
	}
	if last-first >= KeptPoints*PointEvery {
		first = last - (KeptPoints-1)*PointEvery
	}
	p := Point{Created: pos.Created, ExpiredTo: state.ExpiredTo, MaxAge: state.MaxAge, Live: state.Live, Kept: state.Kept, Indexes: state.Indexes}
	for p.Seq = first; p.Seq <= last; p.Seq += PointEvery {
		w.Set(appendPointKey(nil, p.Seq), p.append(nil), nil)
	}
	if last > KeptPoints*PointEvery {
		return w.DeleteRange(appendPointKey(nil, 0), appendPointKey(nil, last-(KeptPoints-1)*PointEvery), nil)
	}
	return nil
}

// write commits w as durably as the store's policy says.
func (db *DB) write(w *pebble.Batch) error {
	opt := pebble.NoSync
	if db.env.Sync == SyncAlways {
		opt = pebble.Sync
	}
	apply := (*pebble.DB).Apply
	if db.env.apply != nil {
		apply = db.env.apply
	}
	if err := apply(db.pebble, w, opt); err != nil {
		return err
	}
	db.dirty.Store(db.env.Sync != SyncAlways)
	return nil
}
