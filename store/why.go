package store

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
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
	value, c, err := v.snap.Get(appendLineageKey(nil, source))
	if err == pebble.ErrNotFound {
		return o, false, nil
	}
	if err != nil {
		return o, false, fmt.Errorf("store: lineage of %q: %w", source, plain(err))
	}
	defer c.Close()
	var l lineage
	if err := l.decode(value); err != nil {
		return o, false, fmt.Errorf("store: lineage of %q: %w", source, err)
	}
	o = Owner{Lineage: Lineage{bytes.Clone(source), l.seq, l.time, l.kept}, Expiry: l.expiry, Quarantined: l.flags&lineageQuarantined != 0}
	for _, r := range l.rows {
		o.Rows = append(o.Rows, OwnedRow{int(r.index), bytes.Clone(r.key), r.expiry})
	}
	return o, true, nil
}

// Identity returns what the generation is a function of.
func (v *View) Identity() Identity { return v.db.Identity() }
