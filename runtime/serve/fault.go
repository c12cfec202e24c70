package serve

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// A fault is an error as a client sees it.
type fault struct {
	status        int
	code          string // stable
	message, hint string
}

func (f *fault) Error() string { return f.code + ": " + f.message }

// The codes of faults, beside those of why a fold stopped.
const (
	codeParameter = "bad_parameter"
	codeNotFound  = "not_found" // the key has no row
	codeFold      = "unknown_fold"
	codeIndex     = "unknown_index"
	codeStarting  = "fold_starting"
	codeClosing   = "closing"
	codeBusy      = "busy"

	codeNotFollowing = "not_following" // the source cannot be asked
)

// faultOf returns err as a client sees it: what is no fault is a store that could not be read.
func faultOf(err error) *fault {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, store.ErrClosed):
		return &fault{http.StatusServiceUnavailable, codeClosing, "foldrun is stopping", "ask again once it has started"}
	}
	f = &fault{http.StatusServiceUnavailable, runtime.CodeStore, err.Error(), hint.Of(err)}
	if store.IsDamage(err) {
		f.code = runtime.CodeDamaged
	}
	return f
}

// damaged is the hint for a store that is damaged, with its directory.
func (s *Server) damaged(fold, have string) string {
	if f := s.folds[fold]; f != nil && have == "" {
		if db := f.Store(); db != nil {
			return db.RebuildHint()
		}
	}
	return have
}

// fail replies with an error. A store that could not be read is logged, without the query: keys are the users'.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := faultOf(err)
	if f.code == runtime.CodeDamaged {
		f.hint = s.damaged(r.PathValue("fold"), f.hint)
	}
	if f != err && f.code != codeClosing {
		s.opt.Log.Warn("request failed", "path", r.URL.Path, "code", f.code, "err", f.message)
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
