package serve

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/foldrun/foldrun/runtime/query"
)

// A fault is an error as a client sees it.
type fault struct {
	status        int
	code          string // stable
	message, hint string
}

func (f *fault) Error() string { return f.code + ": " + f.message }

// The codes of faults, beside those of package query and those of why a fold stopped.
const (
	codePath      = "unknown_path"
	codeMethod    = "method_not_allowed"
	codeHost      = "host_refused"
	codeCrossSite = "cross_site"
	codeBody      = "body_refused"
	codeNoToken   = "token_needed"
	codeToken     = "token_refused"
	codeScope     = "scope_refused"
)

// fail replies with an error. A store that could not be read is logged, without the query: keys are the users'.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *fault
	if !errors.As(err, &f) {
		q := query.FaultOf(err, nil)
		position(w, q.At)
		f = &fault{q.Status, q.Code, q.Message, q.Hint}
		if q.Err != nil {
			s.opt.Log.Warn("request failed", "path", r.URL.Path, "code", f.code, "err", f.message)
		}
	}
	if f.code != query.NotFound { // which is an answer
		s.all.refusals.add(s.all.door, f.code)
	}
	if f.code == query.Busy {
		w.Header().Set("Retry-After", "5")
	}
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint,omitempty"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message, body.Error.Hint = f.code, f.message, f.hint
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // three strings
	}
	s.send(w, r, f.status, append(b, '\n'))
}

// send writes a reply whose body is complete.
func (s *Server) send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err := w.Write(body)
	s.sent(r, err)
}

// sent notes that a client went away. Its connection is closed by the server.
func (s *Server) sent(r *http.Request, err error) {
	if err != nil {
		s.opt.Log.Debug("reply not sent", "path", r.URL.Path, "err", err)
	}
}
