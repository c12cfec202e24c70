package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/foldrun/foldrun/store"
)

// maxOwners bounds the owners of one reply: each may own many rows.
const maxOwners = 100

// A WhyKey asks which source records claim a key, whatever the index's collisions are.
type WhyKey struct {
	Moment
	Index   string
	Key     []byte
	Reverse bool
	After   []byte // only source keys that come after it; nil: all
	Owners  int    // of a reply, at most; 0 = 100
	Bytes   int    // that the owners take as JSON, but for the first of them; 0: whatever they take
}

// A WhySource asks what a source key owns.
type WhySource struct {
	Moment
	Source []byte
}

// A Why says where rows come from.
type Why struct {
	At     *Position `json:"-"`
	Module string    `json:"module"` // digest of the module that made the rows
	Owners []Owner   `json:"owners"`
	More   bool      `json:"more"`
	Next   *NextWhy  `json:"next,omitempty"`
}

// NextWhy is what the request for the rest says.
type NextWhy struct {
	After Bytes `json:"after_source"`
}

// Owner is a source key with a live record, and what made its rows.
type Owner struct {
	Source      Bytes      `json:"source"`
	Seq         uint64     `json:"seq"`
	Time        string     `json:"time"`
	Expires     string     `json:"expires,omitempty"` // by what its message says
	Quarantined bool       `json:"quarantined,omitempty"`
	Kept        uint64     `json:"kept_seq,omitempty"` // the rows are those of the record of this seq
	Rows        []OwnedRow `json:"rows"`
}

// OwnedRow names a row.
type OwnedRow struct {
	Index   string `json:"index"`
	Key     Bytes  `json:"key"`
	Expires string `json:"expires,omitempty"`
}

// Bytes are bytes that are written in JSON as those of rows are.
type Bytes []byte

func (b Bytes) MarshalJSON() ([]byte, error) { return appendBytes(nil, b), nil }

func newOwner(o store.Owner, specs []store.IndexSpec) Owner {
	x := Owner{Source: o.Source, Seq: o.Seq, Time: rfc3339(o.Time), Expires: expires(o.Expiry),
		Quarantined: o.Quarantined, Kept: o.Kept, Rows: []OwnedRow{}}
	for _, r := range o.Rows {
		x.Rows = append(x.Rows, OwnedRow{specs[r.Index].Name, r.Key, expires(r.Expiry)})
	}
	return x
}

func expires(at int64) string {
	if at == 0 {
		return ""
	}
	return rfc3339(at)
}

// WhyKey returns which source records claim a key of an index, each with all that it owns.
func (r *Reader) WhyKey(ctx context.Context, q WhyKey) (*Why, error) {
	m, err := r.openIndex(ctx, q.Moment, q.Index)
	if err != nil {
		return nil, err
	}
	defer m.close()
	limit := maxOwners
	if q.Owners > 0 {
		limit = min(limit, q.Owners)
	}
	rg := store.Range{Reverse: q.Reverse, Claimants: true}
	if q.After != nil {
		rg.After = &store.Mark{Key: q.Key, Source: q.After}
	}
	w := &Why{At: m.at, Owners: []Owner{}}
	var sources [][]byte
	err = m.view.Get(m.index, q.Key, rg, func(row store.Row) bool {
		if w.More = len(sources) == limit; w.More {
			w.Next = &NextWhy{sources[limit-1]}
			return false
		}
		sources = append(sources, append([]byte{}, row.Source...))
		return true
	})
	if err == nil && len(sources) == 0 && q.After == nil {
		err = &Fault{Status: http.StatusNotFound, Code: NotFound, Message: "not found"}
	}
	if err != nil {
		return nil, m.fault(err)
	}
	return w, m.own(w, sources, q.Bytes)
}

// WhySource returns what a source key owns.
func (r *Reader) WhySource(ctx context.Context, q WhySource) (*Why, error) {
	m, err := r.open(ctx, q.Moment)
	if err != nil {
		return nil, err
	}
	defer m.close()
	_, found, err := m.view.Owner(q.Source)
	if err == nil && !found {
		err = &Fault{Status: http.StatusNotFound, Code: NotFound, Message: "the source key has no live record as of this seq"}
	}
	if err != nil {
		return nil, m.fault(err)
	}
	w := &Why{At: m.at, Owners: []Owner{}}
	return w, m.own(w, [][]byte{q.Source}, 0)
}

// own completes a reply with what these source keys own, as far as that has a place.
func (m *moment) own(w *Why, sources [][]byte, limit int) error {
	id := m.view.Identity()
	w.Module = id.Module
	size := 0
	for i, source := range sources {
		o, found, err := m.view.Owner(source)
		if err == nil && !found {
			err = fmt.Errorf("query: source key %q owns a row and has no lineage: %w", source, store.ErrDamaged)
		}
		if err != nil {
			return m.fault(err)
		}
		x := newOwner(o, id.Indexes)
		if limit > 0 {
			text, err := json.Marshal(x)
			if size += len(text) + 1; err == nil && i > 0 && size > limit {
				w.More, w.Next = true, &NextWhy{sources[i-1]}
				return nil
			}
		}
		w.Owners = append(w.Owners, x)
	}
	return nil
}
