// Package client reads the indexes of a running foldrun over HTTP.
//
// Keys, values and source keys are bytes. Each page of rows, and the error for a key that has none, comes with the
// Position that it reflects: rows and position are of one moment.
package client

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrNotFound is the error of Get for a key that has no row. It comes as an *Error, with the position.
var ErrNotFound = errors.New("client: not found")

// ErrNoReply is part of the error of a request whose connection ended before the reply did: foldrun has ended, or was killed. An
// action may have been done.
var ErrNoReply = errors.New("the connection ended before there was a reply")

// ErrChanged ends a Scan when another generation of the fold, or of its stream, began to answer between two pages.
var ErrChanged = errors.New("client: the index was replaced between two pages")

// A Client asks one foldrun. It is safe for many goroutines.
type Client struct {
	URL   string       // http://host:port or https://host:port
	HTTP  *http.Client // default http.DefaultClient; its deadlines are the callers' contexts
	Token string       // that each request shows; "" = none
}

// New returns a client of the foldrun at url: "http://127.0.0.1:8480", or just the host and port. Nothing is asked yet.
func New(url string) *Client {
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	return &Client{URL: strings.TrimRight(url, "/")}
}

// A Position says what a reply reflects: everything up to Seq of one incarnation of the stream, folded by one
// generation of the fold. Seqs of different incarnations cannot be compared.
type Position struct {
	Seq         uint64    `json:"seq"`
	Generation  string    `json:"generation"`
	Incarnation time.Time `json:"incarnation,omitzero"` // when the stream was created; zero before the first commit
	State       string    `json:"state"`                // of the fold: "following", "stopped", …
	Code        string    `json:"code,omitempty"`       // why the fold does not do its work, stable; "" when it does
}

// An Error is what foldrun answered instead of rows.
type Error struct {
	Status  int    // of HTTP
	Code    string // stable: "not_found", "unknown_fold", "store_damaged", …
	Message string
	Hint    string   // what to do about it, perhaps ""
	At      Position // where the reply is about a fold
}

func (e *Error) Error() string { return "client: " + e.Message }

// Is makes the error of a key that has no row an ErrNotFound.
func (e *Error) Is(target error) bool { return target == ErrNotFound && e.Code == "not_found" }

// A Mark is a place between rows: after the row of Source under Key.
type Mark struct{ Key, Source []byte }

// A Range says which rows to read. Its zero value is all rows of the index, in the order of (key, source).
type Range struct {
	Prefix     []byte // only keys that start with it
	Start, End []byte // only keys >= Start and < End; empty = no bound
	Reverse    bool   // from the last to the first
	Claimants  bool   // every claimant of a key, though the index's collisions are "latest"
	Latest     bool   // of each key the claimant whose source has the highest seq, though the index's collisions are "all"; its row has that Seq
	After      *Mark  // only what comes after it in the direction of reading
	Limit      int    // rows of a page, up to 10,000; default 100, of Scan 1,000. A page of large rows holds fewer
	Keys       bool   // each key once, without source and value
	Collisions bool   // only keys with more than one claimant, and every one of them
	JSON       bool   // a value that is JSON is a row's JSON instead of its Value
	Tuple      bool   // a key that is a tuple is a row's Tuple too, as text

	Keep  time.Duration // if not 0: the page's moment is kept for so long, up to 2 minutes, and its Snapshot has the token
	Token string        // if not "": the page is of the moment of that snapshot. It goes with neither Keep nor AtLeast

	AtLeast AtLeast // the position that each page has at least
}

// AtLeast is the position that a reader demands: that of its own put, to see it. Its zero value demands nothing. What is
// not to be had comes as an *Error with the status 409 and a code: "behind" where the fold is not there, once Wait is over.
type AtLeast struct {
	Seq         uint64        // that the put returned; what KV calls the revision
	Incarnation time.Time     // if not zero: when the put's stream was created. Without it foldrun asks the stream, which takes up to 20 ms more
	Wait        time.Duration // up to 30 s
}

func (a AtLeast) set(q url.Values) {
	if a == (AtLeast{}) {
		return
	}
	q.Set("min_seq", strconv.FormatUint(a.Seq, 10))
	if a.Wait != 0 {
		q.Set("wait", a.Wait.String())
	}
	if !a.Incarnation.IsZero() {
		q.Set("incarnation", a.Incarnation.UTC().Format(time.RFC3339Nano))
	}
}

// A Page is some rows of one moment.
type Page struct {
	Rows     []Row
	Next     *Mark     // if there is more: where the next page starts
	Missing  []Bytes   // of the keys of GetAll, those without rows
	Snapshot *Snapshot // that was asked for
	At       Position
}

// A Snapshot is a moment that is kept until then, for requests with its token.
type Snapshot struct {
	Token string    `json:"token"`
	Until time.Time `json:"until"`
}

// Get returns the rows of one key, in the order of their source keys: every claimant, or where the index's collisions
// are "latest" the newest. Of r it uses what is not of a range. A key without rows is ErrNotFound.
func (c *Client) Get(ctx context.Context, fold, index string, key []byte, r Range) (*Page, error) {
	return c.GetAll(ctx, fold, index, [][]byte{key}, r)
}

// GetAll returns the rows of up to 100 keys, in the order of the keys. Those without rows are Missing; if it is asked for one,
// that is ErrNotFound.
func (c *Client) GetAll(ctx context.Context, fold, index string, keys [][]byte, r Range) (*Page, error) {
	q := url.Values{}
	for _, key := range keys {
		q.Add("key", string(key))
	}
	r.flags(q)
	return c.page(ctx, fold, index, "get", q)
}

// Page returns the first rows of a range. The next page is that of the same range with After set to Next; it reflects
// its own, later moment.
func (c *Client) Page(ctx context.Context, fold, index string, r Range) (*Page, error) {
	return c.page(ctx, fold, index, "scan", r.query())
}

// query returns the parameters of a scan.
func (r Range) query() url.Values {
	q := url.Values{}
	r.bounds(q)
	r.flags(q)
	if r.Keys {
		q.Set("keys_only", "1")
	}
	return q
}

func (r Range) bounds(q url.Values) {
	for name, b := range map[string][]byte{"prefix": r.Prefix, "start": r.Start, "end": r.End} {
		if len(b) > 0 {
			q.Set(name, string(b))
		}
	}
	if r.Collisions {
		q.Set("collisions", "1")
	}
}

func (r Range) flags(q url.Values) {
	r.place(q)
	for name, set := range map[string]bool{"reverse": r.Reverse, "claimants": r.Claimants, "latest": r.Latest, "json": r.JSON, "tuple": r.Tuple} {
		if set {
			q.Set(name, "1")
		}
	}
	if r.Limit != 0 {
		q.Set("limit", strconv.Itoa(r.Limit))
	}
}

// place sets the moment that is read, and where.
func (r Range) place(q url.Values) {
	r.AtLeast.set(q)
	if r.After != nil {
		q.Set("after_key", string(r.After.Key))
		q.Set("after_source", string(r.After.Source))
	}
	if r.Keep != 0 {
		q.Set("snapshot", r.Keep.String())
	}
	if r.Token != "" {
		q.Set("token", r.Token)
	}
}

// Scan yields the rows of a range, page by page. It ends with the first error, which comes with a zero Row. Rows that
// change meanwhile may be seen before or after, but never twice and never of two generations.
func (c *Client) Scan(ctx context.Context, fold, index string, r Range) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for p, err := range c.Pages(ctx, fold, index, r) {
			if err != nil {
				yield(Row{}, err)
				return
			}
			for _, row := range p.Rows {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// Pages yields what Scan yields as the pages that it comes in, each with its own position. An error comes with a nil Page.
func (c *Client) Pages(ctx context.Context, fold, index string, r Range) iter.Seq2[*Page, error] {
	if r.Limit == 0 {
		r.Limit = 1000
	}
	return func(yield func(*Page, error) bool) {
		var first *Position
		for {
			p, err := c.Page(ctx, fold, index, r)
			if err == nil && first != nil && (p.At.Generation != first.Generation || !p.At.Incarnation.Equal(first.Incarnation)) {
				err = ErrChanged
			}
			var refused *Error
			if first != nil && errors.As(err, &refused) && refused.Code == "other_incarnation" {
				err = ErrChanged
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(p, nil) || p.Next == nil {
				return
			}
			first, r.After = &p.At, p.Next
			if r.AtLeast != (AtLeast{}) {
				r.AtLeast.Incarnation = p.At.Incarnation
			}
		}
	}
}

func (c *Client) page(ctx context.Context, fold, index, op string, q url.Values) (*Page, error) {
	var reply pageReply
	at, err := c.ask(ctx, indexPath(fold, index, op), q, &reply)
	if err != nil {
		return nil, err
	}
	return reply.page(at), nil
}

func indexPath(fold, index, op string) string {
	return "/v1/folds/" + url.PathEscape(fold) + "/indexes/" + url.PathEscape(index) + "/" + op
}

// pageReply is a page as it comes.
type pageReply struct {
	Rows     []Row     `json:"rows"`
	More     bool      `json:"more"`
	Next     next      `json:"next"`
	Missing  []Bytes   `json:"missing"`
	Snapshot *Snapshot `json:"snapshot"`
}

type next struct {
	Key    Bytes `json:"after_key"`
	Source Bytes `json:"after_source"`
}

func (n *next) mark() *Mark { return &Mark{n.Key, n.Source} }

func (r *pageReply) page(at Position) *Page {
	p := &Page{Rows: r.Rows, Missing: r.Missing, Snapshot: r.Snapshot, At: at}
	if r.More {
		p.Next = r.Next.mark()
	}
	return p
}

// Status returns what the process and its folds know of themselves.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := new(Status)
	_, err := c.ask(ctx, "/v1/status", nil, s)
	return s, err
}

// Verify has the store of a fold checked against itself, which reads all of it. What it finds is no error.
func (c *Client) Verify(ctx context.Context, fold string) (*Report, error) {
	r := new(Report)
	at, err := c.ask(ctx, "/v1/folds/"+url.PathEscape(fold)+"/verify", nil, r)
	r.At = at
	return r, err
}

// VerifyKeys has the source keys of a fold compared with those of its stream, which lists all of it. What it finds is no
// error, and is not mended.
func (c *Client) VerifyKeys(ctx context.Context, fold string) (*KeyReport, error) {
	r := new(KeyReport)
	_, err := c.ask(ctx, "/v1/folds/"+url.PathEscape(fold)+"/verify", url.Values{"keys": {"1"}}, r)
	return r, err
}
