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
// moment. The first reader makes it, the next commit retires it: an iterator that is used again never sees a later commit.
//
// Invariant: state is the one that root sees.
type epoch struct {
	state *State
	root  *pebble.Iterator // the first iterator; the others are its clones, which may be made while it is in use

	// owned by epochs.mu
	idle    []*cursor
	readers int  // open views
	retired bool // the last reader ends it
	old     bool // expire has seen it before
}

// A cursor is an iterator, and the memory that a read needs beside it.
type cursor struct {
	it           *pebble.Iterator
	lower, upper []byte // bounds of the read in hand
	prefix       []byte // buffer: what the keys that it reads begin with
	walker       walker
}

// cursors are those without an iterator.
var cursors = sync.Pool{New: func() any { return &cursor{} }}

// epochMost is about how long an epoch lives while nothing is committed, and nobody reads: its iterators hold memory and
// files that flushes and compactions have replaced.
const epochMost = time.Second

// epochs are those of one store.
type epochs struct {
	mu     sync.Mutex
	now    *epoch      // nil: the next reader makes it
	moving atomic.Bool // a commit may be seen whose state is not yet what DB.State returns
	timer  *time.Timer // runs expire; nil: nothing is to expire
}

// move makes state that of the store: apply commits it. While it is at that, a reader sees the commit before, or this one,
// and in either case the state that goes with it.
func (db *DB) move(state *State, apply func() error) error {
	x := &db.epochs
	x.moving.Store(true)
	if err := apply(); err != nil {
		return err // what can be seen is not known: who reads finds it in the database
	}
	x.mu.Lock()
	ended := x.retire() // before State says so: who has seen a state reads that commit, or a later one
	db.state.Store(state)
	x.moving.Store(false)
	x.mu.Unlock()
	ended.close()
	return nil
}

// enter returns the epoch that there is, with an idle cursor of it, nil where none is.
func (db *DB) enter() (*epoch, *cursor, error) {
	x := &db.epochs
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.now == nil {
		e, err := db.epoch()
		if err != nil {
			return nil, nil, err
		}
		x.now = e
		if x.timer == nil {
			x.timer = time.AfterFunc(epochMost, db.expireEpoch)
		}
	}
	x.now.readers++
	return x.now, x.now.take(), nil
}

// epoch makes the epoch of what can be seen now.
func (db *DB) epoch() (*epoch, error) {
	it, err := db.pebble.NewIter(&pebble.IterOptions{})
	if err != nil {
		return nil, err
	}
	e := &epoch{root: it}
	if !db.epochs.moving.Load() { // nor was it when the iterator was made: State is what that sees
		e.state = db.State()
	} else if e.state, err = stateAt(it); err != nil {
		return nil, errors.Join(err, it.Close())
	}
	c := cursors.Get().(*cursor)
	c.it = it
	e.idle = append(e.idle, c)
	return e, nil
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
		e.idle = append(e.idle, c)
	}
	e.readers--
	ended := e.ended()
	x.mu.Unlock()
	ended.close()
}

// take returns an idle cursor, nil where none is.
func (e *epoch) take() *cursor {
	n := len(e.idle)
	if n == 0 {
		return nil
	}
	c := e.idle[n-1]
	e.idle = e.idle[:n-1]
	return c
}

// cursor returns a cursor of the epoch.
func (x *epochs) cursor(e *epoch) (*cursor, error) {
	x.mu.Lock()
	c := e.take()
	x.mu.Unlock()
	if c != nil {
		return c, nil
	}
	it, err := e.root.Clone(pebble.CloneOptions{IterOptions: &pebble.IterOptions{}})
	if err != nil {
		return nil, err
	}
	c = cursors.Get().(*cursor)
	c.it = it
	return c, nil
}

// put gives a cursor back while its view goes on.
func (x *epochs) put(e *epoch, c *cursor) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.idle = append(e.idle, c)
}

// retire has the next reader make another epoch. It returns the one that there was if nobody reads it, to be closed.
func (x *epochs) retire() *epoch {
	e := x.now
	if e == nil {
		return nil
	}
	x.now, e.retired = nil, true
	return e.ended()
}

// ended returns e if it is retired and nobody reads it.
func (e *epoch) ended() *epoch {
	if e.retired && e.readers == 0 {
		return e
	}
	return nil
}

// close closes the iterators of an epoch that has ended; nil: nothing has. What one of them says of a read that failed was
// said to its reader.
func (e *epoch) close() {
	if e == nil {
		return
	}
	for _, c := range e.idle {
		c.close()
	}
}

// close closes the iterator. The rest of the cursor is kept for another one.
func (c *cursor) close() {
	c.it.Close()
	c.it = nil
	cursors.Put(c)
}

// rest has a cursor forget what was read with it.
func (c *cursor) rest() {
	c.walker.f, c.walker.last, c.walker.until = nil, nil, nil
}

// retireEpoch retires the epoch that there is.
func (db *DB) retireEpoch() {
	x := &db.epochs
	x.mu.Lock()
	ended := x.retire()
	x.mu.Unlock()
	ended.close()
}

// expireEpoch retires an epoch that was there the last time already. Close, which waits for no timer, ends the last one.
func (db *DB) expireEpoch() {
	db.closeMu.RLock() // while iterators are closed the store is not
	defer db.closeMu.RUnlock()
	if db.closed {
		return
	}
	x := &db.epochs
	x.mu.Lock()
	var ended *epoch
	switch {
	case x.now == nil:
		x.timer = nil
	case x.now.old:
		ended, x.timer = x.retire(), nil
	default:
		x.now.old = true
		x.timer.Reset(epochMost)
	}
	x.mu.Unlock()
	ended.close()
}
