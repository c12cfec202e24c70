package query

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/foldrun/foldrun/store"
)

// Limits of a reply. It holds at least one row, whatever its size.
const (
	DefaultRows = 100
	MaxRows     = 10_000
	MaxBytes    = 1 << 20 // of the rows as JSON
	MaxKeys     = 100     // of a get
)

// Limits bound a reply. A field that is 0 or more than may be is the default of the request.
type Limits struct {
	Rows  int // 1 to MaxRows
	Bytes int // that the rows take as JSON, up to MaxBytes
}

func (l Limits) orDefault() Limits {
	if l.Rows < 1 {
		l.Rows = DefaultRows
	}
	l.Rows = min(l.Rows, MaxRows)
	if l.Bytes < 1 || l.Bytes > MaxBytes {
		l.Bytes = MaxBytes
	}
	return l
}

// A Get asks for the rows of some keys.
type Get struct {
	Moment
	Index     string
	Keys      [][]byte // at least one, at most MaxKeys. Their rows are in the order of the keys as they are given
	Reverse   bool     // the rows of each key from the last to the first
	Claimants bool     // every claimant, where the index shows the latest
	After     *store.Mark
	Limits    Limits
}

// A Scan asks for rows in the order of (key, source key).
type Scan struct {
	Moment
	Index  string
	Range  store.Range
	Limits Limits
}

// A Page is some rows of one moment.
type Page struct {
	At      *Position
	Rows    int
	More    bool       // there are rows that had no place
	Next    store.Mark // with More: what the request for them is After
	Missing [][]byte   // keys of a get that have no row

	body  []byte // the rows as JSON, between commas
	limit Limits
}

// add adds a row, or notes that there is more.
func (p *Page) add(row store.Row) bool {
	n := len(p.body)
	if p.Rows == p.limit.Rows {
		p.More = true
		return false
	}
	if p.Rows > 0 {
		p.body = append(p.body, ',')
	}
	p.body = appendRow(p.body, row)
	if p.Rows > 0 && len(p.body) > p.limit.Bytes {
		p.body, p.More = p.body[:n], true
		return false
	}
	p.Rows++
	p.Next.Key, p.Next.Source = append(p.Next.Key[:0], row.Key...), append(p.Next.Source[:0], row.Source...)
	return true
}

// AppendJSON appends the page without its position:
//
//	{"rows": […], "more": bool, "next": {"after_key": …, "after_source": …}, "missing": […]}
//
// next is there with more, missing where there are such keys.
func (p *Page) AppendJSON(dst []byte) []byte {
	dst = append(append(dst, `{"rows":[`...), p.body...)
	if !p.More {
		dst = append(dst, `],"more":false`...)
	} else {
		dst = appendBytes(append(dst, `],"more":true,"next":{"after_key":`...), p.Next.Key)
		dst = append(appendBytes(append(dst, `,"after_source":`...), p.Next.Source), '}')
	}
	for i, key := range p.Missing {
		sep := `,`
		if i == 0 {
			sep = `,"missing":[`
		}
		dst = appendBytes(append(dst, sep...), key)
	}
	if len(p.Missing) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// Get returns the rows of some keys. One key that has none is NotFound; of several, Missing has those.
func (r *Reader) Get(ctx context.Context, q Get) (*Page, error) {
	keys, err := q.rest()
	if err != nil {
		return nil, err
	}
	m, err := r.openIndex(ctx, q.Moment, q.Index)
	if err != nil {
		return nil, err
	}
	defer m.close()
	p := &Page{At: m.at, limit: q.Limits.orDefault()}
	for _, key := range keys {
		rg := store.Range{Reverse: q.Reverse, Claimants: q.Claimants}
		if q.After != nil && string(q.After.Key) == string(key) {
			rg.After = q.After
		}
		n := p.Rows
		if err := m.view.Get(m.index, key, rg, p.add); err != nil {
			return nil, m.fault(err)
		}
		if p.More {
			break
		}
		if p.Rows == n && rg.After == nil {
			p.Missing = append(p.Missing, key)
		}
	}
	if len(q.Keys) == 1 && len(p.Missing) == 1 {
		return nil, m.fault(m.missing(q.Keys[0]))
	}
	return p, nil
}

// missing returns the fault of a key that has no row. Which source key would yield one is not known: so it says of how many
// there are none, and whether the source key of that very name is one of them.
func (m *moment) missing(key []byte) error {
	f := &Fault{Status: http.StatusNotFound, Code: NotFound, Message: "not found"}
	if m.at.Withheld == 0 {
		return f
	}
	f.Hint = fmt.Sprintf("%d source keys have no rows because their records are in quarantine", m.at.Withheld)
	err := m.held(key, func(x store.Quarantined) (bool, error) {
		if bytes.Equal(x.Source, key) && x.Kept == 0 {
			f.Hint = fmt.Sprintf("the source key of this name has no rows because its record, seq %d, is in quarantine: %s", x.Seq, x.Code)
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	return f
}

// rest returns the keys from that on which After is of.
func (q *Get) rest() ([][]byte, error) {
	if len(q.Keys) == 0 || len(q.Keys) > MaxKeys {
		return nil, bad(fmt.Sprintf("%d keys are given", len(q.Keys)), fmt.Sprintf("ask for 1 to %d", MaxKeys))
	}
	seen := map[string]bool{}
	var keys [][]byte
	for _, key := range q.Keys {
		if seen[string(key)] {
			return nil, bad("a key is given twice", "give each once")
		}
		seen[string(key)] = true
		if q.After != nil && string(q.After.Key) == string(key) {
			keys = nil
		}
		keys = append(keys, key)
	}
	if q.After != nil && !seen[string(q.After.Key)] {
		return nil, bad("after_key is none of the keys", `give it as "next" of the page before has it`)
	}
	return keys, nil
}

// Scan returns the first rows of a range.
func (r *Reader) Scan(ctx context.Context, q Scan) (*Page, error) {
	m, err := r.openIndex(ctx, q.Moment, q.Index)
	if err != nil {
		return nil, err
	}
	defer m.close()
	p := &Page{At: m.at, limit: q.Limits.orDefault()}
	if err := m.view.Scan(m.index, q.Range, p.add); err != nil {
		return nil, m.fault(err)
	}
	return p, nil
}
