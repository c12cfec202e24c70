package store

import "bytes"

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
	t := c.stage
	from := t.mark()
	t.slab = appendRowKey(t.slab, o.index, o.key, source)
	t.delete(listRow, from)
}

func (c *committer) put(index uint16, key, source, value []byte, expiry int64, seq uint64, latest bool) {
	t := c.stage
	from := t.mark()
	t.slab = appendRowKey(t.slab, index, key, source)
	mid := t.mark()
	t.slab = appendRowValue(t.slab, value, expiry, seq, latest)
	t.set(listRow, from, mid)
}
