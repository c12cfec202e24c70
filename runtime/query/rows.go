package query

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/foldrun/foldrun/store"
)

// Limits of a reply. It holds at least one row, whatever its size.
const (
	DefaultRows = 100
	MaxRows     = 10_000
	MaxBytes    = 1 << 20 // of the rows as JSON
	MaxTime     = 2 * time.Second
	MaxKeys     = 100 // of a get
)

// Limits bound a reply. A field that is 0 or more than may be is the default of the request.
type Limits struct {
	Rows  int           // 1 to MaxRows
	Bytes int           // that the rows take as JSON, up to MaxBytes
	Time  time.Duration // that may be spent on reading them, up to MaxTime
}

func (l Limits) orDefault() Limits {
	if l.Rows < 1 {
		l.Rows = DefaultRows
	}
	l.Rows = min(l.Rows, MaxRows)
	if l.Bytes < 1 || l.Bytes > MaxBytes {
		l.Bytes = MaxBytes
	}
	if l.Time < 1 || l.Time > MaxTime {
		l.Time = MaxTime
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
	Latest    bool     // the latest claimant, where the index shows every one; not with Claimants
	After     *store.Mark
	Format    Format
	Limits    Limits
}

// A Range says which rows of an index are meant. Its zero value is all of them.
type Range struct {
	Prefix     []byte // only keys that start with it
	Start, End []byte // only keys >= Start and < End; empty = no bound
	Reverse    bool   // from the last to the first
	Claimants  bool   // every claimant, where the index shows the latest
	Latest     bool   // the latest claimant, where the index shows every one; not with Claimants or Collisions
	Keys       bool   // each key once, without source and value
	Collisions bool   // only keys with more than one claimant, and every one of them
	After      *store.Mark
}

// A Scan asks for rows in the order of (key, source key).
type Scan struct {
	Moment
	Index  string
	Range  Range
	Format Format
	Limits Limits
}

// A Page is some rows of one moment.
type Page struct {
	At       *Position
	Rows     int
	More     bool       // there are more, or may be: the time was over
	Next     store.Mark // with More: what the request for them is After
	Missing  [][]byte   // keys of a get that have no row
	Snapshot *Snapshot  // that was asked for

	format Format
	keys   bool
	limit  Limits
	body   []byte // the rows as JSON
	sep    byte   // between them
}

// add adds a row, unless it has no place.
func (p *Page) add(row store.Row) bool {
	n := len(p.body)
	if p.Rows == p.limit.Rows {
		return false
	}
	if p.Rows > 0 {
		p.body = append(p.body, p.sep)
	}
	if p.keys {
		p.body = append(p.format.appendKey(append(p.body, '{'), row.Key), '}')
	} else {
		p.body = p.format.appendRow(p.body, row)
	}
	if p.Rows > 0 && len(p.body) > p.limit.Bytes {
		p.body = p.body[:n]
		return false
	}
	p.Rows++
	return true
}

// AppendJSON appends the page without its position:
//
//	{"rows": […], "more": bool, "next": {"after_key": …, "after_source": …}, "missing": […], "snapshot": {"token": …, "until": …}}
//
// next is there with more, missing where there are such keys, snapshot if it was asked for.
func (p *Page) AppendJSON(dst []byte) []byte {
	dst = append(append(append(dst, `{"rows":[`...), p.body...), ']')
	dst = appendNext(dst, p.More, p.Next)
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
	return append(p.Snapshot.appendTo(dst), '}')
}

// appendNext appends whether there is more, and after what.
func appendNext(dst []byte, more bool, next store.Mark) []byte {
	if !more {
		return append(dst, `,"more":false`...)
	}
	return appendMark(append(dst, `,"more":true,"next":`...), next)
}

func appendMark(dst []byte, m store.Mark) []byte {
	dst = appendBytes(append(dst, `{"after_key":`...), m.Key)
	return append(appendBytes(append(dst, `,"after_source":`...), m.Source), '}')
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
	limit := q.Limits.orDefault()
	page := &Page{At: m.at, Snapshot: m.snapshot, format: q.Format, limit: limit, sep: ','}
	p := pass{add: page.add, ctx: ctx, until: time.Now().Add(limit.Time)}
	missing := 0 // of them, those before the last row
	for _, key := range keys {
		rg := store.Range{Reverse: q.Reverse, Claimants: q.Claimants, Latest: q.Latest, Until: p.spent}
		if q.After != nil && bytes.Equal(q.After.Key, key) {
			rg.After = q.After
		}
		n := page.Rows
		if err := m.view.Get(m.index, key, rg, p.take); err != nil {
			return nil, m.fault(err)
		}
		if page.Rows > n {
			missing = len(page.Missing)
		}
		if p.full || p.over {
			page.Missing = page.Missing[:missing] // the next page names the others
			break
		}
		if page.Rows == n && rg.After == nil {
			page.Missing = append(page.Missing, key)
		}
	}
	page.Next = p.mark
	if page.More, err = p.result(ctx); err == nil && len(q.Keys) == 1 && len(page.Missing) == 1 {
		err = m.missing(q.Keys[0])
	}
	if err != nil {
		return nil, m.fault(err)
	}
	return page, nil
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
		if q.After != nil && bytes.Equal(q.After.Key, key) {
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
	page := &Page{At: m.at, Snapshot: m.snapshot, sep: ','}
	return page, m.fill(ctx, &q, page)
}

// fill reads what a page has place for.
func (m *moment) fill(ctx context.Context, q *Scan, page *Page) error {
	page.format, page.keys, page.limit = q.Format, q.Range.Keys, q.Limits.orDefault()
	p := pass{add: page.add, ctx: ctx, until: time.Now().Add(page.limit.Time)}
	err := m.read(&p, &q.Range)
	page.Next = p.mark
	if err == nil {
		page.More, err = p.result(ctx)
	}
	if err != nil {
		return m.fault(err)
	}
	return nil
}

// read reads a range of the index.
func (m *moment) read(p *pass, r *Range) error {
	p.collisions, p.keys = r.Collisions, r.Keys
	if p.collisions && r.After != nil {
		if err := p.resume(m, r.After); err != nil {
			return err
		}
	}
	return m.view.Scan(m.index, store.Range{Prefix: r.Prefix, Start: r.Start, End: r.End, Reverse: r.Reverse, After: r.After,
		Claimants: r.Claimants || r.Collisions, Latest: r.Latest, Keys: r.Keys && !r.Collisions, Until: p.spent}, p.take)
}
