package query

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/foldrun/foldrun/store"
)

// A pass is one reading of a range: it hands rows to add, in order, until that refuses one, the rows end, or the time is
// over.
type pass struct {
	add        func(store.Row) bool
	collisions bool // only rows of keys with more than one claimant
	keys       bool // with collisions: one row of each key

	ctx   context.Context
	until time.Time
	over  bool // the time is
	full  bool // add refused a row

	passed bool       // mark is set
	mark   store.Mark // what lies up to it is done with

	// With collisions: the key in hand.
	key       []byte
	claimants int
	held      store.Row // a copy of the first claimant, until it has company
}

// spent is asked now and then.
func (p *pass) spent() bool {
	p.over = p.over || p.ctx.Err() != nil || time.Now().After(p.until)
	return p.over
}

// take takes the next row, and reports whether to go on.
func (p *pass) take(row store.Row) bool {
	if !p.collisions {
		return p.out(row)
	}
	if p.claimants == 0 || !bytes.Equal(p.key, row.Key) {
		if p.claimants == 1 {
			p.done(p.held) // it had no company
		}
		p.key, p.claimants = append(p.key[:0], row.Key...), 0
	}
	p.claimants++
	switch {
	case p.claimants == 1:
		p.held = store.Row{Key: bytes.Clone(row.Key), Source: bytes.Clone(row.Source), Value: bytes.Clone(row.Value),
			Seq: row.Seq, Expiry: row.Expiry, Kept: row.Kept}
		return true
	case p.claimants == 2 && !p.out(p.held):
		return false
	case p.keys:
		p.done(row)
		return true
	}
	return p.out(row)
}

// out hands a row on.
func (p *pass) out(row store.Row) bool {
	if !p.add(row) {
		p.full = true
		return false
	}
	p.done(row)
	return true
}

func (p *pass) done(row store.Row) {
	p.passed = true
	p.mark.Key, p.mark.Source = append(p.mark.Key[:0], row.Key...), append(p.mark.Source[:0], row.Source...)
}

// resume has a pass with collisions go on among the claimants of a key.
func (p *pass) resume(m *moment, after *store.Mark) error {
	n := 0
	err := m.view.Get(m.index, after.Key, store.Range{Claimants: true}, func(store.Row) bool {
		n++
		return n < 2
	})
	if n == 2 {
		p.key, p.claimants = bytes.Clone(after.Key), n
	}
	return err
}

// result returns whether something was left, and whether what was done is worth a reply.
func (p *pass) result(ctx context.Context) (more bool, err error) {
	switch {
	case ctx.Err() != nil: // where it was the client that went, nobody reads this
		return false, closing()
	case p.over && !p.passed:
		return false, &Fault{Status: http.StatusServiceUnavailable, Code: TooSlow, Message: "the time for one request was over before the first row was found",
			Hint: "read every claimant of the keys, in pages: claimants"}
	}
	return p.full || p.over, nil
}
