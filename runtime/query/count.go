package query

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/foldrun/foldrun/store"
)

// MaxCounted bounds the rows that one Count counts, MaxCountTime the time that it takes.
const (
	MaxCounted   = 10_000_000
	MaxCountTime = 5 * time.Second
)

// A Count asks how many rows and keys a range has; of the range's fields Claimants, Latest, Keys and Reverse change nothing.
type Count struct {
	Moment
	Index string
	Range Range
	Rows  int           // counted at most; 0 = MaxCounted
	Time  time.Duration // spent at most; 0 = MaxCountTime
}

// Counted is how many rows and keys a range has.
type Counted struct {
	At       *Position
	Rows     uint64     // every claimant counts
	Keys     uint64     // every key once; with After, its key is of the count before
	More     bool       // these are not all, or may not be: they are lower bounds
	Next     store.Mark // with More: what the request for the rest is After
	Snapshot *Snapshot  // that was asked for
}

// AppendJSON appends the counts: {"rows": n, "keys": n, "more": bool, "next": …, "snapshot": …}, as of a Page.
func (c *Counted) AppendJSON(dst []byte) []byte {
	dst = strconv.AppendUint(append(dst, `{"rows":`...), c.Rows, 10)
	dst = strconv.AppendUint(append(dst, `,"keys":`...), c.Keys, 10)
	return append(c.Snapshot.appendTo(appendNext(dst, c.More, c.Next)), '}')
}

// Count counts a range.
func (r *Reader) Count(ctx context.Context, q Count) (*Counted, error) {
	end, err := r.holds.long.begin()
	if err != nil {
		return nil, err
	}
	defer end()
	m, err := r.openIndex(ctx, q.Moment, q.Index)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if q.Rows < 1 || q.Rows > MaxCounted {
		q.Rows = MaxCounted
	}
	if q.Time < 1 || q.Time > MaxCountTime {
		q.Time = MaxCountTime
	}
	c := &Counted{At: m.at, Snapshot: m.snapshot}
	t := tally{Counted: c, most: uint64(q.Rows)}
	if q.Range.After != nil {
		t.key, t.any = bytes.Clone(q.Range.After.Key), true
	}
	q.Range.Claimants, q.Range.Keys, q.Range.Reverse = true, false, false
	p := pass{add: t.add, ctx: ctx, until: time.Now().Add(q.Time)}
	err = m.read(&p, &q.Range)
	c.Next = p.mark
	if err == nil {
		c.More, err = p.result(ctx)
	}
	if err != nil {
		return nil, m.fault(err)
	}
	return c, nil
}

// A tally counts.
type tally struct {
	*Counted
	most uint64
	key  []byte // the last
	any  bool   // there was one
}

func (t *tally) add(row store.Row) bool {
	if t.Rows == t.most {
		return false
	}
	t.Rows++
	if !t.any || !bytes.Equal(t.key, row.Key) {
		t.Keys++
		t.key, t.any = append(t.key[:0], row.Key...), true
	}
	return true
}
