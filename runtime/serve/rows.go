package serve

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/foldrun/foldrun/runtime/query"
)

// moment returns what of a fold a request reads.
func (s *Server) moment(p *params, r *http.Request) query.Moment {
	m := query.Moment{Fold: r.PathValue("fold"), Want: p.atLeast()}
	m.Token, _ = p.one("token")
	if s.opt.Passing && m.Token != "" {
		p.bad(passingHint, "no foldrun runs that would have kept a snapshot")
	}
	return m
}

const passingHint = "start foldrun: only a running one keeps snapshots"

// keep returns for how long the moment of the reply is kept.
func (s *Server) keep(p *params) time.Duration {
	v, have := p.one("snapshot")
	if !have {
		return 0
	}
	keep, err := time.ParseDuration(v)
	if err != nil || keep <= 0 || keep > query.MaxKeep {
		p.bad("write how long it is kept, up to "+query.MaxKeep.String()+", as 30s", "snapshot is %q", v)
	}
	if s.opt.Passing {
		p.bad(passingHint, "no foldrun runs that would keep a snapshot")
	}
	return keep
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
	q := query.Get{Index: r.PathValue("index"), Keys: p.keys(), Reverse: p.flag("reverse"),
		After: p.mark(), Format: p.format(), Limits: query.Limits{Rows: p.limit()}}
	q.Claimants, q.Latest = p.claimants()
	q.Moment, q.Limits.Bytes = s.moment(p, r), pageBytes(r)
	q.Keep = s.keep(p)
	if err := p.done(); err != nil {
		return err
	}
	ctx, end := waiting(w, r, q.Want)
	defer end()
	page, err := s.query.Get(ctx, q)
	return s.page(w, r, page, err)
}

// claimants returns which of a key's are asked for, though the index's collisions say others.
func (p *params) claimants() (all, latest bool) {
	all, latest = p.flag("claimants"), p.flag("latest")
	if all && latest {
		p.bad("give one of them: every claimant of a key, or the latest", "claimants and latest are given")
	}
	return all, latest
}

// rg returns the range that is asked for.
func (p *params) rg() (rg query.Range) {
	rg.Prefix, _ = p.bytes("prefix")
	rg.Start, _ = p.bytes("start")
	rg.End, _ = p.bytes("end")
	rg.Collisions = p.flag("collisions")
	rg.After = p.mark()
	return rg
}

func (s *Server) scan(w http.ResponseWriter, r *http.Request) error {
	p, stream := parse(r), !s.opt.Passing && streams(r)
	q := query.Scan{Index: r.PathValue("index"), Range: p.rg(), Format: p.format()}
	q.Range.Reverse, q.Range.Keys = p.flag("reverse"), p.flag("keys_only")
	if q.Range.Claimants, q.Range.Latest = p.claimants(); q.Range.Latest && q.Range.Collisions {
		p.bad("collisions are every claimant of a key: leave latest out", "collisions and latest are given")
	}
	q.Moment, q.Limits.Bytes = s.moment(p, r), pageBytes(r)
	q.Keep = s.keep(p)
	if stream {
		q.Limits.Rows = p.limitTo(math.MaxInt, 0)
	} else {
		q.Limits.Rows = p.limit()
	}
	if stream && q.Keep != 0 {
		p.bad("leave it out: a stream is of one moment, which it keeps itself", "a snapshot is asked for with a stream")
	}
	if err := p.done(); err != nil {
		return err
	}
	ctx, end := waiting(w, r, q.Want)
	defer end()
	if stream {
		return s.stream(w, r, q)
	}
	page, err := s.query.Scan(ctx, q)
	return s.page(w, r, page, err)
}

func (s *Server) count(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	q := query.Count{Index: r.PathValue("index"), Range: p.rg(), Rows: p.limitTo(query.MaxCounted, 0)}
	q.Moment = s.moment(p, r)
	q.Keep = s.keep(p)
	if err := p.done(); err != nil {
		return err
	}
	ctx, end := waiting(w, r, q.Want)
	defer end()
	n, err := s.query.Count(ctx, q)
	if err != nil {
		return err
	}
	position(w, n.At)
	s.send(w, r, http.StatusOK, append(n.AppendJSON(nil), '\n'))
	return nil
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
