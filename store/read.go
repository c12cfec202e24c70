package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// A View is the store at one commit: every read of it sees the same rows and the same cursor, whatever commits
// meanwhile. It holds files back from deletion, so it is short-lived; Close ends it.
//
// A view is safe for many goroutines, until it is closed.
type View struct {
	db    *DB
	snap  pebble.Reader
	state State
}

// View opens a view of the last commit.
func (db *DB) View() (*View, error) {
	return db.view(func() pebble.Reader { return db.pebble.NewSnapshot() })
}

// Pin opens a view of the last commit that may be kept for minutes. While a snapshot is there, compactions keep whatever it
// sees; a pinned view holds the files back instead, once what was in memory when it was opened has been written to them.
func (db *DB) Pin() (*View, error) {
	return db.view(func() pebble.Reader {
		return db.pebble.NewEventuallyFileOnlySnapshot([]pebble.KeyRange{{Start: []byte{0}, End: []byte{0xff}}})
	})
}

func (db *DB) view(open func() pebble.Reader) (*View, error) {
	db.closeMu.RLock()
	defer db.closeMu.RUnlock()
	if db.closed {
		return nil, ErrClosed
	}
	db.readers.Add(1)
	db.views.Add(1)
	v := &View{db: db, snap: open()}
	if err := v.load(); err != nil {
		v.Close()
		return nil, fmt.Errorf("store: view: %w", plain(err))
	}
	return v, nil
}

// load reads the state that the snapshot holds, which may be newer than what State returned a moment ago.
func (v *View) load() error {
	b, c, err := v.snap.Get(keyState)
	if err != nil {
		return err
	}
	defer c.Close()
	return v.state.decode(b)
}

// Close ends the view.
func (v *View) Close() error {
	defer v.db.readers.Done()
	v.db.views.Add(-1)
	return v.snap.Close()
}

// State returns the cursor and the counts that the view's rows go with.
func (v *View) State() *State { return &v.state }

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
}

// Mark is a place between rows: the last row of a page.
type Mark struct{ Key, Source []byte }

// Get calls f for the rows of one derived key: every claimant, by source key, or with collisions = "latest" the one
// whose source has the highest seq. f returns false to stop.
func (v *View) Get(index int, key []byte, r Range, f func(Row) bool) error {
	if err := v.checkIndex(index); err != nil {
		return err
	}
	prefix := appendRowPrefix(nil, uint16(index), key)
	lower, upper := v.bounds(index, r)
	if bytes.Compare(lower, prefix) < 0 {
		lower = prefix
	}
	if end := appendSuccessor(nil, prefix); bytes.Compare(upper, end) > 0 {
		upper = end
	}
	return v.read(index, lower, upper, r, f)
}

// Scan calls f for the rows of a range, in order. f returns false to stop.
func (v *View) Scan(index int, r Range, f func(Row) bool) error {
	if err := v.checkIndex(index); err != nil {
		return err
	}
	lower, upper := v.bounds(index, r)
	return v.read(index, lower, upper, r, f)
}

func (v *View) checkIndex(index int) error {
	if index < 0 || index >= len(v.db.specs) {
		return fmt.Errorf("store: index %d of %d", index, len(v.db.specs))
	}
	return nil
}

// bounds returns the physical keys between which a range lies.
func (v *View) bounds(index int, r Range) (lower, upper []byte) {
	x := uint16(index)
	lower, upper = appendKeyBound(nil, x, r.Start), appendIndexEnd(nil, x)
	if len(r.End) > 0 {
		upper = appendKeyBound(nil, x, r.End)
	}
	if len(r.Prefix) > 0 {
		p := appendKeyBound(nil, x, r.Prefix)
		lower = larger(lower, p)
		upper = smaller(upper, appendSuccessor(nil, p))
	}
	if r.After == nil {
		return lower, upper
	}
	whole := r.Keys || v.latest(index, r)
	at := appendRowPrefix(nil, x, r.After.Key)
	switch {
	case whole && r.Reverse:
		upper = smaller(upper, at)
	case whole:
		lower = larger(lower, appendSuccessor(nil, at))
	case r.Reverse:
		upper = smaller(upper, append(at, r.After.Source...))
	default:
		lower = larger(lower, append(append(at, r.After.Source...), 0))
	}
	return lower, upper
}

// latest says whether a read gives the newest claimant of each key.
func (v *View) latest(index int, r Range) bool {
	return (r.Latest || v.db.specs[index].Collisions == Latest) && !r.Claimants && !r.Keys
}

func larger(x, y []byte) []byte {
	if bytes.Compare(x, y) >= 0 {
		return x
	}
	return y
}

func smaller(x, y []byte) []byte {
	if bytes.Compare(x, y) <= 0 {
		return x
	}
	return y
}

// read walks the rows between two physical keys. A scan over a damaged file merely ends early, so the iterator's
// error decides whether what was read is all.
func (v *View) read(index int, lower, upper []byte, r Range, f func(Row) bool) error {
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("store: read: %w", err)
	}
	w := walker{f: f, until: r.Until, keys: r.Keys}
	if v.latest(index, r) {
		n := &newest{f: f}
		w.f, w.last = n.take, n.end
	}
	t := tracer{f: w.f, seqs: v.latest(index, r) && v.db.specs[index].Collisions != Latest}
	if t.seqs || v.state.Kept > 0 && !r.Keys {
		w.f = t.take
		t.find, err = v.Finder()
	}
	if err == nil {
		err = w.walk(it, r.Reverse)
	}
	for _, more := range []error{t.err, it.Close(), t.close()} {
		if err == nil {
			err = more
		}
	}
	if IsDamage(err) {
		v.db.setDamage(plain(err))
	}
	if err != nil {
		return fmt.Errorf("store: read index %s: %w", v.db.specs[index].Name, plain(err))
	}
	return nil
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

func (t *tracer) close() error {
	if t.find == nil {
		return nil
	}
	return t.find.Close()
}

// A walker hands the rows of a range to f, or one of each key.
type walker struct {
	f      func(Row) bool
	last   func()      // called when all were; may be nil
	until  func() bool // may be nil
	passed int         // rows
	keys   bool        // one of each key
	key    []byte      // buffer of unescaped keys
	seek   []byte      // buffer of the place before which the key before lies
}

// untilEvery is after how many rows the walker asks whether to go on.
const untilEvery = 256

func (w *walker) walk(it *pebble.Iterator, reverse bool) error {
	step, ok := it.Next, false
	switch {
	case reverse && w.keys:
		step, ok = func() bool { return w.before(it) }, it.Last()
	case reverse:
		step, ok = it.Prev, it.Last()
	case w.keys:
		step, ok = it.NextPrefix, it.First()
	default:
		ok = it.First()
	}
	for ; ok; ok = step() {
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

// before goes to the last row of the key before.
func (w *walker) before(it *pebble.Iterator) bool {
	w.seek = append(w.seek[:0], it.Key()[:prefixEnd(it.Key())]...)
	return it.SeekLT(w.seek)
}

func (w *walker) row(it *pebble.Iterator) (Row, error) {
	_, key, source, ok := splitRowKey(it.Key(), w.key[:0])
	if !ok {
		return Row{}, fmt.Errorf("row key %x is malformed", it.Key())
	}
	w.key = key
	if w.keys {
		return Row{Key: key}, nil
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return Row{}, err
	}
	row := Row{Key: key, Source: source}
	row.Value, row.Expiry, row.Seq, err = splitRowValue(v)
	if err != nil {
		return Row{}, fmt.Errorf("row %x: %w", it.Key(), err)
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

// Points returns the digests that were kept, oldest first.
func (v *View) Points() ([]Point, error) {
	it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{kindPoint}, UpperBound: []byte{kindPoint + 1}})
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
