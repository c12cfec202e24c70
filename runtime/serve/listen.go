package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/foldrun/foldrun/hint"
)

// How many connections the doors have open at most. Each is a file descriptor.
const (
	Connections    = 256 // of New
	OpsConnections = 32  // of NewOps, and of NewAdmin
)

// Limits bound what the clients of a door may take. A zero field is its default.
type Limits struct {
	Connections int           // open at once
	Requests    int           // under way at once; each may hold a reply in memory
	Header      time.Duration // for a request to come
	Reply       time.Duration // for a reply to be made and taken
	Idle        time.Duration // between two requests of a connection
}

const (
	requests      = 128
	headerTimeout = 5 * time.Second
	replyTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 256 << 10 // the longest legal request is a scan with all its parameters at their longest
	stopTimeout   = 5 * time.Second
)

func (l Limits) orDefault() Limits {
	return Limits{or(l.Connections, Connections), or(l.Requests, requests), or(l.Header, headerTimeout), or(l.Reply, replyTimeout), or(l.Idle, idleTimeout)}
}

// Listen listens for a door. Without tokens nobody beyond this machine may read.
func Listen(address string, guarded bool) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, hint.Error(fmt.Errorf("serve: listen on %s: %w", address, err), "free the port, or listen on another; port 0 picks one")
	}
	if a, ok := l.Addr().(*net.TCPAddr); !guarded && (!ok || !a.IP.IsLoopback()) {
		l.Close()
		return nil, hint.Error(fmt.Errorf("serve: %s is reached from beyond this machine, and there are no tokens", address), `listen on "127.0.0.1:8480", or set [http] tokens`)
	}
	return l, nil
}

// Run answers on l, which it closes, until ctx is done; then it lets the replies under way end, for some seconds.
//
// # Why is there no HTTP/2?
//
// One of its connections carries any number of requests, and holds what they take. With HTTP/1.1 the number of
// connections bounds both.
func (d *Door) Run(ctx context.Context, l net.Listener) error {
	limits := d.opt.Limits
	g := newGate(l, limits.Connections)
	h := &http.Server{
		Handler:                      d,
		ReadHeaderTimeout:            limits.Header,
		ReadTimeout:                  limits.Header,
		WriteTimeout:                 limits.Reply,
		IdleTimeout:                  limits.Idle,
		MaxHeaderBytes:               headerBytes,
		Protocols:                    new(http.Protocols),
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return withEnd(ctx) },
		ConnContext:                  withPeer,
		ConnState:                    g.state,
		ErrorLog:                     log.New(&seldom{log: d.opt.Log}, "", 0),
	}
	h.Protocols.SetHTTP1(true)
	var accepting net.Listener = g
	if d.opt.Certificate != nil {
		accepting = tls.NewListener(g, d.opt.Certificate.config())
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(accepting) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	d.all.holds.Close() // the folds' stores close when nobody keeps a snapshot of them
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := h.Shutdown(ending); err != nil {
		d.opt.Log.Warn("connections cut", "err", err)
		h.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %s: %w", l.Addr(), err)
	}
	return nil
}
