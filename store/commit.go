package store

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Errors of Commit that say what to do. Any other error of it leaves the outcome unknown: close the store, open it
// again, and read the cursor.
var (
	// ErrDiskLow is returned before anything is written, when less than the minimum is free. Reads go on; try again.
	ErrDiskLow = errors.New("store: free disk space is below min_free_disk")
	// ErrQuota is returned before anything is written, when the generations of the fold take more than Batch.Quota. Reads go
	// on; try again.
	ErrQuota = errors.New("store: the fold takes more than its disk_quota")
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
	stage   *staged          // of the commit in hand, and of those before it that wait
	beside  *storing         // what is being stored meanwhile; nil: nothing is
	spare   *staged          // the other one of the two, empty; nil until both were needed
	since   time.Time        // when the first of those that wait began to
	seen    *seen            // nil: every lineage is looked up
	it      *pebble.Iterator // over lineages, of the commit in hand; nil until one is looked up
	hash    uint64           // of the source key in hand
	hashes  [lookAhead]uint64
	touched uint64 // what ahead reads: it means nothing
	more    bool   // the commit in hand may wait: Batch.More
	waits   bool   // it does, or follows on some that do
	old     lineage
	new     lineage
	oldSeen []byte // copy of the old lineage's value: its rows are views of it
	key     []byte
	due     dueKeys
	release func()   // gives the memory of what waits back to the block cache; nil while nothing waits
	taken   []func() // give back that of seen
}

// take returns what takes memory for seen out of a block cache.
func (c *committer) take(cache *pebble.Cache) func(bytes int) {
	return func(bytes int) { c.taken = append(c.taken, cache.Reserve(bytes)) }
}

// give gives back what take took.
func (c *committer) give() {
	c.seen = nil
	for _, back := range c.taken {
		back()
	}
	c.taken = nil
}

// Commit stores everything that b yields and moves the cursor to pos, in one atomic act of Pebble: a batch, or where
// that is large, an ingestion. What is due by now (ns since 1970; earlier than a commit before is that commit's) and by
// b.MaxAge expires first; where that is more than one commit should hold, State says how far it came, and the next
// commit goes on. It returns once that is as durable as the store's sync policy says; with b.More, possibly before
// anything is stored. One Commit runs at a time; reads go on beside it.
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
	if c := &db.commit; c.beside != nil && c.beside.ended() {
		if err := db.join(); err != nil {
			return done, db.fail(err)
		}
	}
	if err := errors.Join(db.diskRoom(), db.quotaRoom(b.Quota)); err != nil {
		return done, err
	}
	db.commit.more = b.More
	wrap := func(err error) error { return fmt.Errorf("store: commit at %d: %w", pos.Seq, err) }
	state, err := db.prepare(b, now)
	if err != nil {
		return done, db.fail(wrap(err))
	}
	err = db.apply(b, state, &done)
	if err == nil {
		err = b.bounds(db.Ahead(), state)
	}
	if refused := (*Refused)(nil); errors.As(err, &refused) || errors.Is(err, ErrBudget) || errors.Is(err, ErrQuarantineFull) {
		db.commit.stage.rollback()
		if err := db.store(); err != nil { // what waited was not refused
			return Committed{}, db.fail(wrap(err))
		}
		return Committed{}, wrap(err)
	}
	if err != nil {
		return done, db.fail(wrap(err))
	}
	db.advance(b, state, pos)
	db.ahead.Store(state)
	built := db.building.holdBack(b.More, db.commit.seen != nil)
	store := db.store
	switch {
	case b.More && db.commit.stage.bytes() < db.waitRoom():
		return done, nil
	case b.More:
		store = db.storeBeside
	}
	if err := store(); err != nil {
		return done, db.fail(wrap(err))
	}
	if built {
		db.mergeBuilt(b.Quota)
	}
	return done, nil
}

// prepare readies the stage for b and returns the state that b's commit is to change. What waits is stored first where b
// needs to find it stored: what is due is read from the store.
func (db *DB) prepare(b *Batch, now int64) (*State, error) {
	c := &db.commit
	if was := db.Ahead(); b.Rewind || b.MaxAge != was.MaxAge {
		if err := db.store(); err != nil {
			return nil, err
		}
	}
	if was := db.Ahead(); b.MaxAge > 0 && was.MaxAge == 0 && was.Live > 0 {
		if err := db.queueRecords(); err != nil {
			return nil, err
		}
	}
	state, err := db.expireTo(b, now)
	if err == nil && db.Waiting() && (c.due.len() > 0 || c.isDue(state)) {
		if err = db.store(); err == nil {
			state, err = db.expireTo(b, now)
		}
	}
	c.stage.begin()
	if c.waits = b.More || db.Waiting(); c.waits {
		c.stage.index.room(c.stage, len(b.changes)+c.due.len())
	}
	if !db.Waiting() {
		c.since = time.Now()
	}
	if b.More && c.release == nil {
		c.release = db.dir.cache.Reserve(2 * db.waitRoom())
		c.stage.expect(db.waitRoom())
	}
	return state, err
}

// expireTo returns a copy of the state whose clock is that of b's commit, and loads what is due by it.
func (db *DB) expireTo(b *Batch, now int64) (*State, error) {
	state := db.Ahead().clone()
	state.ExpiredTo, state.MaxAge, state.Swept = max(state.ExpiredTo, now), b.MaxAge, max(state.Swept, b.Swept)
	return state, db.commit.due.load(db, state)
}

// checkCommit refuses what would break the order of commits.
func (db *DB) checkCommit(b *Batch, pos Position) error {
	cur := db.Ahead().Position()
	next, upTo := (cur.Seq/PointEvery+1)*PointEvery, pos.Seq
	if b.Copy != nil {
		upTo = max(b.Copy.upTo(), db.Ahead().Rewound)
	}
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
		may := upTo
		if b.changes[i].kind == changeRemoveIf { // what a rewind left may be gone before the cursor is back there
			may = max(may, db.Ahead().Rewound)
		}
		if seq := b.changes[i].seq; seq > may {
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

// apply stages the effect of b, and of what is due, and has state say so.
func (db *DB) apply(b *Batch, state *State, done *Committed) error {
	defer db.Turn()()
	c := &db.commit
	defer func() {
		if c.it != nil {
			c.it.Close()
			c.it = nil
		}
	}()
	// Both lists are sorted by source key: a key that is in both is dealt with by its change, which knows what is due.
	i := 0
	for j := range b.changes {
		if j%lookAhead == 0 {
			c.ahead(b, b.changes[j:min(j+lookAhead, len(b.changes))])
		}
		source := b.at(b.changes[j].source)
		for ; i < c.due.len() && bytes.Compare(c.due.at(i), source) < 0; i++ {
			if err := db.expire(c.due.at(i), state, done); err != nil {
				return err
			}
		}
		c.hash = c.hashes[j%lookAhead]
		due := i < c.due.len() && bytes.Equal(c.due.at(i), source)
		if due {
			i++
		}
		if err := db.change(b, &b.changes[j], due, state, done); err != nil {
			return err
		}
	}
	for ; i < c.due.len(); i++ {
		if err := db.expire(c.due.at(i), state, done); err != nil {
			return err
		}
	}
	return nil
}

// count is 1 for true.
func count(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// commitBatch commits w as durably as the store's policy says.
func (db *DB) commitBatch(w *pebble.Batch) error {
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
