package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Lineage says which update of a source key was applied.
type Lineage struct {
	Source []byte // a view, valid until the function that got it returns, or the next call of Find
	Seq    uint64
	Time   int64  // ns since 1970
	Kept   uint64 // if not 0: Seq is in quarantine, and the rows that stand are those of the record of this seq
}

// Lineages calls f for the lineage of each source key >= from, in order. f returns false to stop.
func (v *View) Lineages(from []byte, f func(Lineage) bool) error {
	it, err := v.iter(&pebble.IterOptions{LowerBound: appendLineageKey(nil, from), UpperBound: []byte{kindLineage + 1}})
	if err != nil {
		return fmt.Errorf("store: lineages: %w", err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var l Lineage
		if l, err = lineageAt(it); err == nil && !f(l) {
			break
		}
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("store: lineages: %w", plain(err))
	}
	return nil
}

// A Finder looks lineages up in a view, best in the order of their source keys. Close it before the view.
type Finder struct {
	it  *pebble.Iterator
	key []byte
}

// Finder returns a finder.
func (v *View) Finder() (*Finder, error) {
	it, err := v.iter(&pebble.IterOptions{LowerBound: []byte{kindLineage}, UpperBound: []byte{kindLineage + 1}, UseL6Filters: true})
	if err != nil {
		return nil, fmt.Errorf("store: lineages: %w", err)
	}
	return &Finder{it: it}, nil
}

// Find returns the lineage of a source key. found is false when it has no record.
func (f *Finder) Find(source []byte) (l Lineage, found bool, err error) {
	f.key = appendLineageKey(f.key[:0], source)
	if !f.it.SeekPrefixGE(f.key) {
		if err := f.it.Error(); err != nil {
			return l, false, fmt.Errorf("store: lineage of %q: %w", source, plain(err))
		}
		return l, false, nil
	}
	l, err = lineageAt(f.it)
	return l, err == nil, err
}

// Close ends the finder.
func (f *Finder) Close() error { return f.it.Close() }

func lineageAt(it *pebble.Iterator) (l Lineage, err error) {
	v, err := it.ValueAndErr()
	if err != nil {
		return l, err
	}
	var head lineage
	r := reader{b: v}
	head.decodeHead(&r)
	return Lineage{it.Key()[1:], head.seq, head.time, head.kept}, r.err
}

// Gone says whether a record of this time and expiry, which are as those of Batch.Put, is due by what the state says.
func (s *State) Gone(time, expiry int64) bool {
	if expiry == Never {
		return false
	}
	return expiry != 0 && expiry <= s.ExpiredTo || time <= s.agedTo()
}
