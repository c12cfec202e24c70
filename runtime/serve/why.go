package serve

import (
	"net/http"

	"github.com/foldrun/foldrun/runtime/query"
)

// whyKey replies which source records claim a key of an index, each with all that it owns.
func (s *Server) whyKey(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	q := query.WhyKey{Index: r.PathValue("index"), Key: p.must("key", "key"), Reverse: p.flag("reverse"), Owners: p.limit()}
	q.After, _ = p.bytes("after_source")
	q.Moment, q.Bytes = s.moment(p, r), pageBytes(r)
	if err := p.done(); err != nil {
		return err
	}
	ctx, end := waiting(w, r, q.Want)
	defer end()
	why, err := s.query.WhyKey(ctx, q)
	return s.why(w, r, why, err)
}

// whySource replies what a source key owns.
func (s *Server) whySource(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	q := query.WhySource{Source: p.must("source", "source key")}
	q.Moment = s.moment(p, r)
	if err := p.done(); err != nil {
		return err
	}
	ctx, end := waiting(w, r, q.Want)
	defer end()
	why, err := s.query.WhySource(ctx, q)
	return s.why(w, r, why, err)
}

func (s *Server) why(w http.ResponseWriter, r *http.Request, why *query.Why, err error) error {
	if err != nil {
		return err
	}
	position(w, why.At)
	return s.reply(w, r, why)
}
