package store

import (
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// A base is iterators over the tables alone. Of a row of which nothing was written since its first era began, they see what every
// epoch sees that is not older than the base, whatever was committed since: so it outlives epochs.
//
// Invariant: when it was made all eras before its first were in tables, and no commit was on its way.
type base struct {
	root  *pebble.Iterator // the first iterator, as that of an epoch
	first uint64           // number of an era
	files uint64           // epochs.files when it was made

	// owned by epochs.mu
	idle    closing
	epochs  int  // that read it
	retired bool // the last of them ends it
	unused  int  // how often expire has seen it since an epoch was made that reads it
	old     bool // expire has seen that compactions may have replaced files of it
}

// An epoch has two bases at most: one over the tables as a compaction left them, for most rows, and a newer one, over what was
// flushed since too, for those that were written since then and not lately. The first is given up when its eras are mostEras, or
// their filters take more than half of a memtable.
const (
	mostBases = 2
	mostEras  = 8
)

// overTables are the options of the iterators of a base.
var overTables = pebble.IterOptions{OnlyReadGuaranteedDurable: true}

// readyBases has bases be what an epoch that is made now may read. No commit is on its way.
func (db *DB) readyBases() (ended closing, err error) {
	x := &db.epochs
	if len(x.eras) == 0 {
		return nil, nil
	}
	unknown, size := x.filters()
	for len(x.bases) > 0 && x.bases[0].first <= unknown {
		ended = append(ended, x.retireBase(0)...)
	}
	first := x.unflushed()
	if n := len(x.bases); unknown < first && (n == 0 || x.bases[n-1].first < first) {
		if n == mostBases {
			ended = append(ended, x.retireBase(n-1)...)
		}
		b, err := db.newBase(first)
		if err != nil {
			return ended, err
		}
		x.bases = append(x.bases[:len(x.bases):len(x.bases)], b)
	}
	if len(x.bases) > 1 && (len(x.eras) > mostEras || size > int(db.env.Memory.Memtable/2)) {
		ended = append(ended, x.retireBase(0)...)
	}
	for _, b := range x.bases {
		first, b.unused = min(first, b.first), 0
	}
	for x.eras[0].n < first {
		x.eras[0].give()
		x.eras = x.eras[1:]
	}
	return ended, nil
}

// newBase makes a base of the tables as they are.
func (db *DB) newBase(first uint64) (*base, error) {
	b, o := &base{first: first, files: db.epochs.files.Load()}, overTables
	it, err := db.pebble.NewIter(&o)
	if err != nil {
		return nil, err
	}
	b.root = it
	b.idle = append(b.idle, newCursor(it, b))
	return b, nil
}

// baseOf returns the oldest base of an epoch by which the rows within some bounds can be read, nil where none is.
func (e *epoch) baseOf(lower, upper []byte) *base {
	begin, hash := asked(lower, upper)
	last := uint64(0) // era in which something may be written there
	for _, era := range slices.Backward(e.eras) {
		if era.written.has(begin, hash) {
			last = era.n
			break
		}
	}
	for _, b := range e.bases {
		if b.first > last {
			return b
		}
	}
	return nil
}

// retireBase has epochs that are made from now on do without a base. It returns what is to be closed.
func (x *epochs) retireBase(i int) closing {
	b := x.bases[i]
	x.bases = slices.Delete(slices.Clone(x.bases), i, i+1)
	b.retired = true
	return b.ended()
}

// ended returns the cursors of a base that is retired and that no epoch reads.
func (b *base) ended() (all closing) {
	if b.retired && b.epochs == 0 {
		all, b.idle = b.idle, nil
	}
	return all
}

// expireBases retires the bases that no epoch was made with for longer than an epoch lives, and those which it has seen before
// to hold files that compactions may have replaced.
func (x *epochs) expireBases() (ended closing) {
	for i := len(x.bases) - 1; i >= 0; i-- {
		b := x.bases[i]
		if b.unused++; b.old || b.unused > 2 {
			ended = append(ended, x.retireBase(i)...)
		}
		b.old = b.files != x.files.Load()
	}
	return ended
}
