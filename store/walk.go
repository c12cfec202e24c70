package store

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// bound sets the bounds of a cursor to the physical keys between which a range of an index lies. whole says that each key
// is read once. Those of a Get begin with c.prefix.
func (c *cursor) bound(index uint16, r *Range, whole bool) {
	c.lower, c.upper = appendKeyBound(c.lower[:0], index, r.Start), appendIndexEnd(c.upper[:0], index)
	if len(r.End) > 0 {
		c.upper = appendKeyBound(c.upper[:0], index, r.End)
	}
	if len(r.Prefix) > 0 {
		c.prefix = appendKeyBound(c.prefix[:0], index, r.Prefix)
		c.within(c.prefix)
	}
	if r.After != nil {
		c.after(index, r, whole)
	}
	if r.get {
		c.prefix = appendRowPrefix(c.prefix[:0], index, r.key)
		c.within(c.prefix)
	}
}

// after narrows the bounds to what comes after r.After.
func (c *cursor) after(index uint16, r *Range, whole bool) {
	at := appendRowPrefix(c.prefix[:0], index, r.After.Key)
	switch {
	case whole && r.Reverse:
		c.below(at)
	case whole:
		c.from(appendSuccessor(nil, at))
	case r.Reverse:
		at = append(at, r.After.Source...)
		c.below(at)
	default:
		at = append(append(at, r.After.Source...), 0)
		c.from(at)
	}
	c.prefix = at
}

// from, below and within narrow the bounds: to what is not less than a key, to what is less, to what begins with it.
func (c *cursor) from(key []byte) {
	if bytes.Compare(c.lower, key) < 0 {
		c.lower = append(c.lower[:0], key...)
	}
}

func (c *cursor) below(key []byte) {
	if bytes.Compare(c.upper, key) > 0 {
		c.upper = append(c.upper[:0], key...)
	}
}

func (c *cursor) within(prefix []byte) {
	c.from(prefix)
	c.walker.seek = appendSuccessor(c.walker.seek[:0], prefix)
	c.below(c.walker.seek)
}

// walk walks the rows within the bounds.
func (c *cursor) walk(r *Range) error {
	if r.get && !r.Reverse {
		return c.get()
	}
	return c.scan(r)
}

// get walks the rows within the bounds, which begin with c.prefix: all of a derived key. The tables' filters say which of them to
// look into, and nothing but that key is come by.
func (c *cursor) get() error {
	if bytes.Compare(c.lower, c.upper) >= 0 {
		return nil
	}
	c.it.SetBounds(nil, nil)
	return c.walker.walk(c.it, c.it.SeekPrefixGE(c.lower), false)
}

// scan walks the rows within the bounds.
func (c *cursor) scan(r *Range) error {
	if bytes.Compare(c.lower, c.upper) >= 0 {
		return nil
	}
	c.it.SetBounds(c.lower, c.upper)
	if r.Reverse {
		return c.walker.walk(c.it, c.it.Last(), true)
	}
	return c.walker.walk(c.it, c.it.First(), false)
}

// A walker hands the rows of a range to f, or one of each key.
type walker struct {
	f      func(Row) bool
	last   func()      // called when all were; may be nil
	until  func() bool // may be nil
	passed int         // rows
	keys   bool        // one of each key
	head   []byte      // the part of a physical key that the row before and its key are of
	key    []byte      // buffer of unescaped keys
	seek   []byte      // buffer of the place before which the key before lies
}

// untilEvery is after how many rows the walker asks whether to go on.
const untilEvery = 256

// begin readies a walker for a read. It keeps its memory.
func (w *walker) begin(r *Range, f func(Row) bool) {
	w.f, w.last, w.until, w.passed, w.keys, w.head = f, nil, r.Until, 0, r.Keys, w.head[:0]
}

// walk hands on the rows from where the iterator is; ok says that it is at one. A scan over a damaged file merely ends early,
// so the iterator's error decides whether what was read is all.
func (w *walker) walk(it *pebble.Iterator, ok, reverse bool) error {
	for ; ok; ok = w.step(it, reverse) {
		if w.passed++; w.passed%untilEvery == 0 && w.until != nil && w.until() {
			return nil
		}
		row, err := w.row(it)
		if err != nil {
			return err
		}
		if !w.f(row) {
			return nil
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	if w.last != nil {
		w.last()
	}
	return nil
}

// step goes to the next row, or the next key.
func (w *walker) step(it *pebble.Iterator, reverse bool) bool {
	switch {
	case !w.keys && !reverse:
		return it.Next()
	case !w.keys:
		return it.Prev()
	case !reverse:
		return it.NextPrefix()
	}
	w.seek = append(w.seek[:0], it.Key()[:prefixEnd(it.Key())]...)
	return it.SeekLT(w.seek)
}

// row returns the row that the iterator is at. The key of neighbours that share it is decoded once.
func (w *walker) row(it *pebble.Iterator) (row Row, err error) {
	k := it.Key()
	if n := len(w.head); n == 0 || len(k) < n || !bytes.Equal(k[:n], w.head) {
		_, key, source, ok := splitRowKey(k, w.key[:0])
		if !ok {
			return Row{}, fmt.Errorf("row key %x is malformed", k)
		}
		w.key, w.head = key, append(w.head[:0], k[:len(k)-len(source)]...)
	}
	if w.keys {
		return Row{Key: w.key}, nil
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return Row{}, err
	}
	row = Row{Key: w.key, Source: k[len(w.head):]}
	row.Value, row.Expiry, row.Seq, err = splitRowValue(v)
	if err != nil {
		return Row{}, fmt.Errorf("row %x: %w", k, err)
	}
	return row, nil
}

// newest hands one row of each key to f: that of the claimant whose source has the highest seq.
type newest struct {
	f    func(Row) bool
	best Row  // a copy of the best claimant so far of the key in hand
	have bool // best is set
}

// take keeps the best of a key, until the key changes.
func (n *newest) take(row Row) bool {
	more := true
	if n.have && !bytes.Equal(n.best.Key, row.Key) {
		more = n.f(n.best)
		n.have = false
	}
	if more && (!n.have || newer(row, n.best)) {
		n.best = Row{append(n.best.Key[:0], row.Key...), append(n.best.Source[:0], row.Source...),
			append(n.best.Value[:0], row.Value...), row.Seq, row.Expiry, row.Kept}
		n.have = true
	}
	return more
}

func (n *newest) end() {
	if n.have {
		n.f(n.best)
	}
}

// newer says which claimant a read gives; equal seqs, of two sources, are told apart by the source key, so that a read
// gives the same one in either direction.
func newer(x, y Row) bool {
	return x.Seq > y.Seq || x.Seq == y.Seq && bytes.Compare(x.Source, y.Source) > 0
}
