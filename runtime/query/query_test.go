package query_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/query"
	"github.com/foldrun/foldrun/store"
)

// fold is a fold over a store that nothing follows.
type fold struct{ db *store.DB }

func (f *fold) Name() string           { return "f" }
func (f *fold) Status() runtime.Status { return runtime.StoreStatus(f.db) }
func (f *fold) Store() *store.DB       { return f.db }

// newReader returns a reader of a fold with n keys of one row each, in the index all, and in newest one key of n claimants.
func newReader(t *testing.T, n int) *query.Reader {
	dir, err := store.OpenDir(t.TempDir(), store.Options{Sync: store.SyncNever})
	check(t, err)
	db, err := dir.Create(store.Identity{Fold: "f", Indexes: []store.IndexSpec{{Name: "all", Collisions: store.All}, {Name: "newest", Collisions: store.Latest}}})
	check(t, err)
	t.Cleanup(func() {
		check(t, db.Close())
		check(t, dir.Close())
	})
	b := store.NewBatch(db.Indexes())
	for i := range n {
		b.Put(fmt.Appendf(nil, "s%05d", i), uint64(i+1), 1, 0)
		check(t, b.Row(0, fmt.Appendf(nil, "k%05d", i), []byte(`"<&>"`), 0))
		check(t, b.Row(1, []byte("one"), nil, 0))
		check(t, b.End())
	}
	_, err = db.Commit(b, store.Position{Stream: "S", Created: 1, Seq: uint64(n), Time: 1}, 1)
	check(t, err)
	return query.New([]query.Fold{&fold{db}}, query.NewHolds())
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBytes holds replies to any number of bytes: what a door can send.
func TestBytes(t *testing.T) {
	r := newReader(t, 200)
	for _, most := range []int{1, 60, 1000, 10_000} {
		rows := 0
		for q := (query.Scan{Moment: query.Moment{Fold: "f"}, Index: "all", Limits: query.Limits{Rows: query.MaxRows, Bytes: most}}); ; {
			p, err := r.Scan(t.Context(), q)
			check(t, err)
			rows += p.Rows
			const around = len(`{"rows":[],"more":true,"next":{"after_key":"k00000","after_source":"s00000"}}`)
			if n := len(p.AppendJSON(nil)) - around; n > most && p.Rows > 1 {
				t.Fatalf("%d bytes of rows, %d are allowed", n, most)
			}
			if !p.More {
				break
			}
			q.Range.After = &p.Next
		}
		if rows != 200 {
			t.Errorf("pages of %d bytes: %d rows", most, rows)
		}
	}
}

// TestTime ends reads whose time is over: with what was passed by then, and where to go on.
func TestTime(t *testing.T) {
	const n = 2000
	r := newReader(t, n)
	for _, rg := range []query.Range{{}, {Reverse: true}, {Keys: true}, {Collisions: true}, {Collisions: true, Keys: true, Reverse: true}} {
		rows, pages := 0, 0
		for q := (query.Scan{Moment: query.Moment{Fold: "f"}, Index: "all", Range: rg, Limits: query.Limits{Rows: query.MaxRows, Time: 1}}); ; pages++ {
			p, err := r.Scan(t.Context(), q)
			check(t, err)
			rows += p.Rows
			if !p.More {
				break
			}
			q.Range.After = &p.Next
		}
		want := n
		if rg.Collisions {
			want = 0
		}
		if rows != want || pages < 5 {
			t.Errorf("%+v: %d rows in %d pages", rg, rows, pages)
		}
	}
	var all uint64
	for q := (query.Count{Moment: query.Moment{Fold: "f"}, Index: "all", Time: 1}); ; {
		c, err := r.Count(t.Context(), q)
		check(t, err)
		if all += c.Rows; c.Rows != c.Keys {
			t.Errorf("%d rows, %d keys", c.Rows, c.Keys)
		}
		if !c.More {
			break
		}
		q.Range.After = &c.Next
	}
	if all != n {
		t.Errorf("%d rows counted", all)
	}
	// One key whose claimants take longer than there is: no latest one is known, but each can be read.
	var f *query.Fault
	q := query.Scan{Moment: query.Moment{Fold: "f"}, Index: "newest", Limits: query.Limits{Time: 1}}
	if _, err := r.Scan(t.Context(), q); !errors.As(err, &f) || f.Code != query.TooSlow || f.At.Seq != n {
		t.Errorf("%+v", err)
	}
	q.Limits.Time = time.Hour // which is more than may be
	if p, err := r.Scan(t.Context(), q); err != nil || p.Rows != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestLong refuses streams and counts beyond those that may be under way at once.
func TestLong(t *testing.T) {
	r := newReader(t, 1)
	q := query.Scan{Moment: query.Moment{Fold: "f"}, Index: "all"}
	var open []*query.Stream
	for range query.MaxLong {
		s, err := r.Stream(t.Context(), q)
		check(t, err)
		open = append(open, s)
	}
	var f *query.Fault
	if _, err := r.Stream(t.Context(), q); !errors.As(err, &f) || f.Code != query.Busy {
		t.Errorf("one stream more: %v", err)
	}
	count := query.Count{Moment: q.Moment, Index: "all"}
	if _, err := r.Count(t.Context(), count); !errors.As(err, &f) || f.Code != query.Busy {
		t.Errorf("a count beside them: %v", err)
	}
	for _, s := range open {
		s.Close()
	}
	if c, err := r.Count(t.Context(), count); err != nil || c.Rows != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestStream reads a range as lines, in pieces; a limit ends it, and what is next goes on.
func TestStream(t *testing.T) {
	const n = 3000
	r := newReader(t, n)
	read := func(q query.Scan) (rows int, end string) {
		s, err := r.Stream(t.Context(), q)
		check(t, err)
		defer s.Close()
		for lines := s.Next(t.Context()); lines != nil; lines = s.Next(t.Context()) {
			if len(lines) > 1001 {
				t.Errorf("a piece of %d bytes", len(lines))
			}
			for _, c := range lines {
				if c == '\n' {
					rows++
				}
			}
		}
		return rows, string(s.End())
	}
	q := query.Scan{Moment: query.Moment{Fold: "f"}, Index: "all", Limits: query.Limits{Bytes: 1000}}
	if rows, end := read(q); rows != n || end != `{"end":{"complete":true,"rows":3000}}`+"\n" {
		t.Errorf("%d rows, %s", rows, end)
	}
	q.Limits.Rows = 20
	if rows, end := read(q); rows != 20 || end != `{"end":{"complete":false,"rows":20,"code":"limit","message":"there are as many rows as were asked for, and more","next":{"after_key":"k00019","after_source":"s00019"}}}`+"\n" {
		t.Errorf("%d rows, %s", rows, end)
	}
	q.Range.After = &store.Mark{Key: []byte("k02979"), Source: []byte("s02979")}
	if rows, end := read(q); rows != 20 || end != `{"end":{"complete":true,"rows":20}}`+"\n" {
		t.Errorf("%d rows, %s", rows, end)
	}
}
