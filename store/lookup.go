package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// lookAhead is of how many changes the source keys are hashed at once.
const lookAhead = 16

// ahead hashes the source keys of the next changes, and touches what is known in memory of them: the waits for it overlap.
func (c *committer) ahead(b *Batch, changes []change) {
	for j := range changes {
		h := hashSource(b.at(changes[j].source))
		c.hashes[j] = h
		if c.seen != nil {
			c.touched += c.seen.touch(h)
		}
		if c.waits {
			c.touched += c.stage.index.touch(h)
			if c.beside != nil {
				c.touched += c.beside.stage.index.touch(h)
			}
		}
	}
}

// lookup reads the lineage of the source key of c.hash into c.old: what waits to be stored counts before what is stored.
// found is false, and c.old empty, when it has none.
func (db *DB) lookup(source []byte) (found bool, err error) {
	c := &db.commit
	c.old = lineage{rows: c.old.rows[:0]}
	if c.seen != nil && !c.seen.has(c.hash) {
		return false, nil
	}
	if c.waits {
		if v, staged := c.waiting(source); staged {
			return v != nil, c.decodeOld(source, v)
		}
	}
	if db.State().Live == 0 {
		return false, nil
	}
	if c.it == nil {
		c.it, err = db.pebble.NewIter(&pebble.IterOptions{
			LowerBound: []byte{kindLineage}, UpperBound: []byte{kindLineage + 1}, UseL6Filters: true})
		if err != nil {
			return false, err
		}
	}
	c.key = appendLineageKey(c.key[:0], source)
	if !c.it.SeekPrefixGE(c.key) {
		return false, c.it.Error()
	}
	v, err := c.it.ValueAndErr()
	if err != nil {
		return false, err
	}
	return true, c.decodeOld(source, v)
}

// decodeOld decodes a copy of v, nil for none, into c.old.
func (c *committer) decodeOld(source, v []byte) error {
	if v == nil {
		return nil
	}
	c.oldSeen = append(c.oldSeen[:0], v...)
	if err := c.old.decode(c.oldSeen); err != nil {
		return fmt.Errorf("lineage of %q: %w", source, err)
	}
	return nil
}
