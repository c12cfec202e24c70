package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// errNoRecord is of a commit that would leave a lineage without its record, in a store that keeps them.
var errNoRecord = errors.New("store: a source key lives and its record is not given")

// A Record is the record of a live source key, as Batch.Record had it kept: what a generation is built from without its
// source. Its bytes are views, valid until the function that got it returns.
type Record struct {
	Source []byte
	Seq    uint64
	Time   int64  // ns since 1970
	Expiry int64  // as that of Batch.Put
	Bytes  []byte // the caller's: what Batch.Record got
}

// Record has a store with Identity.KeepSource keep the record of the change that Put or Fail began: whatever it yields now,
// another module may make something else of it. It goes when its source key's lineage goes. The bytes are copied.
func (b *Batch) Record(record []byte) { b.changes[len(b.changes)-1].record = b.copy(record) }

// putRecord stages what becomes of the record of a source key by a change whose lineage was just replaced. That of a Retry
// stands already.
func (c *committer) putRecord(b *Batch, ch *change, found, live bool) error {
	source := b.at(ch.source)
	switch {
	case !live && found:
		c.dropRecord(source)
		return nil
	case !live, b.Retry:
		return nil
	case ch.record.n == 0:
		return fmt.Errorf("%w: %q", errNoRecord, source)
	}
	t := c.stage
	from := t.mark()
	t.slab = appendRecordKey(t.slab, source)
	mid := t.mark()
	expiry := ch.expiry
	if ch.stays {
		expiry = Never
	}
	t.slab = appendI64(appendI64(appendU64(t.slab, ch.seq), ch.time), expiry)
	t.slab = append(t.slab, b.at(ch.record)...)
	t.set(listRecord, from, mid)
	return nil
}

// dropRecord stages that the record of a source key goes.
func (c *committer) dropRecord(source []byte) {
	t := c.stage
	from := t.mark()
	t.slab = appendRecordKey(t.slab, source)
	t.delete(listRecord, from)
}

// recordHead is the length of a record's value before its bytes.
const recordHead = 8 + 8 + 8

func (r *Record) decode(k, v []byte) error {
	head := reader{b: v}
	r.Source, r.Seq, r.Time, r.Expiry = k[1:], head.u64(), head.i64(), head.i64()
	if head.err != nil || len(v) == recordHead {
		return fmt.Errorf("record of %d bytes", len(v))
	}
	r.Bytes = v[recordHead:]
	return nil
}

// Records calls f for the record of each source key >= from, in order, of a store with Identity.KeepSource. f returns false
// to stop.
func (v *View) Records(from []byte, f func(Record) bool) error {
	it, err := v.iter(&pebble.IterOptions{LowerBound: appendRecordKey(nil, from), UpperBound: []byte{kindRecord + 1}})
	if err != nil {
		return fmt.Errorf("store: records: %w", err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err != nil {
			break
		}
		var r Record
		if err = r.decode(it.Key(), value); err == nil && !f(r) {
			break
		}
	}
	for _, more := range []error{it.Error(), it.Close()} {
		if err == nil {
			err = more
		}
	}
	if IsDamage(err) {
		v.db.setDamage(plain(err))
	}
	if err != nil {
		return fmt.Errorf("store: records: %w", plain(err))
	}
	return nil
}

// A Copying is the building of a store from the records that another one of the same source keeps.
//
// The commits of its batches leave the cursor where it was, at the beginning or where an earlier copying brought it, so a
// crash among them leaves a store that holds some of the records and says that it is nowhere: see DB.Partial. The last one
// changes no source key, and takes over what the other store was at: cursor and clock. Until then
// the lineages are those of a rewind: of seqs beyond the cursor.
//
// No points are kept of it: the indexes were never those of a position in between.
type Copying struct {
	From *State // of the view of the other store whose records are copied
	Last bool
}

// upTo is the highest seq that a record of the other store may have.
func (c *Copying) upTo() uint64 { return max(c.From.Position().Seq, c.From.Rewound) }

// longAgo is when source keys that were copied were compared with the stream's: the next comparison is due. The other store may
// just be finding that it holds what the stream does not.
const longAgo = 1

// advance is what a commit of a copying makes of the cursor.
func (c *Copying) advance(state *State) {
	if !c.Last {
		state.Rewound = max(state.Rewound, c.upTo())
		return
	}
	state.Positions = append([]Position(nil), c.From.Positions...)
	state.Swept, state.Rewound = max(state.Swept, longAgo), c.From.Rewound
}

// copiedFile is in the directory of a generation that is built of another one's records.
const copiedFile = "copied"

// NoteCopied notes, before anything is copied, of which generation the records are.
func (db *DB) NoteCopied(from string) error {
	return db.dir.replaceFile(db.dir.fs.PathJoin(db.path, copiedFile), []byte(from+"\n"))
}

// CopiedFrom returns what NoteCopied noted, "" when that is nothing.
func (db *DB) CopiedFrom() string {
	b, err := readFile(db.dir.fs, db.dir.fs.PathJoin(db.path, copiedFile))
	if err != nil {
		return "" // as good as none
	}
	return string(bytes.TrimSpace(b))
}

// Partial reports whether the store holds part of what a copying would bring, and no position.
func (db *DB) Partial() bool {
	s := db.State()
	return s.Position().Stream == "" && s.Live > 0
}
