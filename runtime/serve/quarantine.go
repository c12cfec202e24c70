package serve

import (
	"context"
	"errors"
	"net/http"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/query"
)

// quarantine replies with a page of what is in quarantine, in the order of the source keys.
func (s *Server) quarantine(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	q := query.Quarantine{Moment: query.Moment{Fold: r.PathValue("fold")}}
	q.Prefix, _ = p.bytes("prefix")
	q.After, _ = p.bytes("after")
	q.Limits.Rows, q.Limits.Bytes, q.Updates = p.limit(), pageBytes(r), p.flag("updates")
	if err := p.done(); err != nil {
		return err
	}
	page, err := s.query.Quarantine(r.Context(), q)
	if err != nil {
		return err
	}
	position(w, page.At)
	return s.reply(w, r, page)
}

// show replies with one source key that is in quarantine, and its update.
func (s *Server) show(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	q := query.Show{Moment: query.Moment{Fold: r.PathValue("fold")}, Source: p.must("source", "source key")}
	if err := p.done(); err != nil {
		return err
	}
	one, at, err := s.query.Show(r.Context(), q)
	if err != nil {
		return err
	}
	position(w, at)
	return s.reply(w, r, one)
}

// A retrier is a Fold that can transform what it holds in quarantine again.
type retrier interface {
	Retry(ctx context.Context, source []byte) (runtime.RetryReport, error)
}

// retry has a fold transform one source key's held update, or with all=1 all of them, again.
func (a *admin) retry(r *http.Request, f Fold) (any, error) {
	p := parse(r)
	source, have := p.bytes("source")
	if all := p.flag("all"); have == all {
		p.bad("add ?source=…, or ?all=1", "either one source key or all are retried")
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	x, ok := f.(retrier)
	if !ok {
		return nil, notFollowing(runtime.ErrNotFollowing)
	}
	if !have {
		source = nil
	} else if source == nil {
		source = []byte{} // the empty source key
	}
	report, err := x.Retry(r.Context(), source)
	switch {
	case errors.Is(err, runtime.ErrNotHeld):
		return nil, query.NotHeld()
	case errors.Is(err, runtime.ErrNotFollowing):
		return nil, notFollowing(err)
	}
	return report, err
}
