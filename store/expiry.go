package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// maxDue bounds how many source keys one commit expires. The clock then stands at the last of them, and the next
// commits go on: memory stays bounded when a whole bucket expires at once.
const maxDue = 65536

// dueKeys is the list of source keys of which something is due, sorted by source key.
type dueKeys struct {
	slab []byte
	keys []span
}

func (d *dueKeys) len() int { return len(d.keys) }

func (d *dueKeys) at(i int) []byte { s := d.keys[i]; return d.slab[s.off : s.off+s.n] }

// load reads what is due by state.ExpiredTo. When that is more than maxDue it moves state.ExpiredTo back to what the
// list covers whole.
func (d *dueKeys) load(db *DB, state *State) error {
	d.slab, d.keys = d.slab[:0], d.keys[:0]
	was := db.Ahead()
	if state.Expiring > 0 {
		to, err := d.take(db, kindExpiry, was.ExpiredTo, state.ExpiredTo)
		if err != nil {
			return err
		}
		state.ExpiredTo = to
	}
	if state.Aging > 0 && state.MaxAge > 0 {
		to, err := d.take(db, kindAging, was.agedTo(), state.agedTo())
		if err != nil {
			return err
		}
		state.MaxAge = state.ExpiredTo - to
	}
	at := func(s span) []byte { return d.slab[s.off : s.off+s.n] }
	slices.SortFunc(d.keys, func(x, y span) int { return bytes.Compare(at(x), at(y)) })
	d.keys = slices.CompactFunc(d.keys, func(x, y span) bool { return bytes.Equal(at(x), at(y)) }) // due in both
	return nil
}

// take adds what stands in a queue up to a time, and returns up to which time that is all: before it when there is too
// much. Nothing up to from is in the queue, but tombstones are: it seeks past them.
func (d *dueKeys) take(db *DB, kind byte, from, to int64) (covered int64, err error) {
	if to <= from {
		return to, nil
	}
	it, err := db.pebble.NewIter(queueBounds(kind, from, to))
	if err != nil {
		return 0, err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		if len(k) < expiryHead {
			return 0, fmt.Errorf("queue %x has a key of %d bytes", kind, len(k))
		}
		t := int64(binary.BigEndian.Uint64(k[1:]))
		if len(d.keys) >= maxDue && t != from {
			return from, it.Error()
		}
		from = t
		d.keys = append(d.keys, span{uint32(len(d.slab)), uint32(len(k) - expiryHead)})
		d.slab = append(d.slab, k[expiryHead:]...)
	}
	return to, it.Error()
}

// queueBounds bounds an iterator to the times from to to, both included; no time is negative.
func queueBounds(kind byte, from, to int64) *pebble.IterOptions {
	o := &pebble.IterOptions{LowerBound: appendQueueKey(nil, kind, max(from, 0), nil), UpperBound: []byte{kind}}
	if to >= 0 {
		o.UpperBound = binary.BigEndian.AppendUint64([]byte{kind}, uint64(to)+1)
	}
	return o
}

// Due counts the source keys of which something will be due at now (ns since 1970) if the stream's MaxAge is maxAge (ns,
// 0 = none), up to limit. A source key of which both an entry and the record are due counts twice.
func (db *DB) Due(now, maxAge int64, limit int) (n int, err error) {
	db.closeMu.RLock()
	defer db.closeMu.RUnlock()
	if db.closed {
		return 0, ErrClosed
	}
	was := db.State()
	is := State{ExpiredTo: max(was.ExpiredTo, now), MaxAge: maxAge}
	count := func(kind byte, from, to int64) {
		if err != nil || to <= from {
			return
		}
		var it *pebble.Iterator
		if it, err = db.pebble.NewIter(queueBounds(kind, from, to)); err != nil {
			return
		}
		for ok := it.First(); ok && n < limit; ok = it.Next() {
			n++
		}
		err = it.Close()
	}
	if was.Expiring > 0 {
		count(kindExpiry, was.ExpiredTo, is.ExpiredTo)
	}
	if was.Aging > 0 && maxAge > 0 {
		count(kindAging, was.agedTo(), is.agedTo())
	}
	if err != nil {
		return 0, fmt.Errorf("store: what is due: %w", err)
	}
	return n, nil
}

// queueRecords puts every record that may age into the aging queue: the stream got a MaxAge, and those folded before
// are not in it. It moves neither cursor nor clock; what a crash leaves of it is whole, and is taken up again by the
// next commit, because the state names no MaxAge until that has succeeded.
func (db *DB) queueRecords() error {
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte{kindLineage}, UpperBound: []byte{kindLineage + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	state := db.State().clone()
	w := db.pebble.NewBatch()
	defer func() { w.Close() }()
	finish := func() error {
		w.Set(keyState, state.append(nil), nil)
		if err := db.move(state, func() error { return db.commitBatch(w) }); err != nil {
			return err
		}
		state, w = state.clone(), db.pebble.NewBatch()
		return nil
	}
	var l lineage
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		source := it.Key()[1:]
		if err := l.decode(v); err != nil {
			return fmt.Errorf("lineage of %q: %w", source, err)
		}
		if l.flags&(lineageAges|lineageStays) != 0 {
			continue
		}
		l.flags |= lineageAges
		w.Set(it.Key(), l.append(nil), nil)
		w.Set(appendQueueKey(nil, kindAging, l.time, source), nil, nil)
		state.Aging++
		if w.Len() > int(db.env.Memory.Batch) {
			if err := finish(); err != nil {
				return err
			}
		}
	}
	return errors.Join(it.Error(), finish())
}

// expire drops what is due of a source key that this commit does not change otherwise.
func (db *DB) expire(source []byte, state *State, done *Committed) error {
	db.commit.hash = hashSource(source)
	found, err := db.lookup(source)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("expiry queue names source key %q, which has no lineage", source)
	}
	db.dropDue(source, state, done)
	return nil
}

// dropDue drops what is due of the source key whose lineage is in c.old.
func (db *DB) dropDue(source []byte, state *State, done *Committed) {
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
	c.replace(source, true, live, state)
	if db.id.KeepSource && !live {
		c.dropRecord(source)
	}
}
