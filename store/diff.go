package store

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// write is one row to set or to delete: views into committer.slab.
type write struct {
	head       uint64 // the first bytes of the key after its kind, so that most comparisons touch nothing else
	key, value span
	delete     bool
}

func same(x, y *owned) bool { return x.index == y.index && bytes.Equal(x.key, y.key) }

// diff compares what a source key owned with what it yields now, both sorted by (index, key): it stages the rows to
// write and to retract, and leaves the new rows in c.new. Rows that are due already are not written.
func (db *DB) diff(b *Batch, source []byte, seq uint64, rows []row, state *State, done *Committed) {
	c := &db.commit
	i := 0
	for k := range rows {
		r := &rows[k]
		if r.expiry != 0 && r.expiry <= state.ExpiredTo {
			continue
		}
		o := owned{index: r.index, key: b.at(r.key), hash: r.hash, expiry: r.expiry}
		c.new.rows = append(c.new.rows, o)
		for i < len(c.old.rows) && before(&c.old.rows[i], &o) {
			db.retract(source, &c.old.rows[i], state, done)
			i++
		}
		latest := db.specs[r.index].Collisions == Latest
		if i < len(c.old.rows) && same(&c.old.rows[i], &o) {
			was := c.old.rows[i].hash
			i++
			if was == r.hash && !latest {
				done.Unchanged++
				continue
			}
			state.Indexes[r.index].replaced(was, r.hash)
		} else {
			state.Indexes[r.index].added(r.hash)
		}
		done.Written++
		c.put(r.index, o.key, source, b.at(r.value), r.expiry, seq, latest)
	}
	for ; i < len(c.old.rows); i++ {
		db.retract(source, &c.old.rows[i], state, done)
	}
}

// keep leaves the rows that a source key owned, but for those that are due, in c.new.
func (db *DB) keep(source []byte, state *State, done *Committed) {
	c := &db.commit
	for i := range c.old.rows {
		if o := &c.old.rows[i]; o.expiry == 0 || o.expiry > state.ExpiredTo {
			c.new.rows = append(c.new.rows, *o)
			continue
		}
		db.retract(source, &c.old.rows[i], state, done)
	}
	if len(c.new.rows) == 0 {
		c.new.kept = 0
	}
}

func before(x, y *owned) bool {
	if x.index != y.index {
		return x.index < y.index
	}
	return bytes.Compare(x.key, y.key) < 0
}

func (x *IndexState) added(h Hash)          { x.Rows, x.Digest = x.Rows+1, x.Digest.add(h) }
func (x *IndexState) removed(h Hash)        { x.Rows, x.Digest = x.Rows-1, x.Digest.sub(h) }
func (x *IndexState) replaced(was, is Hash) { x.Digest = x.Digest.sub(was).add(is) }

func (db *DB) retract(source []byte, o *owned, state *State, done *Committed) {
	c := &db.commit
	if int(o.index) >= len(state.Indexes) {
		return // Check names it; there is no row that a key could be built for
	}
	state.Indexes[o.index].removed(o.hash)
	done.Retracted++
	at := uint32(len(c.slab))
	c.slab = appendRowKey(c.slab, o.index, o.key, source)
	c.add(write{key: span{at, uint32(len(c.slab)) - at}, delete: true})
}

func (c *committer) put(index uint16, key, source, value []byte, expiry int64, seq uint64, latest bool) {
	at := uint32(len(c.slab))
	c.slab = appendRowKey(c.slab, index, key, source)
	mid := uint32(len(c.slab))
	c.slab = appendRowValue(c.slab, value, expiry, seq, latest)
	c.add(write{key: span{at, mid - at}, value: span{mid, uint32(len(c.slab)) - mid}})
}

func (c *committer) add(w write) {
	var head [8]byte
	copy(head[:], c.at(w.key)[1:])
	w.head = binary.BigEndian.Uint64(head[:])
	c.writes = append(c.writes, w)
}

func (c *committer) at(s span) []byte { return c.slab[s.off : s.off+s.n] }

// flush moves the staged rows into w in key order: a sorted batch costs Pebble's memtable about half of a shuffled one
// (docs/performance.md).
func (c *committer) flush(w *pebble.Batch) {
	slices.SortFunc(c.writes, func(x, y write) int {
		if x.head != y.head {
			if x.head < y.head {
				return -1
			}
			return 1
		}
		return bytes.Compare(c.at(x.key), c.at(y.key))
	})
	for i := range c.writes {
		if x := &c.writes[i]; x.delete {
			w.Delete(c.at(x.key), nil)
		} else {
			w.Set(c.at(x.key), c.at(x.value), nil)
		}
	}
}
