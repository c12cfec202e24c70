package store

import (
	"bytes"
	"encoding/binary"
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
	if state.Expiring == 0 {
		return nil
	}
	// Nothing before the last ExpiredTo is in the queue, but tombstones are: seek past them.
	it, err := db.pebble.NewIter(&pebble.IterOptions{
		LowerBound: appendExpiryKey(nil, db.State().ExpiredTo, nil),
		UpperBound: appendExpiryKey(nil, state.ExpiredTo+1, nil)})
	if err != nil {
		return err
	}
	defer it.Close()
	at := int64(0)
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		if len(k) < expiryHead {
			return fmt.Errorf("expiry queue has a key of %d bytes", len(k))
		}
		t := int64(binary.BigEndian.Uint64(k[1:]))
		if len(d.keys) >= maxDue && t != at {
			state.ExpiredTo = at
			break
		}
		at = t
		d.keys = append(d.keys, span{uint32(len(d.slab)), uint32(len(k) - expiryHead)})
		d.slab = append(d.slab, k[expiryHead:]...)
	}
	slices.SortFunc(d.keys, func(x, y span) int {
		return bytes.Compare(d.slab[x.off:x.off+x.n], d.slab[y.off:y.off+y.n])
	})
	return it.Error()
}
