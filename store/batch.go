package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Never is the expiry of a record that not even the stream's MaxAge ends.
const Never = math.MaxInt64

// ErrDuplicateEntry is returned by Batch.End when one record yielded the same (index, key) twice with different
// values or times: it has no one row to write.
var ErrDuplicateEntry = errors.New("store: one record emits the same key twice with different values")

// span is a range of a batch's slab.
type span struct{ off, n uint32 }

type changeKind uint8

const (
	changePut changeKind = iota
	changeRemove
	changeFail
	changeRemoveIf
)

func (k changeKind) lives() bool { return k == changePut || k == changeFail }

// change is what one update does to its source key.
type change struct {
	source span
	record span // the record itself; with Identity.KeepSource
	seq    uint64
	time   int64
	expiry int64
	first  int32 // of its rows; of Batch.failures when it failed
	rows   int32
	kind   changeKind
	stays  bool // the stream's MaxAge does not end the record
	keeps  bool // it failed, and the rows that stand are left
}

// row is a row that a change yields, hashed.
type row struct {
	key, value span
	expiry     int64
	hash       Hash
	index      uint16
}

// A Failure says why an update could not be transformed.
type Failure struct {
	Code    string // stable, "trap", "duplicate_entry", or "module" for a status that the module itself gave
	Number  uint16 // the module's own code, with Code "module"
	Message string
	Module  string // digest of the module that failed
	Update  []byte // the update itself, as an in frame of one record
}

// A Batch collects what one commit stores: for each source key what its newest update yields. Bytes are copied in, so
// callers may reuse theirs at once. A Batch is used by one goroutine at a time; Reset keeps its memory.
type Batch struct {
	// MaxAge is the stream's, ns, as it is configured now; 0 = none. The commit ends every record that is as old by its
	// clock, and remembers it. Reset sets it to 0.
	MaxAge int64

	// Rewind lets the commit move the cursor back: the stream was found to hold another history than the one that was
	// folded, and what it holds from there on is folded again. Such a batch changes no source key. Reset sets it to false.
	Rewind bool

	// Retry lets each change count only where the source key's record is the same one, seq and time, and in quarantine:
	// one that moved on stays as it is. When the record goes is not asked again. Reset sets it to false.
	Retry bool

	// Halt has Commit return a *Refused if one of b's updates failed and would be put into quarantine. Reset sets it to
	// false.
	Halt bool

	// More says that another commit follows soon, of what is there already: Commit may then hold b's back in memory and store
	// it together with those that follow, at the latest with the first that does not say so. Reset sets it to false.
	More bool

	// Swept, if not 0, is when all source keys had been compared with the stream's, ns since 1970. Reset sets it to 0.
	Swept int64

	// Copy has the commit be part of building a store from the records that another one keeps: see Copying. Reset sets it to
	// nil.
	Copy *Copying

	// Budget bounds quarantine; nil: only MaxHeld does. Reset sets it to nil.
	Budget *Budget

	// Quota is how much all generations of the fold may take on disk, bytes; 0: no matter how much. Commit returns ErrQuota
	// once they take more. Reset sets it to 0.
	Quota int64

	specs    []IndexSpec
	slab     []byte
	changes  []change
	rows     []row
	failures []Failure
	scratch  []byte
}

// NewBatch returns an empty batch for a store with these indexes.
func NewBatch(specs []IndexSpec) *Batch { return &Batch{specs: specs} }

// Reset empties b and keeps its memory.
func (b *Batch) Reset() {
	b.slab, b.changes, b.rows, b.failures = b.slab[:0], b.changes[:0], b.rows[:0], b.failures[:0]
	b.MaxAge, b.Rewind, b.Retry, b.Halt, b.Budget = 0, false, false, false, nil
	b.More, b.Swept, b.Copy, b.Quota = false, 0, nil, 0
}

// Expect readies b for so many source keys, and bytes of what it will hold, that it need not be copied while it grows.
func (b *Batch) Expect(keys, bytes int) {
	b.slab, b.changes, b.rows = slices.Grow(b.slab, bytes), slices.Grow(b.changes, keys), slices.Grow(b.rows, keys)
}

// Len returns the number of source keys in b.
func (b *Batch) Len() int { return len(b.changes) }

// Bytes returns how much b holds, in bytes.
func (b *Batch) Bytes() int { return len(b.slab) }

// Put begins the change of a source key whose record lives: the rows of the calls to Row that follow, up to End, are
// all that it yields. seq and time (ns since 1970) are the update's; at expiry (ns since 1970, 0 = none of its own) the
// record itself goes, or earlier with the stream's MaxAge, unless expiry is Never.
func (b *Batch) Put(source []byte, seq uint64, time, expiry int64) {
	b.begin(changePut, source, seq, time)
	b.expires(expiry)
}

// expires sets the expiry of the change that was begun last.
func (b *Batch) expires(at int64) {
	c := &b.changes[len(b.changes)-1]
	if at == Never {
		c.stays = true
		return
	}
	c.expiry = at
}

// Row adds a row to the change that Put began. expiry is in ns since 1970, 0 = never.
func (b *Batch) Row(index uint16, key, value []byte, expiry int64) error {
	if int(index) >= len(b.specs) {
		return fmt.Errorf("store: index %d of %d", index, len(b.specs))
	}
	c := &b.changes[len(b.changes)-1]
	r := row{index: index, key: b.copy(key), value: b.copy(value), expiry: expiry}
	r.hash, b.scratch = rowHash(b.scratch, b.specs[index].Name, key, b.at(c.source), value, expiry)
	b.rows = append(b.rows, r)
	c.rows++
	return nil
}

// End ends the change that Put began: its rows are put in order, and equal ones become one. After ErrDuplicateEntry
// the change is gone, and the caller says with Fail what is to become of the source key.
func (b *Batch) End() error {
	c := &b.changes[len(b.changes)-1]
	if c.rows < 2 {
		return nil
	}
	rows := b.rows[c.first:]
	slices.SortFunc(rows, func(x, y row) int {
		if x.index != y.index {
			return int(x.index) - int(y.index)
		}
		return bytes.Compare(b.at(x.key), b.at(y.key))
	})
	n := 1
	for _, r := range rows[1:] {
		last := rows[n-1]
		if r.index != last.index || !bytes.Equal(b.at(r.key), b.at(last.key)) {
			rows[n] = r
			n++
			continue
		}
		if r.hash != last.hash {
			b.Cancel()
			return ErrDuplicateEntry
		}
	}
	b.rows = b.rows[:int(c.first)+n]
	c.rows = int32(n)
	return nil
}

// Cancel takes back the change that Put began.
func (b *Batch) Cancel() {
	c := b.changes[len(b.changes)-1]
	b.changes = b.changes[:len(b.changes)-1]
	b.rows = b.rows[:c.first]
}

// Remove says that the record of a source key is gone: so are its rows.
func (b *Batch) Remove(source []byte, seq uint64, time int64) {
	b.begin(changeRemove, source, seq, time)
}

// RemoveIf says that the record of a source key is gone if the one that was applied is that of seq: a source key that
// moved on, or has no record, stays as it is.
func (b *Batch) RemoveIf(source []byte, seq uint64) { b.begin(changeRemoveIf, source, seq, 0) }

// Has says whether a sealed batch changes a source key.
func (b *Batch) Has(source []byte) bool {
	_, found := slices.BinarySearchFunc(b.changes, source, func(c change, source []byte) int {
		return bytes.Compare(b.at(c.source), source)
	})
	return found
}

// Fail puts the update of a source key into quarantine. Its rows are retracted. With expiry, which is as that of Put,
// the record goes, and leaves quarantine. f.Update is copied.
//
// After Fail, Keep has the rows stay.
func (b *Batch) Fail(source []byte, seq uint64, time, expiry int64, f Failure) {
	b.begin(changeFail, source, seq, time)
	b.expires(expiry)
	b.changes[len(b.changes)-1].first = int32(len(b.failures))
	f.Update = bytes.Clone(f.Update)
	b.failures = append(b.failures, f)
}

// Keep has the source key that Fail just put into quarantine keep the rows that stand: those of the last of its records
// that could be transformed. They stand as long as the record that failed, each no longer than its own expiry.
func (b *Batch) Keep() { b.changes[len(b.changes)-1].keeps = true }

func (b *Batch) begin(kind changeKind, source []byte, seq uint64, time int64) {
	b.changes = append(b.changes, change{kind: kind, source: b.copy(source), seq: seq, time: time, first: int32(len(b.rows))})
}

// copy appends p to the slab.
func (b *Batch) copy(p []byte) span {
	s := span{uint32(len(b.slab)), uint32(len(p))}
	b.slab = append(b.slab, p...)
	return s
}

func (b *Batch) at(s span) []byte { return b.slab[s.off : s.off+s.n : s.off+s.n] }

// Seal puts the changes in the order of their source keys and refuses a key that has two. Commit does it too: a caller
// that seals earlier takes the sorting off the commit's path.
func (b *Batch) Seal() error {
	less := func(x, y change) int { return bytes.Compare(b.at(x.source), b.at(y.source)) }
	if !slices.IsSortedFunc(b.changes, less) {
		slices.SortFunc(b.changes, less)
	}
	for i := 1; i < len(b.changes); i++ {
		if less(b.changes[i-1], b.changes[i]) == 0 {
			return fmt.Errorf("store: batch has source key %q twice", b.at(b.changes[i].source))
		}
	}
	return nil
}
