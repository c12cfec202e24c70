package runtime

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
)

// A Differ tells, record by record, in what the rows of two modules differ: what a generation of the one would hold and one
// of the other would not. It keeps counts and samples, and no rows. It is for one goroutine.
//
// What a record yields depends on the record alone, so two stores need not be built to be compared. What fails would be in
// quarantine, and has no rows here: with keep_last_good what stands depends on what was folded before.
type Differ struct {
	opt    DiffOptions
	sides  [2]*diffSide // old, new
	report DiffReport
}

// A DiffModule is a module with what it is granted and its config.
type DiffModule struct {
	Wasm    []byte
	Options plugin.Options
}

// DiffOptions say how records are compared.
type DiffOptions struct {
	Samples int   // of each kind, of each index; 0 = none
	Clock   int64 // of the fold, ns since 1970: what is due by then has no rows
}

// A DiffReport is what a Differ found.
type DiffReport struct {
	Records   uint64
	Old, New  abi.Manifest
	OldModule string // digest
	NewModule string
	Indexes   []IndexDiff // the old one's in their order, then those that only the new one has
	OldFailed uint64      // records
	NewFailed uint64
	NewlyFail Failing // of records that the old one transforms
	NoLonger  Failing // of records that the old one fails on
	Live      uint64  // source keys of the new one: see store.Budget
}

// Failing are records that one of two modules fails on, and the other does not.
type Failing struct {
	Records uint64
	Samples []FailureSample
}

// A FailureSample is one of them.
type FailureSample struct {
	Source []byte
	Seq    uint64
	Reason string
}

// An IndexDiff is what differs in one index.
type IndexDiff struct {
	Name             string
	OldRows, NewRows uint64
	Appear           uint64 // rows that only the new one has
	Disappear        uint64 // rows that only the old one has
	Change           uint64 // rows of the same key and source with another value or time
	Samples          [3][]RowSample
}

// The kinds of difference, as they index IndexDiff.Samples.
const (
	DiffAppear = iota
	DiffDisappear
	DiffChange
)

// A RowSample is one row that differs. Of one that appears there is no old value, of one that disappears no new one.
type RowSample struct {
	Key, Source          []byte
	Seq                  uint64
	Old, New             []byte
	OldExpiry, NewExpiry int64 // ns since 1970, 0 = never
}

// Same reports whether nothing differs.
func (r *DiffReport) Same() bool {
	for _, x := range r.Indexes {
		if x.Appear+x.Disappear+x.Change > 0 {
			return false
		}
	}
	return r.NewlyFail.Records+r.NoLonger.Records == 0
}

// Fewer says for which index a switch from the old one to the new one would be held, nil for none.
func (r *DiffReport) Fewer() error {
	for _, x := range r.Indexes {
		if slices.Contains(r.Old.Indexes, x.Name) && slices.Contains(r.New.Indexes, x.Name) && tooFew(x.NewRows, x.OldRows) {
			return fmt.Errorf("its index %s would have %d rows, the old one has %d: %w", x.Name, x.NewRows, x.OldRows, errFewer)
		}
	}
	return nil
}

// NewDiffer compiles both modules. What refuses one of them is a *Stop.
func NewDiffer(ctx context.Context, before, after DiffModule, o DiffOptions) (*Differ, error) {
	d := &Differ{opt: o}
	for i, m := range []DiffModule{before, after} {
		side, err := newDiffSide(ctx, m)
		if err != nil {
			return nil, errors.Join(&Stop{CodeModule, fmt.Errorf("the %s module: %w", [...]string{"old", "new"}[i], err)}, d.Close(ctx))
		}
		d.sides[i] = side
	}
	r := &d.report
	for _, s := range d.sides {
		for _, name := range s.manifest.Indexes {
			at := slices.IndexFunc(r.Indexes, func(x IndexDiff) bool { return x.Name == name })
			if at < 0 {
				at = len(r.Indexes)
				r.Indexes = append(r.Indexes, IndexDiff{Name: name})
			}
			s.index = append(s.index, at)
		}
	}
	r.Old, r.OldModule = d.sides[0].manifest, d.sides[0].digest
	r.New, r.NewModule = d.sides[1].manifest, d.sides[1].digest
	return d, nil
}

// Close closes the modules.
func (d *Differ) Close(ctx context.Context) (err error) {
	for _, s := range d.sides {
		if s != nil {
			s.worker.Close(ctx)
			err = errors.Join(err, s.module.Close(ctx))
		}
	}
	return err
}

// Report returns what was found so far. Its memory is the Differ's.
func (d *Differ) Report() *DiffReport { return &d.report }

// Add compares what both modules make of a batch's records: each the newest of its source key, and added once.
func (d *Differ) Add(ctx context.Context, b *source.Batch) error {
	recs := make([]int32, 0, b.Len())
	for i := range b.Len() {
		if due := b.Expiry(i); due == 0 || due > d.opt.Clock {
			recs = append(recs, int32(i))
		}
	}
	return d.compare(ctx, &b.Updates, recs)
}

// compare transforms records by both modules, and compares. Where that yields too much at once, it does so with each half.
func (d *Differ) compare(ctx context.Context, u *abi.Updates, recs []int32) error {
	var done sync.WaitGroup
	var errs [2]error
	for i, s := range d.sides {
		done.Go(func() { errs[i] = s.transform(ctx, u, recs, d.opt.Clock) })
	}
	done.Wait()
	if err := errors.Join(errs[0], errs[1]); errors.Is(err, errOverflow) && len(recs) > 1 {
		mid := len(recs) / 2
		if err := d.compare(ctx, u, recs[:mid]); err != nil {
			return err
		}
		return d.compare(ctx, u, recs[mid:])
	} else if err != nil {
		return err
	}
	for i, rec := range recs {
		d.record(u, rec, &d.sides[0].verdicts[i], &d.sides[1].verdicts[i])
	}
	return nil
}

// record counts how two verdicts on one record differ.
func (d *Differ) record(u *abi.Updates, rec int32, was, is *diffVerdict) {
	r := &d.report
	r.Records++
	if was.failed {
		r.OldFailed++
	}
	if is.failed {
		r.NewFailed++
	}
	switch {
	case is.failed && !was.failed:
		d.fails(&r.NewlyFail, u, rec, is.reason)
	case was.failed && !is.failed:
		d.fails(&r.NoLonger, u, rec, was.reason)
	}
	old, now := d.sides[0].rows[was.first:was.end], d.sides[1].rows[is.first:is.end]
	for len(old)+len(now) > 0 {
		switch c := firstOf(d.sides[0], old, d.sides[1], now); {
		case c < 0:
			d.row(u, rec, &old[0], nil)
			old = old[1:]
		case c > 0:
			d.row(u, rec, nil, &now[0])
			now = now[1:]
		default:
			d.row(u, rec, &old[0], &now[0])
			old, now = old[1:], now[1:]
		}
	}
}

func (d *Differ) fails(f *Failing, u *abi.Updates, rec int32, reason string) {
	if f.Records++; len(f.Samples) < d.opt.Samples {
		x := &u.Records[rec]
		f.Samples = append(f.Samples, FailureSample{bytes.Clone(u.At(x.Key)), x.Seq, reason})
	}
}

// row counts a row that one of the two has, or both.
func (d *Differ) row(u *abi.Updates, rec int32, was, is *diffRow) {
	x := &d.report.Indexes[cmp.Or(was, is).index]
	sample := RowSample{Source: u.At(u.Records[rec].Key), Seq: u.Records[rec].Seq}
	if was != nil {
		x.OldRows++
		s := d.sides[0]
		sample.Key, sample.Old, sample.OldExpiry = s.at(was.key), s.at(was.value), was.expiry
	}
	if is != nil {
		x.NewRows++
		s := d.sides[1]
		sample.Key, sample.New, sample.NewExpiry = s.at(is.key), s.at(is.value), is.expiry
	}
	kind := DiffChange
	switch {
	case was == nil:
		kind = DiffAppear
		x.Appear++
	case is == nil:
		kind = DiffDisappear
		x.Disappear++
	case sample.OldExpiry != sample.NewExpiry || !bytes.Equal(sample.Old, sample.New):
		x.Change++
	default:
		return
	}
	if len(x.Samples[kind]) < d.opt.Samples {
		for _, b := range []*[]byte{&sample.Key, &sample.Source, &sample.Old, &sample.New} {
			*b = bytes.Clone(*b)
		}
		x.Samples[kind] = append(x.Samples[kind], sample)
	}
}
