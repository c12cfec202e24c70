package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/query"
)

// A Fold is what is shown of one fold.
type Fold = query.Fold

// Options say what is served.
type Options struct {
	Folds    []Fold // in the order in which status shows them
	Instance string
	Version  string // of foldrun
	Process  string // if set, the header Foldrun-Process of every reply: who asks at a noted address can tell who answers
	Log      *slog.Logger
}

// A Server answers queries. It is an http.Handler; Run puts it on the network.
type Server struct {
	opt    Options
	mux    *http.ServeMux
	query  *query.Reader
	verify sync.Mutex // one at a time: it reads everything
}

// New returns a server. Nothing is started.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opt: o, mux: http.NewServeMux(), query: query.New(o.Folds)}
	s.route("GET /healthz", s.health)
	s.route("GET /readyz", s.ready)
	s.mux.Handle("GET /metrics", s.metrics())
	s.route("GET /v1/status", s.status)
	s.route("GET /v1/folds/{fold}/indexes/{index}/get", s.get)
	s.route("GET /v1/folds/{fold}/indexes/{index}/scan", s.scan)
	s.route("GET /v1/folds/{fold}/indexes/{index}/why", s.whyKey)
	s.route("GET /v1/folds/{fold}/why", s.whySource)
	s.route("GET /v1/folds/{fold}/verify", s.check)
	s.route("GET /v1/folds/{fold}/quarantine", s.quarantine)
	s.route("GET /v1/folds/{fold}/quarantine/show", s.show)
	s.route("/", s.nothing)
	return s
}

// A handler writes its reply, or returns why there is none.
type handler func(w http.ResponseWriter, r *http.Request) error

func (s *Server) route(pattern string, h handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.opt.Process != "" {
		w.Header().Set("Foldrun-Process", s.opt.Process)
	}
	if !localHost(r.Host) {
		s.fail(w, r, &fault{http.StatusForbidden, "host_refused", fmt.Sprintf("%q is not a name of this machine", r.Host),
			"ask at an IP address or at localhost: a web page's name that leads here must not read what is here"})
		return
	}
	s.mux.ServeHTTP(w, r)
}

// localHost reports whether a request was addressed to an IP address or to localhost. A web page can make a browser
// send it requests of its own name, which resolves to 127.0.0.1.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost" || host == "" // HTTP/1.0, which no browser speaks
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("ok\n"))
	s.sent(r, err)
	return nil
}

// ready replies whether each fold was caught up once. A source that is away, or a fold that stopped, does not change
// that: what it had answers reads, marked so.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) error {
	status, text := http.StatusOK, "ready\n"
	for _, f := range s.opt.Folds {
		if st := f.Status(); !st.Ready {
			if status == http.StatusOK {
				status, text = http.StatusServiceUnavailable, ""
			}
			text += fmt.Sprintf("%s: %s %s: seq %d of %d\n", st.Name, st.State, st.Code, st.Seq, st.LastSeq)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write([]byte(text))
	s.sent(r, err)
	return nil
}

func (s *Server) nothing(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return &fault{http.StatusMethodNotAllowed, "method_not_allowed", "everything here is read with GET", ""}
	}
	return &fault{http.StatusNotFound, "unknown_path", "there is nothing at " + r.URL.Path, "GET /v1/status lists the folds"}
}

// What a client may take and send. The longest legal request is a scan with all its parameters at their longest.
const (
	headerTimeout = 5 * time.Second
	replyTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 256 << 10
	stopTimeout   = 5 * time.Second
)

// Listen listens on a loopback address: without tokens nobody else may read.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, hint.Error(fmt.Errorf("serve: listen on %s: %w", address, err), "free the port, or set [http] listen to another; port 0 picks one")
	}
	if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		l.Close()
		return nil, hint.Error(fmt.Errorf("serve: %s is reached from beyond this machine", address), `listen on "127.0.0.1:8480"`)
	}
	return l, nil
}

// Run answers on l, which it closes, until ctx is done; then it lets the replies under way end, for some seconds.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      replyTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		BaseContext:       func(net.Listener) context.Context { return withEnd(ctx) },
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(s.opt.Log.Handler(), slog.LevelWarn),
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := h.Shutdown(ending); err != nil {
		s.opt.Log.Warn("connections cut", "err", err)
		h.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %s: %w", l.Addr(), err)
	}
	return nil
}
