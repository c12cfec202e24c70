package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"
)

// plainHash is the hash of a row, written from its definition.
func plainHash(index, key, source, value string, expiry int64) Hash {
	var b []byte
	for _, s := range []string{index, key, source} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(expiry))
	h := xxh3.HashString128(string(b) + index + key + source + value)
	return Hash{h.Hi, h.Lo}
}

// compare returns the first difference between a store and the world that it should be.
func (w *world) compare(db *DB) error {
	open := db.View
	if w.pos.Seq%2 == 0 {
		open = db.Pin // they read the same
	}
	v, err := open()
	if err != nil {
		return err
	}
	defer v.Close()
	is := *v.State()
	is.Aging = 0 // the queue may be made before the commit that needs it; Check compares the two
	if got, want := fmt.Sprintf("%+v", is), fmt.Sprintf("%+v", w.state()); got != want {
		return fmt.Errorf("state:\n is  %s\nwant %s", got, want)
	}
	for i := range w.specs {
		for _, r := range []Range{{}, {Claimants: true}, {Latest: true}, {Reverse: true}, {Claimants: true, Reverse: true}, {Latest: true, Reverse: true}} {
			got, want, err := []string(nil), w.rows(i, r), error(nil)
			err = v.Scan(i, r, func(r Row) bool {
				got = append(got, fact(string(r.Key), string(r.Source), string(r.Value), r.Seq, r.Kept, r.Expiry))
				return true
			})
			if err != nil {
				return err
			}
			if r.Reverse {
				slices.Reverse(got)
			}
			if err := same2(got, want); err != nil {
				return fmt.Errorf("index %s, %+v: %w", w.specs[i].Name, r, err)
			}
		}
		if err := w.compareKeys(v, i); err != nil {
			return fmt.Errorf("keys of index %s: %w", w.specs[i].Name, err)
		}
	}
	return errors.Join(w.compareHeld(v), w.compareRecords(v))
}

// compareRecords compares the records that are kept.
func (w *world) compareRecords(v *View) error {
	var got, want []string
	text := func(source string, seq uint64, time, expiry int64, raw string) string {
		return fmt.Sprintf("%q %d %d %d %s", source, seq, time, expiry, raw)
	}
	err := v.Records(nil, func(r Record) bool {
		got = append(got, text(string(r.Source), r.Seq, r.Time, r.Expiry, string(r.Bytes)))
		return true
	})
	for source, r := range w.records {
		if v.db.id.KeepSource {
			want = append(want, text(source, r.seq, r.time, r.expiry, r.raw))
		}
	}
	slices.Sort(want)
	return errors.Join(err, same2(got, want))
}

// compareKeys compares the keys of an index, read in both directions.
func (w *world) compareKeys(v *View, index int) error {
	var want []string
	for _, r := range w.records {
		for p := range r.entries {
			if int(p.index) == index {
				want = append(want, p.key)
			}
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	for _, r := range []Range{{Keys: true}, {Keys: true, Reverse: true}} {
		var got []string
		err := v.Scan(index, r, func(r Row) bool {
			got = append(got, string(r.Key))
			return len(r.Source)+len(r.Value) == 0
		})
		if r.Reverse {
			slices.Reverse(got)
		}
		if err = errors.Join(err, same2(got, want)); err != nil {
			return err
		}
	}
	return nil
}

// compareHeld compares quarantine.
func (w *world) compareHeld(v *View) error {
	var got, want []string
	err := v.Quarantine(nil, func(q Quarantined) bool {
		got = append(got, fmt.Sprintf("%q %d %d kept %d %s %s %s %s", q.Source, q.Seq, q.Time, q.Kept, q.Code, q.Message, q.Module, q.Update))
		return true
	})
	for source, r := range w.records {
		if r.failed {
			want = append(want, fmt.Sprintf("%q %d %d kept %d trap at %s m %s", source, r.seq, r.time, r.kept, source, source))
		}
	}
	slices.Sort(want)
	if err != nil {
		return err
	}
	return same2(got, want)
}

func same2(got, want []string) error {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(want):
			return fmt.Errorf("%d rows, want %d; one too many: %s", len(got), len(want), got[i])
		case i >= len(got):
			return fmt.Errorf("%d rows, want %d; missing: %s", len(got), len(want), want[i])
		case got[i] != want[i]:
			return fmt.Errorf("row %d of %d:\n is  %s\nwant %s", i, len(want), got[i], want[i])
		}
	}
	return nil
}
