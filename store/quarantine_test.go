package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// keeping is a history whose one failure keeps the rows of the record before it.
var keeping = []step{
	at(5, 100, event{source: "s4", seq: 4, time: 94}, event{source: "s5", seq: 5, time: 95, entries: []entry{{1, "kept", "w3", 0}}}),
	at(12, 101, event{source: "s5", seq: 12, time: 101, kind: changeFail, keeps: true}),
}

func TestCheckFindsKept(t *testing.T) {
	checkFinds(t, keeping, []wreck{
		{"kept count off", func(b breaker) { b.state(func(s *State) { s.Kept = 0 }) }, `state: 1 source keys with rows of an older record, the state says 0`},
		{"kept of another seq", func(b breaker) { b.lineage("s5", func(l *lineage) { l.kept = 4 }) },
			`row b "kept" of source key "s5": it carries seq 5, its lineage 4`},
		{"kept of nobody", func(b breaker) { b.lineage("s5", func(l *lineage) { l.kept = 0 }) }, `
			lineage of source key "s5": its update is in quarantine, and it does not say whose its rows are
			state: 0 source keys with rows of an older record, the state says 1
			row b "kept" of source key "s5": it carries seq 5, its lineage 12`},
		{"kept from beyond the cursor", func(b breaker) { b.lineage("s5", func(l *lineage) { l.kept = 99 }) }, `
			lineage of source key "s5": seq 99 is beyond the cursor 12
			row b "kept" of source key "s5": it carries seq 5, its lineage 99`},
		{"kept nothing", func(b breaker) { b.lineage("s5", func(l *lineage) { l.rows = nil }) }, `
			lineage of source key "s5": its update is in quarantine, and it does not say whose its rows are
			row b "kept" of source key "s5": its lineage does not own it`},
		{"kept by a good update", func(b breaker) {
			key := lineageKey("s5")
			v := b.get(key)
			v[0] &^= lineageQuarantined
			b.set(key, v)
		}, `
			lineage of source key "s5": value has unknown flags
			state: 1 live source keys, the state says 2
			state: 0 source keys with rows of an older record, the state says 1
			row b "kept" of source key "s5": its source key has no lineage that can be read
			quarantine of source key "s5": its update 12 is held, its lineage does not say so`},
	})
}

// fails returns the step at a seq that fails source keys n to m.
func fails(seq uint64, n, m int, budget *Budget) step {
	s := at(seq, 0)
	s.budget = budget
	for i := n; i <= m; i++ {
		s.events = append(s.events, event{source: fmt.Sprintf("s%03d", i), seq: seq, kind: changeFail})
	}
	return s
}

// refusedBy commits a step, which must be refused with the error, leave the store as it was, and let it go on.
func refusedBy(t *testing.T, db *DB, want error, s step) {
	t.Helper()
	was, dump := *db.State(), dumpOf(t, db)
	done, err := commitStep(db, s)
	if !errors.Is(err, want) || done != (Committed{}) {
		t.Fatalf("%+v, %v; want %v", done, err, want)
	}
	if is := *db.State(); fmt.Sprint(is) != fmt.Sprint(was) || !slices.Equal(dumpOf(t, db), dump) || db.Failed() != nil {
		t.Fatalf("a commit that was refused changed the store: %+v; %+v before; %v", is, was, db.Failed())
	}
}

// dumpOf returns every key with its value.
func dumpOf(t *testing.T, db *DB) (all []string) {
	t.Helper()
	it, err := db.pebble.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		all = append(all, fmt.Sprintf("%x %x", it.Key(), it.Value()))
	}
	return all
}

// TestBudget commits up to each bound of quarantine, which lets that pass and nothing beyond.
func TestBudget(t *testing.T) {
	db := open(t, vfs.NewMem(), twoIndexes...)
	live := at(1, 0)
	for i := range 40 {
		live.events = append(live.events, event{source: fmt.Sprintf("live %d", i), seq: 1})
	}
	b := &Budget{Share: 0.25, Least: 5}
	commits(t, db, live, fails(2, 1, 5, b), fails(3, 6, 13, b)) // 13 of 53
	refusedBy(t, db, ErrBudget, fails(4, 14, 14, b))            // 14 of 54 is more than a quarter
	refusedBy(t, db, ErrBudget, fails(4, 14, 14, &Budget{Least: 13}))
	w := newWorld(db.Indexes())
	for _, s := range []step{live, fails(2, 1, 5, b), fails(3, 6, 13, b), fails(4, 14, 14, &Budget{Least: 14}),
		fails(5, 3, 9, b), // over the budget already, and no further
		at(6, 0, event{source: "s001", seq: 6}, event{source: "s002", seq: 6, kind: changeRemove}),
		fails(7, 15, 60, &Budget{Share: 1}), fails(8, 61, 61, nil)} {
		w, _ = w.after(s)
		if s.pos.Seq < 4 {
			continue
		}
		if _, err := commitStep(db, s); err != nil {
			t.Fatalf("at %d: %v", s.pos.Seq, err)
		}
		if err := w.compare(db); err != nil {
			t.Fatalf("at %d: %v", s.pos.Seq, err)
		}
	}
	held := db.State().Held
	one := record{failed: true}.held("s062")
	refusedBy(t, db, ErrQuarantineFull, fails(9, 62, 62, &Budget{Share: 1, Bytes: held + one - 1}))
	if _, err := commitStep(db, fails(9, 62, 62, &Budget{Share: 1, Bytes: held + one})); err != nil {
		t.Fatal(err)
	}
	if _, err := commitStep(db, at(10, 0, event{source: "s062", seq: 10})); err != nil {
		t.Fatal(err)
	}
}

// Zero bounds are bounds: a budget of no records halts at the first.
func TestBudgetOfNothing(t *testing.T) {
	db := open(t, vfs.NewMem(), twoIndexes...)
	refusedBy(t, db, ErrBudget, fails(1, 1, 1, &Budget{}))
	for _, x := range []struct {
		Budget
		live, want uint64
	}{{Budget{}, 1e6, 0}, {Budget{Share: 0.01, Least: 100}, 9_999, 100}, {Budget{Share: 0.01, Least: 100}, 20_000, 200},
		{Budget{Share: 1}, 7, 7}, {Budget{Least: 500}, 1e6, 500}} {
		if is := x.Allows(x.live); is != x.want {
			t.Errorf("%+v of %d live: %d are allowed, want %d", x.Budget, x.live, is, x.want)
		}
	}
}

// TestHalt refuses a batch with a failure, and says which it is; one that would not be held is none.
func TestHalt(t *testing.T) {
	db := open(t, vfs.NewMem(), twoIndexes...)
	b := NewBatch(db.Indexes())
	b.Halt = true
	b.Put([]byte("a"), 1, 1, 0)
	b.Fail([]byte("b"), 2, 20, 0, Failure{Code: "module", Number: 7, Message: "broken", Update: []byte("u")})
	_, err := db.Commit(b, Position{Stream: "S", Seq: 2}, 30)
	var refused *Refused
	if !errors.As(err, &refused) || string(refused.Source) != "b" || refused.Seq != 2 || refused.Time != 20 || refused.Number != 7 {
		t.Fatalf("%v", err)
	}
	if want := `source key "b" at seq 2 cannot be transformed: module 7: broken`; !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if db.State().Live != 0 || db.Failed() != nil {
		t.Errorf("%+v, %v", db.State(), db.Failed())
	}
	b.Reset()
	b.Halt = true
	b.Put([]byte("a"), 1, 1, 0)
	b.Fail([]byte("b"), 2, 20, 25, Failure{Code: "trap"})
	if done, err := db.Commit(b, Position{Stream: "S", Seq: 2}, 30); err != nil || done.Failed != 0 || db.State().Live != 1 {
		t.Errorf("a failure that is gone already: %+v, %v", done, err)
	}
}

// TestKeepMaxAge: what a source key keeps lives by the age of the record that failed.
func TestKeepMaxAge(t *testing.T) {
	aged := func(seq uint64, now int64, events ...event) step {
		s := at(seq, now, events...)
		s.maxAge = 100
		return s
	}
	good := event{source: "s", seq: 1, time: 1000, entries: []entry{{0, "k", "v", 0}, {1, "k", "w", 1180}}}
	bad := event{source: "s", seq: 2, time: 1050, kind: changeFail, keeps: true}
	db := open(t, vfs.NewMem(), twoIndexes...)
	commits(t, db, aged(1, 1000, good), aged(2, 1050, bad),
		aged(3, 1120), // the record before it would have gone
		aged(4, 1149), aged(5, 1150))
	if s := db.State(); s.Live != 0 || s.Kept != 0 || s.Held != 0 {
		t.Errorf("%+v", s)
	}
	// The same however the batches are cut: it came while the record before it lived, or later.
	for _, x := range []struct {
		time int64
		kept uint64
	}{{1099, 1}, {1100, 0}} {
		bad.time = x.time
		db = openBroken(t, options(vfs.NewMem()), twoIndexes...)
		commits(t, db, aged(1, 1000, good), aged(2, 1110, bad))
		if s := db.State(); s.Kept != x.kept || s.Quarantined != 1 {
			t.Errorf("an update of %d: %+v", x.time, s)
		}
		check(t, db)
	}
}

// TestQuarantineFrom reads quarantine from a source key on, and stops when told to.
func TestQuarantineFrom(t *testing.T) {
	db := open(t, vfs.NewMem(), twoIndexes...)
	commits(t, db, fails(1, 1, 9, nil))
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var got []string
	err = v.Quarantine([]byte("s004"), func(q Quarantined) bool {
		got = append(got, string(q.Source))
		return len(got) < 3
	})
	if want := []string{"s004", "s005", "s006"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}
