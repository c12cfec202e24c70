package runtime

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/store"
)

// differences collects how a store differs from what it must hold.
type differences []string

func (d *differences) add(format string, args ...any) {
	if len(*d) < 20 {
		*d = append(*d, fmt.Sprintf(format, args...))
	} else if len(*d) == 20 {
		*d = append(*d, "and more")
	}
}

// compare reads a store row for row and returns how it differs from w, and from itself.
func compare(t testing.TB, db *store.DB, w *wanted) (d differences) {
	t.Helper()
	v := must(db.View())(t)
	defer v.Close()
	s := v.State()
	if at := s.Position(); at.Seq != w.seq {
		d.add("the cursor is %d, the stream ends at %d", at.Seq, w.seq)
	}
	if s.Kept != uint64(len(w.kept)) {
		d.add("%d source keys keep rows, want %d", s.Kept, len(w.kept))
	}
	if s.Live != w.live || s.Quarantined != uint64(len(w.held)) || s.Expiring != w.expiring {
		d.add("%d live, %d quarantined, %d expiring; want %d, %d, %d", s.Live, s.Quarantined, s.Expiring, w.live, len(w.held), w.expiring)
	}
	for x, index := range s.Indexes {
		if index.Rows != w.counts[x] || index.Digest != w.digests[x] {
			d.add("index %c: %d rows with digest %s; want %d with %s", "ab"[x], index.Rows, index.Digest, w.counts[x], w.digests[x])
		}
		compareRows(t, &d, v, x, w)
	}
	compareLatest(t, &d, v, w)
	compareQuarantine(t, &d, v, w)
	report := must(db.Check())(t)
	for _, p := range report.Problems {
		d.add("check: %s", p)
	}
	return d
}

// compareRows compares every claimant of every key of an index.
func compareRows(t testing.TB, d *differences, v *store.View, index int, w *wanted) {
	t.Helper()
	seen := 0
	last := store.Row{}
	check(t, v.Scan(index, store.Range{Claimants: true}, func(r store.Row) bool {
		id := rowID{index, string(r.Key), string(r.Source)}
		want, ok := w.rows[id]
		switch {
		case !ok:
			d.add("row %s: must not be there", id)
		case r.Kept != w.kept[id.source]:
			d.add("row %s: kept of %d, want %d", id, r.Kept, w.kept[id.source])
		case !bytes.Equal(r.Value, want.Value) || r.Expiry != want.Expiry || r.Seq != want.Seq:
			d.add("row %s: %.40q, expiry %d, seq %d; want %.40q, %d, %d", id, r.Value, r.Expiry, r.Seq, want.Value, want.Expiry, want.Seq)
		}
		if c := bytes.Compare(last.Key, r.Key); seen > 0 && (c > 0 || c == 0 && bytes.Compare(last.Source, r.Source) >= 0) {
			d.add("row %s: out of order", id)
		}
		last = store.Row{Key: bytes.Clone(r.Key), Source: bytes.Clone(r.Source)}
		seen++
		return true
	}))
	if seen < int(w.counts[index]) {
		for id := range w.rows {
			if id.index == index && !stands(t, v, id) {
				d.add("row %s: is missing", id)
			}
		}
	}
}

func stands(t testing.TB, v *store.View, id rowID) (found bool) {
	t.Helper()
	check(t, v.Get(id.index, []byte(id.key), store.Range{Claimants: true}, func(r store.Row) bool {
		found = found || string(r.Source) == id.source
		return !found
	}))
	return found
}

// compareLatest compares what a read of index b gives: of each key the claimant with the highest seq.
func compareLatest(t testing.TB, d *differences, v *store.View, w *wanted) {
	t.Helper()
	best := map[string]rowID{}
	for id, row := range w.rows {
		if was, ok := best[id.key]; id.index == 1 && (!ok || row.Seq > w.rows[was].Seq) {
			best[id.key] = id
		}
	}
	for _, reverse := range []bool{false, true} {
		seen := 0
		check(t, v.Scan(1, store.Range{Reverse: reverse}, func(r store.Row) bool {
			seen++
			if id := best[string(r.Key)]; id.source != string(r.Source) || !bytes.Equal(r.Value, w.rows[id].Value) {
				d.add("the latest of %.40q is %.40q of %q; want %.40q of %q", r.Key, r.Value, r.Source, w.rows[id].Value, id.source)
			}
			return true
		}))
		if seen != len(best) {
			d.add("a read of b gives %d keys, want %d", seen, len(best))
		}
	}
	for key, id := range best {
		got := 0
		check(t, v.Get(1, []byte(key), store.Range{}, func(r store.Row) bool {
			got++
			if string(r.Source) != id.source {
				d.add("get of %q gives that of %q, want %q", key, r.Source, id.source)
			}
			return true
		}))
		if got != 1 {
			d.add("get of %q gives %d rows", key, got)
		}
	}
}

// compareQuarantine compares who is in quarantine, and why, and that the update itself is kept.
func compareQuarantine(t testing.TB, d *differences, v *store.View, w *wanted) {
	t.Helper()
	seen := 0
	check(t, v.Quarantine(nil, func(q store.Quarantined) bool {
		seen++
		want, ok := w.held[string(q.Source)]
		switch {
		case !ok:
			d.add("%q is in quarantine: %s of seq %d", q.Source, q.Code, q.Seq)
			return true
		case q.Code != want.Code || q.Number != want.Number || q.Seq != want.seq || q.Time != want.record.time:
			d.add("%q is in quarantine for %s %d of seq %d; want %s %d of %d", q.Source, q.Code, q.Number, q.Seq, want.Code, want.Number, want.seq)
		case want.Code == "module" && q.Message != want.Message || want.Code != "module" && q.Message == "":
			d.add("%q is in quarantine with the text %q; want %q", q.Source, q.Message, want.Message)
		case len(q.Module) != 64:
			d.add("%q is in quarantine by module %q", q.Source, q.Module)
		}
		u, err := abi.DecodeIn(q.Update)
		if err != nil {
			d.add("%q is in quarantine with an update that does not decode: %v", q.Source, err)
		} else if string(u.Key(0)) != want.key || string(u.Value(0)) != want.value || u.Records[0].Seq != want.seq {
			d.add("%q is in quarantine with the update %q = %q, want %q", q.Source, u.Key(0), u.Value(0), want.value)
		}
		return true
	}))
	if seen != len(w.held) {
		d.add("%d are in quarantine, want %d", seen, len(w.held))
	}
}
