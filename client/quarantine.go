package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// Quarantined is one source key whose update the module could not transform.
type Quarantined struct {
	Source  Bytes       `json:"source"`
	Seq     uint64      `json:"seq"`
	Time    time.Time   `json:"time"`
	Code    string      `json:"code"`             // stable: "module", "trap", "out_of_fuel", …
	Number  uint16      `json:"number,omitempty"` // the module's own, with Code "module"
	Message string      `json:"message"`
	Module  string      `json:"module"`             // digest of the module that failed
	Kept    uint64      `json:"kept_seq,omitempty"` // if not 0: the rows of the record of this seq still stand
	Bytes   int         `json:"bytes"`              // of the update
	Update  *HeldUpdate `json:"update,omitempty"`   // where it was asked for
}

// HeldUpdate is an update as it was given to the module. Its key is the source key.
type HeldUpdate struct {
	Op      string       `json:"op"` // "put", "delete" or "purge"
	Subject Bytes        `json:"subject"`
	Headers []HeldHeader `json:"headers,omitempty"`
	Value   Bytes        `json:"value"`
}

// HeldHeader is one value of one header.
type HeldHeader struct {
	Name  Bytes `json:"name"`
	Value Bytes `json:"value"`
}

// A QuarantineRange says what to read of quarantine. Its zero value is everything, without the updates.
type QuarantineRange struct {
	Prefix  []byte // only source keys that start with it
	After   []byte // only those after this one; nil = from the first
	Limit   int    // of a page, up to 10,000; default 100, of Quarantine 1,000
	Updates bool   // the updates too
}

// QuarantinePage returns some source keys that are in quarantine, in order, and after which one to go on, nil when that
// is all.
func (c *Client) QuarantinePage(ctx context.Context, fold string, r QuarantineRange) (page []Quarantined, next []byte, at Position, err error) {
	q := url.Values{}
	if len(r.Prefix) > 0 {
		q.Set("prefix", string(r.Prefix))
	}
	if r.After != nil {
		q.Set("after", string(r.After))
	}
	if r.Limit != 0 {
		q.Set("limit", strconv.Itoa(r.Limit))
	}
	if r.Updates {
		q.Set("updates", "1")
	}
	var reply struct {
		Quarantined []Quarantined `json:"quarantined"`
		More        bool          `json:"more"`
		Next        struct {
			After Bytes `json:"after"`
		} `json:"next"`
	}
	at, err = c.ask(ctx, "/v1/folds/"+url.PathEscape(fold)+"/quarantine", q, &reply)
	if reply.More {
		next = append([]byte{}, reply.Next.After...)
	}
	return reply.Quarantined, next, at, err
}

// Quarantine yields the source keys in quarantine, page by page, each of its own moment. It ends with the first error.
func (c *Client) Quarantine(ctx context.Context, fold string, r QuarantineRange) iter.Seq2[Quarantined, error] {
	if r.Limit == 0 {
		r.Limit = 1000
	}
	return func(yield func(Quarantined, error) bool) {
		for {
			page, next, _, err := c.QuarantinePage(ctx, fold, r)
			if err != nil {
				yield(Quarantined{}, err)
				return
			}
			for _, q := range page {
				if !yield(q, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			r.After = next
		}
	}
}

// QuarantinedSource returns one source key that is in quarantine, with its update. Any other is ErrNotFound.
func (c *Client) QuarantinedSource(ctx context.Context, fold string, source []byte) (*Quarantined, error) {
	q := new(Quarantined)
	_, err := c.ask(ctx, "/v1/folds/"+url.PathEscape(fold)+"/quarantine/show", url.Values{"source": {string(source)}}, q)
	return q, err
}

// RetryReport is what a retry of held updates came to.
type RetryReport struct {
	Tried    uint64 `json:"tried"`    // source keys
	Released uint64 `json:"released"` // of them, those that were transformed and left quarantine
	Failing  uint64 `json:"failing"`  // those that failed again
	Moved    uint64 `json:"moved"`    // those that had moved on by then, and were left alone
}

// Retry has the held update of a source key, or with nil those of all, transformed again by the module that runs now. It
// is an admin action: see Rebuild.
func (c *Client) Retry(ctx context.Context, fold string, source []byte) (*RetryReport, error) {
	q := url.Values{"all": {"1"}}
	if source != nil {
		q = url.Values{"source": {string(source)}}
	}
	r := new(RetryReport)
	return r, c.act(ctx, fold, "quarantine/retry", q, r)
}
