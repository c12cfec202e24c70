package serve

import (
	"net/http"
	"strconv"

	"github.com/foldrun/foldrun/runtime/query"
)

// moment returns what of a fold a request reads.
func (p *params) moment(r *http.Request) query.Moment {
	return query.Moment{Fold: r.PathValue("fold"), Want: p.atLeast()}
}

// position sets the headers that say what a reply reflects.
func position(w http.ResponseWriter, at *query.Position) {
	if at == nil {
		return
	}
	h := w.Header()
	for name, value := range map[string]string{"Foldrun-State": at.State, "Foldrun-Code": at.Code,
		"Foldrun-Generation": at.Generation, "Foldrun-Incarnation": at.Incarnation()} {
		if value != "" {
			h.Set(name, value)
		}
	}
	if at.Generation != "" {
		h.Set("Foldrun-Seq", strconv.FormatUint(at.Seq, 10))
	}
	if at.Withheld > 0 {
		h.Set("Foldrun-Withheld", strconv.FormatUint(at.Withheld, 10))
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	q := query.Get{Index: r.PathValue("index"), Keys: p.keys(), Reverse: p.flag("reverse"), Claimants: p.flag("claimants"),
		After: p.mark(), Limits: query.Limits{Rows: p.limit()}}
	q.Moment = p.moment(r)
	if err := p.done(); err != nil {
		return err
	}
	ctx, end := waiting(w, r, q.Want)
	defer end()
	page, err := s.query.Get(ctx, q)
	return s.page(w, r, page, err)
}

func (s *Server) scan(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	q := query.Scan{Index: r.PathValue("index")}
	q.Range.Prefix, _ = p.bytes("prefix")
	q.Range.Start, _ = p.bytes("start")
	q.Range.End, _ = p.bytes("end")
	q.Range.Reverse, q.Range.Claimants = p.flag("reverse"), p.flag("claimants")
	q.Limits.Rows = p.limit()
	q.Range.After = p.mark()
	q.Moment = p.moment(r)
	if err := p.done(); err != nil {
		return err
	}
	ctx, end := waiting(w, r, q.Want)
	defer end()
	page, err := s.query.Scan(ctx, q)
	return s.page(w, r, page, err)
}

// page replies with rows.
func (s *Server) page(w http.ResponseWriter, r *http.Request, page *query.Page, err error) error {
	if err != nil {
		return err
	}
	position(w, page.At)
	s.send(w, r, http.StatusOK, append(page.AppendJSON(nil), '\n'))
	return nil
}
