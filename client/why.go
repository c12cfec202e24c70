package client

import (
	"context"
	"net/url"
	"time"
)

// Why says where rows come from.
type Why struct {
	Module string   `json:"module"` // digest of the module that made the rows
	Owners []Owner  `json:"owners"` // the source records
	Next   *Mark    `json:"-"`      // if there is more: where the next page starts
	At     Position `json:"at,omitzero"`
}

// Owner is a source key with a live record, and the rows that it owns.
type Owner struct {
	Source      Bytes      `json:"source"`
	Seq         uint64     `json:"seq"` // of the update; what KV calls the revision
	Time        time.Time  `json:"time"`
	Expires     time.Time  `json:"expires,omitzero"` // by what its message says; zero = no time of its own
	Quarantined bool       `json:"quarantined,omitempty"`
	Kept        uint64     `json:"kept_seq,omitempty"` // if not 0: the rows are those of the record of this seq
	Rows        []OwnedRow `json:"rows"`
}

// OwnedRow names a row.
type OwnedRow struct {
	Index   string    `json:"index"`
	Key     Bytes     `json:"key"`
	Expires time.Time `json:"expires,omitzero"`
}

// WhyKey returns the source records that claim a key of an index, in the order of their source keys, whatever the
// index's collisions are; of r it uses After, Limit and AtLeast. A key without rows is ErrNotFound.
func (c *Client) WhyKey(ctx context.Context, fold, index string, key []byte, r Range) (*Why, error) {
	q := url.Values{"key": {string(key)}}
	if r.After != nil { // its key is the one that is asked for
		q.Set("after_source", string(r.After.Source))
		r.After = nil
	}
	r.flags(q)
	return c.why(ctx, "/v1/folds/"+url.PathEscape(fold)+"/indexes/"+url.PathEscape(index)+"/why", q)
}

// WhySource returns what a source key owns; of r it uses AtLeast. One without a live record is ErrNotFound.
func (c *Client) WhySource(ctx context.Context, fold string, source []byte, r Range) (*Why, error) {
	q := url.Values{"source": {string(source)}}
	r.AtLeast.set(q)
	return c.why(ctx, "/v1/folds/"+url.PathEscape(fold)+"/why", q)
}

func (c *Client) why(ctx context.Context, path string, q url.Values) (*Why, error) {
	var reply struct {
		Why
		Next *struct {
			Source Bytes `json:"after_source"`
		} `json:"next"`
	}
	at, err := c.ask(ctx, path, q, &reply)
	if err != nil {
		return nil, err
	}
	w := reply.Why
	w.At = at
	if reply.Next != nil {
		w.Next = &Mark{Source: reply.Next.Source}
	}
	return &w, nil
}
