package store

import (
	"bytes"
	"fmt"
)

// Owner is a source key with a live record: what was applied of it, and the rows that it owns.
type Owner struct {
	Lineage
	Expiry      int64 // when the record goes by what its message says, ns since 1970; 0 = no time of its own
	Quarantined bool  // the update is in quarantine
	Rows        []OwnedRow
}

// OwnedRow names a row.
type OwnedRow struct {
	Index  int // ordinal
	Key    []byte
	Expiry int64 // ns since 1970, 0 = never
}

// Owner returns what a source key owns. found is false when it has no live record.
func (v *View) Owner(source []byte) (o Owner, found bool, err error) {
	c, err := v.cursor(false)
	if err != nil {
		return o, false, fmt.Errorf("store: lineage of %q: %w", source, plain(err))
	}
	defer v.put(c)
	c.prefix = appendLineageKey(c.prefix[:0], source)
	l, found, err := c.lineage()
	if err != nil {
		v.db.retireEpoch() // an iterator that failed is not used again
		return o, false, fmt.Errorf("store: lineage of %q: %w", source, plain(err))
	}
	if !found {
		return o, false, nil
	}
	o = Owner{Lineage: Lineage{bytes.Clone(source), l.seq, l.time, l.kept}, Expiry: l.expiry, Quarantined: l.flags&lineageQuarantined != 0}
	for _, r := range l.rows {
		o.Rows = append(o.Rows, OwnedRow{int(r.index), bytes.Clone(r.key), r.expiry})
	}
	return o, true, nil
}

// lineage reads the lineage whose physical key is c.prefix. It is a view, until the cursor moves.
func (c *cursor) lineage() (l lineage, found bool, err error) {
	c.it.SetBounds(nil, nil)
	if !c.it.SeekPrefixGE(c.prefix) {
		return l, false, c.it.Error()
	}
	v, err := c.it.ValueAndErr()
	if err == nil {
		err = l.decode(v)
	}
	return l, err == nil, err
}

// Identity returns what the generation is a function of.
func (v *View) Identity() Identity { return v.db.Identity() }
