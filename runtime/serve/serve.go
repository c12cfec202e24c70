package serve

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"sync"

	"github.com/foldrun/foldrun/runtime/query"
)

// A Fold is what is shown of one fold.
type Fold = query.Fold

// Options say what is served, and to whom.
type Options struct {
	Folds    []Fold // in the order in which status shows them
	Instance string
	Version  string // of foldrun
	Process  string // if set, the header Foldrun-Process of every reply: who asks at a noted address can tell who answers
	Log      *slog.Logger

	Tokens      *Tokens      // who may ask; nil: whoever reaches the door may read
	Certificate *Certificate // of the door; nil: no TLS
	OpsApart    bool         // NewOps has a door of its own: readiness, metrics and profiles are not at that of New
	Limits      Limits
	Refusals    *Refusals                               // that the doors of a process share; nil: of this door alone
	Reload      func(context.Context) (Reloaded, error) // reads the configuration again; nil: there is none
	Passing     bool                                    // it lives for one request: it keeps no snapshot for another, and streams nothing
}

// parts are what of a Server there is.
type parts struct {
	reads, ops, actions, profiles bool
	process                       bool // figures of the process, which is at work for all folds
}

// A Server is what one kind of caller finds behind a door: the folds that it may see, and what it may do with them. What
// it may not see is not there.
type Server struct {
	opt    Options
	parts  parts
	mux    *http.ServeMux
	routes []string // patterns of mux
	query  *query.Reader
	all    *shared
}

// shared is what all the servers of a door have in common.
type shared struct {
	door     string      // its name
	verify   *sync.Mutex // one at a time, of all callers: it reads everything
	holds    *query.Holds
	refusals *Refusals
}

func newShared(door string, o Options) shared {
	if o.Refusals == nil {
		o.Refusals = new(Refusals)
	}
	return shared{door, new(sync.Mutex), query.NewHolds(), o.Refusals}
}

func newServer(o Options, p parts, all *shared) *Server {
	s := &Server{opt: o, parts: p, mux: http.NewServeMux(), query: query.New(o.Folds, all.holds), all: all}
	s.route("GET /healthz", s.health)
	if p.reads {
		s.routeReads()
	}
	if p.ops {
		s.route("GET /readyz", s.ready)
		s.handle("GET /metrics", s.metrics().ServeHTTP)
	}
	if p.actions {
		(&admin{s}).routes(p.process)
	}
	if p.profiles {
		s.routeProfiles()
	}
	s.route("/", s.nothing)
	return s
}

func (s *Server) routeReads() {
	s.route("GET /v1/openapi.json", s.describe)
	s.route("GET /v1/status", s.status)
	s.route("GET /v1/folds/{fold}/status", s.statusOf)
	s.route("GET /v1/folds/{fold}/indexes/{index}/get", s.get)
	s.route("GET /v1/folds/{fold}/indexes/{index}/scan", s.scan)
	s.route("GET /v1/folds/{fold}/indexes/{index}/count", s.count)
	s.route("GET /v1/folds/{fold}/indexes/{index}/why", s.whyKey)
	s.route("GET /v1/folds/{fold}/why", s.whySource)
	s.route("GET /v1/folds/{fold}/verify", s.check)
	s.route("GET /v1/folds/{fold}/quarantine", s.quarantine)
	s.route("GET /v1/folds/{fold}/quarantine/show", s.show)
}

// routeProfiles has Go's profiles of the process answer. Importing the package registers them with a mux of net/http
// too, which nothing here serves.
func (s *Server) routeProfiles() {
	s.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	s.mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	s.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	s.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	s.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// A handler writes its reply, or returns why there is none.
type handler func(w http.ResponseWriter, r *http.Request) error

func (s *Server) route(pattern string, h handler) {
	s.handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// handle routes what openapi.json describes.
func (s *Server) handle(pattern string, h http.HandlerFunc) {
	s.routes = append(s.routes, pattern)
	s.mux.HandleFunc(pattern, h)
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("ok\n"))
	s.sent(r, err)
	return nil
}

func (s *Server) nothing(w http.ResponseWriter, r *http.Request) error {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return &fault{http.StatusNotFound, codePath, "there is nothing at " + r.URL.Path, s.mendPath(r.URL.Path)}
	case s.parts.actions:
		return &fault{http.StatusNotFound, codePath, "there is no such action", "this is another version of foldrun: ask with its own foldrun"}
	}
	w.Header().Set("Allow", "GET, HEAD")
	return &fault{http.StatusMethodNotAllowed, codeMethod, "everything here is read with GET",
		"actions need an admin token, or go through the socket in the data directory: give -c or --data-dir"}
}

// mendPath says where to look for what is not here.
func (s *Server) mendPath(path string) string {
	switch {
	case s.opt.OpsApart && isOps(path):
		return "it is at the address of [http] ops_listen"
	case s.parts.reads:
		return "GET /v1/status lists the folds"
	}
	return "here are /healthz, /readyz and /metrics; the folds are at the address of [http] listen"
}
