package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// An epoch is what the readers between two commits share: the state that the first of them left, and iterators of that very
// moment. The first reader makes it, the next commit retires it: an iterator that is used again never sees a later commit. Rows
// that were not written lately are read with the iterators of a base, which outlive it.
//
// Invariant: state is the one that root sees, or would see: who is about to commit makes it for an epoch that is being read.
type epoch struct {
	state *State
	bases []*base          // oldest first; what none of them serves is read with root and its clones
	eras  []*era           // which say what they serve, oldest first
	root  *pebble.Iterator // the first iterator; the others are its clones, which may be made while it is in use. nil until it is needed
	err   error            // why root could not be made

	// owned by epochs.mu
	idle    closing
	readers int  // open views
	retired bool // the last reader ends it
	old     bool // expire has seen it before
}

// A cursor is an iterator, and the memory that a read needs beside it.
type cursor struct {
	it           *pebble.Iterator
	base         *base  // that the iterator is of; nil: it is one of an epoch, or of a view's own
	lower, upper []byte // bounds of the read in hand
	prefix       []byte // buffer: what the keys that it reads begin with
	walker       walker
}

// cursors are those without an iterator.
var cursors = sync.Pool{New: func() any { return &cursor{} }}

func newCursor(it *pebble.Iterator, b *base) *cursor {
	c := cursors.Get().(*cursor)
	c.it, c.base = it, b
	return c
}

// epochMost is about how long an epoch lives while nothing is committed, and nobody reads, and a base in any case: their
// iterators hold memory and files that flushes and compactions have replaced.
const epochMost = time.Second

// epochs are those of one store.
type epochs struct {
	mu     sync.Mutex
	now    *epoch        // nil: the next reader makes it
	bases  []*base       // of the next epoch, oldest first; replaced, never changed
	eras   []*era        // that bases need, oldest first, as one would that is made now; none: there are no bases
	era    *era          // the last of them. owned by who stores
	files  atomic.Uint64 // counts compactions
	moving bool          // a commit may be seen whose state is not yet what DB.State returns
	timer  *time.Timer   // runs expire; nil: nothing is to expire
}

// move makes state that of the store: apply commits it. While it is at that, a reader sees the commit before, or this one,
// and in either case the state that goes with it.
func (db *DB) move(state *State, apply func() error) error {
	x := &db.epochs
	x.mu.Lock()
	ended := db.fixEpoch()
	x.moving = true
	x.mu.Unlock()
	ended.close()
	if err := apply(); err != nil {
		return err // what can be seen is not known: who reads finds it in the database
	}
	x.mu.Lock()
	ended = db.retire() // before State says so: who has seen a state reads that commit, or a later one
	db.state.Store(state)
	x.moving = false
	x.mu.Unlock()
	ended.close()
	return nil
}

// fixEpoch has the epoch that there is see what it does whatever is committed from now on. One that nobody reads is retired.
func (db *DB) fixEpoch() closing {
	e := db.epochs.now
	switch {
	case e == nil || e.root != nil:
	case e.readers == 0:
		return db.retire()
	default:
		db.see(e)
	}
	return nil
}

// see makes the root of an epoch that has none. Nothing was committed since the epoch was made.
func (db *DB) see(e *epoch) {
	if e.root != nil || e.err != nil {
		return
	}
	if e.root, e.err = db.pebble.NewIter(&pebble.IterOptions{}); e.err == nil {
		e.idle = append(e.idle, newCursor(e.root, nil))
	}
}

// enter returns the epoch that there is, with an idle cursor of its base, or its own where it has none; nil where none is idle.
func (db *DB) enter() (*epoch, *cursor, error) {
	x := &db.epochs
	x.mu.Lock()
	e, ended, err := x.now, closing(nil), error(nil)
	if e == nil {
		if e, ended, err = db.epoch(); err == nil {
			x.now = e
		}
	}
	var c *cursor
	if err == nil {
		e.readers++
		c = e.take(e.first())
	}
	x.mu.Unlock()
	ended.close()
	return e, c, err
}

// epoch makes the epoch of what can be seen now. It returns what is to be closed beside.
func (db *DB) epoch() (e *epoch, ended closing, err error) {
	x := &db.epochs
	e = &epoch{}
	if x.moving {
		if db.see(e); e.err == nil {
			e.state, e.err = stateAt(e.root)
		}
		if err = e.err; err != nil {
			return nil, e.idle, err
		}
	} else { // nor is there a commit before x.mu is free: State is what root will see
		if ended, err = db.readyBases(); err != nil {
			return nil, ended, err
		}
		e.state, e.bases, e.eras = db.State(), x.bases, x.eras
		for _, b := range e.bases {
			b.epochs++
		}
	}
	if x.timer == nil {
		x.timer = time.AfterFunc(epochMost, db.expireEpoch)
	}
	return e, ended, nil
}

// first returns the base with which reads of rows begin, nil where there is none.
func (e *epoch) first() *base {
	if len(e.bases) == 0 {
		return nil
	}
	return e.bases[0]
}

// stateAt reads the state that an iterator sees.
func stateAt(it *pebble.Iterator) (*State, error) {
	if !it.SeekPrefixGE(keyState) {
		return nil, errors.Join(fmt.Errorf("state: %w", pebble.ErrNotFound), it.Error())
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	s := &State{}
	return s, s.decode(v)
}

// leave ends the reading of a view, and gives its cursor back.
func (x *epochs) leave(e *epoch, c *cursor) {
	x.mu.Lock()
	if c != nil {
		e.give(c)
	}
	e.readers--
	ended := e.ended()
	x.mu.Unlock()
	ended.close()
}

// take returns an idle cursor of a base, or of the epoch where that is nil; nil where none is.
func (e *epoch) take(b *base) *cursor {
	idle := &e.idle
	if b != nil {
		idle = &b.idle
	}
	n := len(*idle)
	if n == 0 {
		return nil
	}
	c := (*idle)[n-1]
	*idle = (*idle)[:n-1]
	return c
}

// give makes a cursor idle.
func (e *epoch) give(c *cursor) {
	if c.base != nil {
		c.base.idle = append(c.base.idle, c)
		return
	}
	e.idle = append(e.idle, c)
}

// cursor returns a cursor of the epoch's base, or of the epoch where b is nil.
func (db *DB) cursor(e *epoch, b *base) (*cursor, error) {
	x := &db.epochs
	x.mu.Lock()
	if b == nil {
		db.see(e)
	}
	c, root, err := e.take(b), e.root, e.err
	x.mu.Unlock()
	if c != nil {
		return c, nil
	}
	o := pebble.IterOptions{}
	if b != nil {
		root, o, err = b.root, overTables, nil
	}
	if err != nil {
		return nil, err
	}
	it, err := root.Clone(pebble.CloneOptions{IterOptions: &o})
	if err != nil {
		return nil, err
	}
	return newCursor(it, b), nil
}

// put gives a cursor back while its view goes on.
func (x *epochs) put(e *epoch, c *cursor) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.give(c)
}

// iter returns an iterator over what the epoch sees.
func (db *DB) iter(e *epoch, o *pebble.IterOptions) (*pebble.Iterator, error) {
	x := &db.epochs
	x.mu.Lock()
	db.see(e)
	x.mu.Unlock()
	if e.err != nil {
		return nil, e.err
	}
	return e.root.Clone(pebble.CloneOptions{IterOptions: o})
}

// retire has the next reader make another epoch. It returns what is to be closed of the one that there was.
func (db *DB) retire() closing {
	x := &db.epochs
	e := x.now
	if e == nil {
		return nil
	}
	if e.readers > 0 {
		db.see(e) // the next commit finds it no more
	}
	x.now, e.retired = nil, true
	return e.ended()
}

// ended returns the cursors of e if it is retired and nobody reads it, and those of its bases that are at their end too.
func (e *epoch) ended() (all closing) {
	if !e.retired || e.readers > 0 {
		return nil
	}
	all, e.idle = e.idle, nil
	for _, b := range e.bases {
		b.epochs--
		all = append(all, b.ended()...)
	}
	return all
}

// closing are cursors that nobody has. They are closed while nothing is locked. What one of them says of a read that failed was
// said to its reader.
type closing []*cursor

func (all closing) close() {
	for _, c := range all {
		c.close()
	}
}

// close closes the iterator. The rest of the cursor is kept for another one.
func (c *cursor) close() {
	c.it.Close()
	c.it, c.base = nil, nil
	cursors.Put(c)
}

// rest has a cursor forget what was read with it.
func (c *cursor) rest() {
	c.walker.f, c.walker.last, c.walker.until = nil, nil, nil
}

// retireEpoch retires the epoch that there is, and the bases.
func (db *DB) retireEpoch() {
	x := &db.epochs
	x.mu.Lock()
	ended := db.retire()
	for len(x.bases) > 0 {
		ended = append(ended, x.retireBase(0)...)
	}
	x.mu.Unlock()
	ended.close()
}

// expireEpoch retires an epoch that was there the last time already, and bases: see expireBases. Close, which waits for no timer, ends the
// last ones.
func (db *DB) expireEpoch() {
	db.closeMu.RLock() // while iterators are closed the store is not
	defer db.closeMu.RUnlock()
	if db.closed {
		return
	}
	x := &db.epochs
	x.mu.Lock()
	ended := x.expireBases()
	if e := x.now; e != nil {
		if e.old {
			ended = append(ended, db.retire()...)
		}
		e.old = true
	}
	if x.now == nil && len(x.bases) == 0 {
		x.timer = nil
	} else {
		x.timer.Reset(epochMost)
	}
	x.mu.Unlock()
	ended.close()
}
