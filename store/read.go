package store

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// A View is the store at one commit: every read of it sees the same rows and the same cursor, whatever commits
// meanwhile. It holds files back from deletion, so it is short-lived; Close ends it.
//
// A view is safe for many goroutines, until it is closed.
type View struct {
	db    *DB
	state *State
	epoch *epoch                 // what it reads, shared with other views,
	spare atomic.Pointer[cursor] // with a cursor of its first base, or of it where it has none; nil while that is in use;
	own   pebble.Reader          // or what it reads alone
}

// View opens a view of the last commit.
func (db *DB) View() (*View, error) {
	v := &View{db: db}
	err := db.open(v, func() error {
		e, c, err := db.enter()
		if err != nil {
			return err
		}
		v.epoch, v.state = e, e.state
		v.spare.Store(c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Pin opens a view of the last commit that may be kept for minutes. While a snapshot is there, compactions keep whatever it
// sees; a pinned view holds the files back instead, once what was in memory when it was opened has been written to them.
func (db *DB) Pin() (*View, error) {
	return db.alone(func() pebble.Reader {
		return db.pebble.NewEventuallyFileOnlySnapshot([]pebble.KeyRange{{Start: []byte{0}, End: []byte{0xff}}})
	})
}

// alone opens a view of a snapshot of its own, with the state that is in it.
func (db *DB) alone(snapshot func() pebble.Reader) (*View, error) {
	v := &View{db: db}
	err := db.open(v, func() error {
		v.own, v.state = snapshot(), &State{}
		b, c, err := v.own.Get(keyState)
		if err != nil {
			return errors.Join(err, v.own.Close())
		}
		defer c.Close()
		if err := v.state.decode(b); err != nil {
			return errors.Join(err, v.own.Close())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// open counts a view, and opens it unless the store is closed.
func (db *DB) open(v *View, open func() error) error {
	db.closeMu.RLock()
	defer db.closeMu.RUnlock()
	if db.closed {
		return ErrClosed
	}
	if err := open(); err != nil {
		return fmt.Errorf("store: view: %w", plain(err))
	}
	db.readers.Add(1)
	db.views.Add(1)
	return nil
}

// Close ends the view.
func (v *View) Close() error {
	defer v.db.readers.Done()
	v.db.views.Add(-1)
	if v.own != nil {
		return v.own.Close()
	}
	v.db.epochs.leave(v.epoch, v.spare.Swap(nil))
	return nil
}

// State returns the cursor and the counts that the view's rows go with. It must not be changed.
func (v *View) State() *State { return v.state }

// iter returns an iterator over what the view sees. Whoever gets it closes it, before the view.
func (v *View) iter(o *pebble.IterOptions) (*pebble.Iterator, error) {
	if v.own != nil {
		return v.own.NewIter(o)
	}
	return v.db.iter(v.epoch, o)
}

// cursor returns a cursor over what the view sees, for put; one of a base, if the view has one, for rows.
func (v *View) cursor(rows bool) (c *cursor, err error) {
	if v.own != nil {
		it, err := v.own.NewIter(&pebble.IterOptions{})
		if err != nil {
			return nil, err
		}
		return newCursor(it, nil), nil
	}
	if !rows && len(v.epoch.bases) > 0 {
		return v.db.cursor(v.epoch, nil)
	}
	if c = v.spare.Swap(nil); c == nil {
		c, err = v.db.cursor(v.epoch, v.epoch.first())
	}
	return c, err
}

// sure returns a cursor that may be read with within the bounds of c: c itself, unless something may be written there since the
// first era of its base.
func (v *View) sure(c *cursor) (*cursor, error) {
	if c.base == nil {
		return c, nil
	}
	b := v.epoch.baseOf(c.lower, c.upper)
	if b == c.base {
		return c, nil
	}
	to, err := v.db.cursor(v.epoch, b)
	if err != nil {
		v.put(c)
		return nil, err
	}
	c.lower, to.lower = to.lower, c.lower
	c.upper, to.upper = to.upper, c.upper
	v.put(c)
	return to, nil
}

// put gives a cursor back.
func (v *View) put(c *cursor) {
	c.rest()
	switch {
	case v.own != nil:
		c.close()
	case c.base != v.epoch.first() || !v.spare.CompareAndSwap(nil, c):
		v.db.epochs.put(v.epoch, c)
	}
}

// Row is one row. Its bytes are views, valid until the function that got them returns.
type Row struct {
	Key, Source, Value []byte
	Seq                uint64 // of the record that it is of, in an index with collisions = "latest" or with Range.Latest; else 0
	Expiry             int64  // ns since 1970, 0 = never
	Kept               uint64 // if not 0: the row is of the source's record of this seq; a newer one is in quarantine
}

// A Range says which rows to read. Its zero value is all rows of the index, in the order of (key, source).
type Range struct {
	Prefix     []byte // only keys that start with it
	Start, End []byte // only keys >= Start and < End; empty = no bound
	Reverse    bool   // from the last to the first
	After      *Mark  // only what comes after it in the direction of reading
	Claimants  bool   // every claimant of a key, though the index's collisions are "latest"
	Latest     bool   // the claimant of a key whose source has the highest seq, though the index's collisions are "all"
	Keys       bool   // each key once, without source and value, whatever its claimants

	// Until, if set, is asked now and then, also where rows are passed over: true ends the reading, as f does.
	Until func() bool

	get bool   // it is of Get: the rows of
	key []byte // this key
}

// Mark is a place between rows: the last row of a page.
type Mark struct{ Key, Source []byte }

// Get calls f for the rows of one derived key: every claimant, by source key, or with collisions = "latest" the one
// whose source has the highest seq. f returns false to stop.
func (v *View) Get(index int, key []byte, r Range, f func(Row) bool) error {
	r.get, r.key = true, key
	return v.read(index, &r, f)
}

// Scan calls f for the rows of a range, in order. f returns false to stop.
func (v *View) Scan(index int, r Range, f func(Row) bool) error {
	return v.read(index, &r, f)
}

// latest says whether a read gives the newest claimant of each key.
func (v *View) latest(index int, r *Range) bool {
	return (r.Latest || v.db.specs[index].Collisions == Latest) && !r.Claimants && !r.Keys
}

// whole says whether a read gives a key once, so that what comes after a row is what comes after its key.
func (v *View) whole(index int, r *Range) bool { return r.Keys || v.latest(index, r) }

// read hands rows of an index to f.
func (v *View) read(index int, r *Range, f func(Row) bool) error {
	if index < 0 || index >= len(v.db.specs) {
		return fmt.Errorf("store: index %d of %d", index, len(v.db.specs))
	}
	c, err := v.cursor(true)
	if err == nil {
		c.bound(uint16(index), r, v.whole(index, r))
		c, err = v.sure(c)
	}
	if err != nil {
		return fmt.Errorf("store: read: %w", plain(err))
	}
	defer v.put(c)
	c.walker.begin(r, f)
	latest := v.latest(index, r)
	if latest {
		n := &newest{f: f}
		c.walker.f, c.walker.last = n.take, n.end
	}
	seqs := latest && v.db.specs[index].Collisions != Latest
	if seqs || v.state.Kept > 0 && !r.Keys {
		err = v.trace(c, seqs, r)
	} else {
		err = c.walk(r)
	}
	if err == nil {
		return nil
	}
	v.db.retireEpoch() // an iterator that failed is not used again
	if IsDamage(err) {
		v.db.setDamage(plain(err))
	}
	return fmt.Errorf("store: read index %s: %w", v.db.specs[index].Name, plain(err))
}

// trace hands on rows with what the lineage of their source key says.
func (v *View) trace(c *cursor, seqs bool, r *Range) error {
	find, err := v.Finder()
	if err != nil {
		return err
	}
	t := tracer{f: c.walker.f, seqs: seqs, find: find}
	c.walker.f = t.take
	err = c.walk(r)
	for _, more := range []error{t.err, find.Close()} {
		if err == nil {
			err = more
		}
	}
	return err
}

// A tracer hands rows to f with what the lineage of their source key says. Only a view in which some rows were kept has one
// at work, and a read that asks for the latest of rows which carry no seq.
type tracer struct {
	f    func(Row) bool
	seqs bool // rows get the seq of the record that they are of
	find *Finder
	err  error
}

func (t *tracer) take(row Row) bool {
	l, found, err := t.find.Find(row.Source)
	if err == nil && !found {
		err = fmt.Errorf("source key %q owns a row and has no lineage: %w", row.Source, ErrDamaged)
	}
	if t.err = err; err != nil {
		return false
	}
	row.Kept = l.Kept
	if t.seqs {
		row.Seq = l.Seq
	}
	if t.seqs && l.Kept != 0 {
		row.Seq = l.Kept
	}
	return t.f(row)
}

// Points returns the digests that were kept, oldest first.
func (v *View) Points() ([]Point, error) {
	it, err := v.iter(&pebble.IterOptions{LowerBound: []byte{kindPoint}, UpperBound: []byte{kindPoint + 1}})
	if err != nil {
		return nil, fmt.Errorf("store: points: %w", err)
	}
	var all []Point
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var b []byte
		if b, err = it.ValueAndErr(); err != nil {
			break
		}
		var p Point
		if err = p.decode(it.Key()[1:], b); err == nil {
			all = append(all, p)
		}
	}
	return all, errors.Join(err, it.Close())
}
