package runtime

import (
	"fmt"
	"math"
	"slices"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// A GateQuery is a query that a generation must answer as said before it replaces another one.
type GateQuery struct {
	Name    string
	Index   string
	Key     string  // of the rows that are asked for; or
	Prefix  string  // of their keys
	ByKey   bool    // Key says which
	Value   *string // of one of them, if not nil
	AtLeast uint64  // rows
	AtMost  uint64  // rows; AnyNumber = no bound
}

// AnyNumber is a GateQuery.AtMost that bounds nothing.
const AnyNumber = math.MaxUint64

// refuse returns why a fold whose module has these indexes cannot be asked, nil if it can.
func (q *GateQuery) refuse(fold string, indexes []string) error {
	if slices.Contains(indexes, q.Index) {
		return nil
	}
	return &Stop{CodeModule, hint.Error(fmt.Errorf("fold %s: gate %s: its module has no index %q", fold, q.Name, q.Index), "it has %q", indexes)}
}

// failed returns why a view does not answer as the query says. It reads no more rows than that takes.
func (q *GateQuery) failed(v *store.View, indexes []store.IndexSpec) error {
	rows, found := uint64(0), q.Value == nil
	count := func(row store.Row) bool {
		rows++
		found = found || string(row.Value) == *q.Value
		return rows <= q.AtMost && (q.AtMost != AnyNumber || rows < q.AtLeast || !found)
	}
	i := slices.IndexFunc(indexes, func(x store.IndexSpec) bool { return x.Name == q.Index })
	r, read := store.Range{Prefix: []byte(q.Prefix), Claimants: true}, v.Scan
	if q.ByKey {
		r, read = store.Range{Claimants: true}, func(i int, r store.Range, f func(store.Row) bool) error { return v.Get(i, []byte(q.Key), r, f) }
	}
	if err := read(i, r, count); err != nil {
		return fmt.Errorf("gate %s: %w", q.Name, err)
	}
	switch {
	case rows < q.AtLeast:
		return fmt.Errorf("gate %s: %s has %d rows, at least %d are to be there", q.Name, q.what(), rows, q.AtLeast)
	case rows > q.AtMost:
		return fmt.Errorf("gate %s: %s has more rows than %d", q.Name, q.what(), q.AtMost)
	case !found:
		return fmt.Errorf("gate %s: %s has no row with the value %.200q", q.Name, q.what(), *q.Value)
	}
	return nil
}

// what names what is asked for.
func (q *GateQuery) what() string {
	switch {
	case q.ByKey:
		return fmt.Sprintf("key %q of index %s", q.Key, q.Index)
	case q.Prefix != "":
		return fmt.Sprintf("prefix %q of index %s", q.Prefix, q.Index)
	}
	return "index " + q.Index
}

// unanswered returns why a generation does not answer the fold's gate queries as it is to, nil if it does.
func (s *supervisor) unanswered(db *store.DB) error {
	v, err := db.View()
	if err != nil {
		return err
	}
	defer v.Close()
	for i := range s.opt.Gates {
		if err := s.opt.Gates[i].failed(v, db.Indexes()); err != nil {
			return err
		}
	}
	return nil
}
