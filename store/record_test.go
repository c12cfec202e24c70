package store

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func recordKey(source string) []byte { return appendRecordKey(nil, []byte(source)) }

func TestCheckRecords(t *testing.T) {
	open := func(t *testing.T) *DB {
		d, db, err := openKeeping(dataDir, options(vfs.NewMem()), twoIndexes)
		ok(t, err)
		t.Cleanup(func() { ok(t, closeStore(d, db)) })
		return db
	}
	checkFindsIn(t, open, sabotaged, []wreck{
		{"nothing", func(b breaker) {}, ""},
		{"record missing", func(b breaker) { b.del(recordKey("s2")) },
			`record of source key "s2": it has a lineage, and its record is not kept`},
		{"record too many", func(b breaker) { b.set(recordKey("s9"), b.get(recordKey("s2"))) },
			`record of source key "s9": the record kept is that of seq 2, its lineage does not say so`},
		{"record of another seq", func(b breaker) { b.set(recordKey("s3"), b.get(recordKey("s2"))) },
			`record of source key "s3": the record kept is that of seq 2, its lineage does not say so`},
		{"record cut off", func(b breaker) { b.set(recordKey("s1"), b.get(recordKey("s1"))[:recordHead]) },
			`record of source key "s1": record of 24 bytes`},
	})
}

// TestRecordStranger: a store that keeps no records must not hold one.
func TestRecordStranger(t *testing.T) {
	checkFinds(t, sabotaged, []wreck{
		{"a record", func(b breaker) { b.set(recordKey("s1"), []byte("x")) }, `key: 507331 is of no kind that this format has`},
	})
}

// TestNoRecord: a store that keeps records takes no change without one.
func TestNoRecord(t *testing.T) {
	d, db, err := openKeeping(dataDir, options(vfs.NewMem()), twoIndexes)
	ok(t, err)
	b := NewBatch(twoIndexes)
	b.Put([]byte("s"), 1, 1, 0)
	if _, err := db.Commit(b, Position{Stream: "S", Seq: 1}, 1); !errors.Is(err, errNoRecord) {
		t.Errorf("%v", err)
	}
	ok(t, closeStore(d, db))
}

// TestCopying builds stores from the records of others, with crashes in between, and compares them with plain maps.
func TestCopying(t *testing.T) {
	rng := seeded(t)
	partial := 0
	for round := 0; round < 20 || partial == 0 && round < 1000; round++ {
		w := newWorld(twoIndexes)
		d, from, err := openKeeping(dataDir, options(vfs.NewMem()), twoIndexes)
		ok(t, err)
		for _, s := range history(rng, style{steps: 20, sources: 1 + rng.IntN(40), events: 1 + rng.IntN(20), value: 300, points: true}) {
			w, _ = w.after(s)
			_, err := commitStep(from, s)
			ok(t, err)
		}
		fs := vfs.NewMem()
		for done := false; !done; {
			d, db, err := open2(fs, round%2 == 0)
			ok(t, err)
			if db.Partial() {
				partial++
			}
			done = copyInto(t, rng, db, from, w)
			ok(t, checkStore(db))
			if done {
				ok(t, w.copied().compare(db))
			} else if db.State().Position().Stream != "" {
				t.Error("what is copied in part has a position")
			}
			ok(t, closeStore(d, db))
		}
		ok(t, closeStore(d, from))
	}
}

// open2 opens the store that is built, which keeps records, or does not.
func open2(fs *vfs.MemFS, keeps bool) (*Dir, *DB, error) {
	if keeps {
		return openKeeping(dataDir, options(fs), twoIndexes)
	}
	return openStore(dataDir, options(fs), twoIndexes)
}

// copied is the world that a copy holds: rows that a source key kept of an older record are not there.
func (w *world) copied() *world {
	n := *w
	n.swept, n.records = longAgo, map[string]record{}
	for source, r := range w.records {
		if r.kept != 0 {
			r.kept, r.entries = 0, nil
		}
		n.records[source] = r
	}
	return &n
}

// copyInto copies the records of a store into another one, or some of them.
func copyInto(t *testing.T, rng *rand.Rand, db, from *DB, w *world) (whole bool) {
	v, err := from.Pin()
	ok(t, err)
	defer v.Close()
	b := NewBatch(twoIndexes)
	commit := func(pos Position, last bool) {
		b.Copy, b.MaxAge, b.More = &Copying{From: v.State(), Last: last}, v.State().MaxAge, !last && rng.IntN(2) == 0
		_, err := db.Commit(b, pos, v.State().ExpiredTo)
		ok(t, err)
		b.Reset()
	}
	left := 1 + rng.IntN(60)
	ok(t, v.Records(nil, func(r Record) bool {
		was := w.records[string(r.Source)]
		if was.failed {
			b.Fail(r.Source, r.Seq, r.Time, r.Expiry, Failure{Code: "trap", Message: "at " + string(r.Source), Module: "m", Update: r.Source})
		} else {
			b.Put(r.Source, r.Seq, r.Time, r.Expiry)
		}
		if db.id.KeepSource {
			b.Record(r.Bytes)
		}
		if !was.failed {
			for _, x := range was.entries {
				ok(t, b.Row(x.index, []byte(x.key), []byte(x.value), x.expiry))
			}
			ok(t, b.End())
		}
		if rng.IntN(5) == 0 {
			commit(db.Ahead().Position(), false)
		}
		left--
		return left > 0
	}))
	commit(db.Ahead().Position(), false)
	if left == 0 {
		commitNothing(t, db, v.State())
		return false
	}
	commit(v.State().Position(), true)
	return true
}

// commitNothing stores what waits.
func commitNothing(t *testing.T, db *DB, s *State) {
	b := NewBatch(twoIndexes)
	b.MaxAge = s.MaxAge
	_, err := db.Commit(b, db.Ahead().Position(), s.ExpiredTo)
	ok(t, err)
}
