package runtime

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/store"
)

// diffBytes is what one side of a Differ holds of rows at a time, but for those of one record.
const diffBytes = 8 << 20

// A diffSide is one of the two modules of a Differ, and what it makes of the records in hand. It is a plugin.Sink.
type diffSide struct {
	module   *plugin.Module
	worker   *plugin.Worker
	manifest abi.Manifest
	digest   string
	index    []int // of the report, by the module's ordinal

	u        *abi.Updates
	clock    int64
	verdicts []diffVerdict // one a record
	rows     []diffRow
	slab     []byte
	place    map[int32]int // in verdicts, by the record
}

// A diffVerdict is what becomes of one record: rows, sorted by index and key, or a failure.
type diffVerdict struct {
	first, end int // of the rows
	failed     bool
	reason     string
}

type diffRow struct {
	index      int
	key, value diffSpan
	expiry     int64
}

type diffSpan struct{ off, end int }

func newDiffSide(ctx context.Context, m DiffModule) (*diffSide, error) {
	module, err := plugin.Compile(ctx, m.Wasm, m.Options)
	if err != nil {
		return nil, err
	}
	s := &diffSide{module: module, worker: module.Worker(), manifest: module.Manifest(), digest: module.Digest(), place: map[int32]int{}}
	if err := s.worker.Warm(ctx); err != nil {
		s.worker.Close(ctx)
		module.Close(ctx)
		return nil, err
	}
	return s, nil
}

func (s *diffSide) at(x diffSpan) []byte { return s.slab[x.off:x.end] }

func (s *diffSide) keep(b []byte) diffSpan {
	s.slab = append(s.slab, b...)
	return diffSpan{len(s.slab) - len(b), len(s.slab)}
}

// transform puts into s.verdicts what becomes of each record.
func (s *diffSide) transform(ctx context.Context, u *abi.Updates, recs []int32, clock int64) error {
	s.u, s.clock, s.rows, s.slab = u, clock, s.rows[:0], s.slab[:0]
	s.verdicts = append(s.verdicts[:0], make([]diffVerdict, len(recs))...)
	clear(s.place)
	shown := make([]int32, 0, len(recs))
	for i, rec := range recs {
		if u.Records[rec].Op == abi.OpPut || s.manifest.WantsDelete() {
			s.place[rec] = i
			shown = append(shown, rec)
		}
	}
	return s.worker.Transform(ctx, u, shown, s)
}

// Yield is part of plugin.Sink.
func (s *diffSide) Yield(rec int32, entries plugin.Entries) error {
	v := &s.verdicts[s.place[rec]]
	v.first = len(s.rows)
	for i := range entries.Len() {
		e := entries.At(i)
		s.rows = append(s.rows, diffRow{s.index[e.Index], s.keep(e.Key), s.keep(e.Value), expiry(s.u.Records[rec].Time, e.TTL)})
	}
	mine := s.rows[v.first:]
	slices.SortStableFunc(mine, func(a, b diffRow) int { return orderRows(s, a, s, b) })
	kept := mine[:0]
	for _, r := range mine {
		if n := len(kept); n > 0 && orderRows(s, kept[n-1], s, r) == 0 {
			if kept[n-1].expiry != r.expiry || !bytes.Equal(s.at(kept[n-1].value), s.at(r.value)) {
				return s.Fail(rec, duplicate(s.digest))
			}
			continue
		}
		kept = append(kept, r)
	}
	kept = slices.DeleteFunc(kept, func(r diffRow) bool { return r.expiry != 0 && r.expiry <= s.clock })
	v.end = v.first + len(kept)
	s.rows = s.rows[:v.end]
	return s.room()
}

// Fail is part of plugin.Sink.
func (s *diffSide) Fail(rec int32, f store.Failure) error {
	v := &s.verdicts[s.place[rec]]
	v.first, v.end, v.failed, v.reason = 0, 0, true, f.Reason()
	return s.room()
}

// room asks for fewer records at once where they yield too much.
func (s *diffSide) room() error {
	if len(s.slab)+rowCost*len(s.rows) > diffBytes && len(s.verdicts) > 1 {
		return errOverflow
	}
	return nil
}

// firstOf says which of two sorted lists has the next row, 0 when both have it.
func firstOf(a *diffSide, old []diffRow, b *diffSide, now []diffRow) int {
	switch {
	case len(now) == 0:
		return -1
	case len(old) == 0:
		return 1
	}
	return orderRows(a, old[0], b, now[0])
}

func orderRows(a *diffSide, x diffRow, b *diffSide, y diffRow) int {
	return cmp.Or(cmp.Compare(x.index, y.index), bytes.Compare(a.at(x.key), b.at(y.key)))
}
