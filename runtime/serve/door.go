package serve

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/foldrun/foldrun/runtime/query"
)

// A Door is where callers come in: it looks at who asks, and hands the request to the Server of what that caller may see
// and do. It is an http.Handler; Run puts it on the network.
type Door struct {
	opt      Options
	with     parts   // that a caller with the widest token finds
	outside  *Server // of a caller without a token
	all      shared
	requests chan struct{} // a place for each that is under way
	refused  *seldom

	mu     sync.Mutex
	seen   map[string]*Server // by what a token may see and do
	tokens *Token             // the first of those that seen is of
}

// New returns the door of queries. Nothing is started.
func New(o Options) *Door {
	return newDoor("http", o, parts{reads: true, ops: !o.OpsApart, actions: o.Tokens != nil,
		profiles: o.Tokens != nil && !o.OpsApart, process: true})
}

// NewOps returns the door of health, readiness and metrics, and with tokens of profiles, apart from that of queries.
func NewOps(o Options) *Door {
	o.OpsApart = false
	o.Limits.Connections = or(o.Limits.Connections, OpsConnections)
	return newDoor("ops", o, parts{ops: true, profiles: o.Tokens != nil, process: true})
}

// NewAdmin returns the door of operators, which nobody else can open: see ListenAdmin. All is behind it, and no token is
// asked for.
func NewAdmin(o Options) *Door {
	o.Tokens, o.Certificate, o.OpsApart = nil, nil, false
	o.Limits.Connections = or(o.Limits.Connections, OpsConnections)
	return newDoor("socket", o, parts{true, true, true, true, true})
}

func newDoor(name string, o Options, with parts) *Door {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Limits = o.Limits.orDefault()
	d := &Door{opt: o, with: with, requests: make(chan struct{}, o.Limits.Requests), refused: &seldom{log: o.Log}, all: newShared(name, o), seen: map[string]*Server{}}
	if o.Tokens == nil {
		d.outside = newServer(o, with, &d.all)
		return d
	}
	d.outside = newServer(o, parts{}, &d.all)
	if with.ops {
		d.outside.route("GET /readyz", d.outside.readyAtAll)
	}
	return d
}

func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if d.opt.Process != "" {
		h.Set("Foldrun-Process", d.opt.Process)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if err := d.judge(r); err != nil {
		d.refuse(w, r, nil, err)
		return
	}
	s, t, err := d.admit(r)
	if err != nil {
		d.refuse(w, r, t, err)
		return
	}
	if !d.begin(r) {
		s.fail(w, r, &fault{http.StatusServiceUnavailable, query.Busy, fmt.Sprintf("%d requests are under way", cap(d.requests)), "ask again in a moment"})
		return
	}
	defer d.end(r)
	s.mux.ServeHTTP(w, withCaller(r, t))
}

// begin takes a place for a request. One for the health of the process needs none.
func (d *Door) begin(r *http.Request) bool {
	if r.URL.Path == "/healthz" {
		return true
	}
	select {
	case d.requests <- struct{}{}:
		return true
	default:
		return false
	}
}

func (d *Door) end(r *http.Request) {
	if r.URL.Path != "/healthz" {
		<-d.requests
	}
}

// inside returns what the holder of a token finds.
func (d *Door) inside(t *Token) *Server {
	key := fmt.Sprintf("%t %q", t.Admin, t.Folds)
	d.mu.Lock()
	defer d.mu.Unlock()
	if first := &d.opt.Tokens.All()[0]; first != d.tokens { // other tokens
		clear(d.seen)
		d.tokens = first
	}
	s := d.seen[key]
	if s == nil {
		s = newServer(d.reach(t), d.can(t), &d.all)
		d.seen[key] = s
	}
	return s
}

// reach returns the options of what a token may see.
func (d *Door) reach(t *Token) Options {
	o := d.opt
	if t.Folds != nil {
		o.Folds = slices.DeleteFunc(slices.Clone(o.Folds), func(f Fold) bool { return !slices.Contains(t.Folds, f.Name()) })
	}
	return o
}

// can returns the parts of what a token may do.
func (d *Door) can(t *Token) parts {
	p := d.with
	p.actions = p.actions && t.Admin
	p.process = p.process && t.Folds == nil
	p.profiles = p.profiles && t.Admin && p.process
	return p
}

// readyAtAll is ready for a caller without a token: it learns no names.
func (s *Server) readyAtAll(w http.ResponseWriter, r *http.Request) error {
	status, text := http.StatusOK, "ready\n"
	if !s.readiness().Ready {
		status, text = http.StatusServiceUnavailable, "not ready: with a token this says which folds\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, err := strings.NewReader(text).WriteTo(w)
	s.sent(r, err)
	return nil
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
