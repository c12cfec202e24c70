package runtime

import (
	"context"
	"errors"
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

// text is the query as a configuration has it.
func (q *GateQuery) text() string {
	text := fmt.Sprintf("index = %q, ", q.Index)
	switch {
	case q.ByKey:
		text += fmt.Sprintf("key = %q, ", q.Key)
	case q.Prefix != "":
		text += fmt.Sprintf("prefix = %q, ", q.Prefix)
	}
	if q.Value != nil {
		text += fmt.Sprintf("value = %q, ", *q.Value)
	}
	text += fmt.Sprintf("at_least = %d", q.AtLeast)
	if q.AtMost != AnyNumber {
		text += fmt.Sprintf(", at_most = %d", q.AtMost)
	}
	return "{ " + text + " }"
}

// refuse returns why a fold whose module has these indexes cannot be asked, nil if it can.
func (q *GateQuery) refuse(fold string, indexes []string) error {
	if slices.Contains(indexes, q.Index) {
		return nil
	}
	return &Stop{CodeModule, hint.Error(fmt.Errorf("fold %s: gate %s: its module has no index %q", fold, q.Name, q.Index), "it has %q", indexes)}
}

// failed returns why a view does not answer as the query says; err is why it could not be asked.
func (q *GateQuery) failed(ctx context.Context, v *store.View, indexes []store.IndexSpec) (why, err error) {
	i := slices.IndexFunc(indexes, func(x store.IndexSpec) bool { return x.Name == q.Index })
	rows, found := v.State().Indexes[i].Rows, true
	if q.ByKey || q.Prefix != "" || q.Value != nil {
		rows, found, err = q.count(ctx, v, i)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("gate %s: %w", q.Name, err)
	case rows < q.AtLeast:
		return fmt.Errorf("gate %s: %s has %d rows, at least %d are to be there", q.Name, q.what(), rows, q.AtLeast), nil
	case rows > q.AtMost:
		return fmt.Errorf("gate %s: %s has more rows than %d", q.Name, q.what(), q.AtMost), nil
	case !found:
		return fmt.Errorf("gate %s: %s has no row with the value %.200q", q.Name, q.what(), *q.Value), nil
	}
	return nil, nil
}

// count counts rows, and says whether one has the value that is asked for. It reads no more than the query takes, and ends with
// ctx.
func (q *GateQuery) count(ctx context.Context, v *store.View, index int) (rows uint64, found bool, err error) {
	found = q.Value == nil
	count := func(row store.Row) bool {
		rows++
		found = found || string(row.Value) == *q.Value
		return rows <= q.AtMost && (q.AtMost != AnyNumber || rows < q.AtLeast || !found) && ctx.Err() == nil
	}
	if q.ByKey {
		err = v.Get(index, []byte(q.Key), store.Range{Claimants: true}, count)
	} else {
		err = v.Scan(index, store.Range{Prefix: []byte(q.Prefix), Claimants: true}, count)
	}
	return rows, found, errors.Join(err, ctx.Err())
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

// unanswered returns why a generation does not answer the fold's gate queries as it is to, nil if it does; err is why it could
// not be asked.
func (s *supervisor) unanswered(ctx context.Context, db *store.DB) (why, err error) {
	v, err := db.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	for i := range s.opt.Gates {
		if why, err = s.opt.Gates[i].failed(ctx, v, db.Indexes()); why != nil || err != nil {
			return why, err
		}
	}
	return nil, nil
}
