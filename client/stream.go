package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ErrCut is part of the error of a stream whose last line is missing: foldrun or the connection is gone.
var ErrCut = errors.New("the stream was cut")

// A Counted is how many rows and keys a range has.
type Counted struct {
	Rows     uint64    `json:"rows"` // every claimant counts
	Keys     uint64    `json:"keys"` // every key once
	More     bool      `json:"more"` // the time, or Limit, did not suffice: these are lower bounds
	Next     *Mark     `json:"-"`    // with More: After of the request for the rest
	Snapshot *Snapshot `json:"-"`    // that was asked for
	At       Position  `json:"at,omitzero"`
}

// Count counts the rows and keys of a range, for some seconds at most; Limit is that of the rows counted. A key at which a
// count ended is not counted again by the one that goes on.
func (c *Client) Count(ctx context.Context, fold, index string, r Range) (*Counted, error) {
	q := url.Values{}
	r.bounds(q)
	r.place(q)
	if r.Limit != 0 {
		q.Set("limit", strconv.Itoa(r.Limit))
	}
	var reply struct {
		Counted
		Next     next      `json:"next"`
		Snapshot *Snapshot `json:"snapshot"`
	}
	at, err := c.ask(ctx, indexPath(fold, index, "count"), q, &reply)
	if err != nil {
		return nil, err
	}
	n := reply.Counted
	n.At, n.Snapshot = at, reply.Snapshot
	if n.More {
		n.Next = reply.Next.mark()
	}
	return &n, nil
}

// streamPage is how many rows of a stream come as one page.
const streamPage = 1000

// Stream yields all rows of a range as pages of one moment, as they come; Limit and Keep are not used. It ends with the first
// error, which comes with a nil Page: an *Error with a code where foldrun says why it ends early, ErrCut where
// nobody does. What was yielded by then is right, and the last page's last row is where to go on. A foldrun that does not
// stream, as one that reads a directory on which none runs, is read by pages, each of its own moment.
func (c *Client) Stream(ctx context.Context, fold, index string, r Range) iter.Seq2[*Page, error] {
	r.Limit, r.Keep = 0, 0
	return func(yield func(*Page, error) bool) {
		path := indexPath(fold, index, "scan")
		resp, err := c.do(ctx, http.MethodGet, path, r.query(), "application/x-ndjson")
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close()
		at := position(resp.Header)
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-ndjson") {
			c.Pages(ctx, fold, index, r)(yield)
			return
		}
		d := json.NewDecoder(resp.Body)
		for {
			p, end, err := streamed(d, at)
			if err != nil {
				err = fmt.Errorf("client: %s: %w", path, err)
			}
			if len(p.Rows) > 0 && !yield(p, nil) {
				return
			}
			if err == nil && end != nil {
				err = end.err(at)
			}
			if err != nil {
				yield(nil, err)
			}
			if err != nil || end != nil {
				return
			}
		}
	}
}

// streamEnd is the last line of a stream.
type streamEnd struct {
	Complete bool   `json:"complete"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Hint     string `json:"hint"`
}

func (e *streamEnd) err(at Position) error {
	if e.Complete {
		return nil
	}
	return &Error{http.StatusOK, e.Code, e.Message, e.Hint, at}
}

// streamed reads the next rows of a stream, and its end if that comes.
func streamed(d *json.Decoder, at Position) (*Page, *streamEnd, error) {
	p := &Page{At: at}
	for len(p.Rows) < streamPage {
		var line struct {
			Row
			End *streamEnd `json:"end"`
		}
		err := d.Decode(&line)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return p, nil, ErrCut
		case err != nil:
			return p, nil, err
		case line.End != nil:
			return p, line.End, nil
		}
		p.Rows = append(p.Rows, line.Row)
	}
	return p, nil, nil
}
