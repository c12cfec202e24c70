// Package embedded is a JetStream server in the process, for a demo, for `run --embedded` and for tests. It is an
// ordinary NATS server: other processes reach it at its URL.
//
// # Why is it synced every few seconds, when nats-server does so every two minutes?
//
// A stream that loses its tail in a power cut is behind the folds' cursors, and they stop. Two minutes of that on the
// same disk as the folds is a bad default; SyncAlways costs an fsync a message.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options say how to run the server. StoreDir must be given; the zero value of the others is their default.
type Options struct {
	StoreDir   string        // where JetStream keeps its streams
	Host       string        // to listen on; default 127.0.0.1
	Port       int           // to listen on; default any free one
	Name       string        // of the server; default "foldrun"
	Domain     string        // the JetStream domain; default none
	SyncAlways bool          // sync each write before it is acknowledged; default every 5 seconds
	Config     string        // a nats-server configuration file, for accounts, permissions and clusters; the fields above override it
	Log        *slog.Logger  // gets what the server logs, at debug, its errors at warn; default discard
	LameDuck   time.Duration // how long LameDuck takes to send the clients away, if shorter than a configuration file may say; default 2m
}

// A Server is a running NATS server.
type Server struct{ server *server.Server }

// startTimeout is how long a server may take to recover its streams and listen.
const startTimeout = time.Minute

// Start runs a server and returns when it accepts connections. It installs no signal handlers.
func Start(o Options) (*Server, error) {
	if o.StoreDir == "" {
		return nil, errors.New("embedded: no store directory given")
	}
	c := &server.Options{}
	if o.Config != "" {
		var err error
		if c, err = server.ProcessConfigFile(o.Config); err != nil {
			return nil, fmt.Errorf("embedded: %w", err)
		}
	}
	c.Host, c.Port, c.ServerName = o.Host, o.Port, o.Name
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	if c.Port <= 0 {
		c.Port = server.RANDOM_PORT
	}
	if c.ServerName == "" {
		c.ServerName = "foldrun"
	}
	c.JetStream, c.StoreDir, c.JetStreamDomain = true, o.StoreDir, o.Domain
	c.SyncAlways, c.SyncInterval = o.SyncAlways, 5*time.Second
	if o.LameDuck > 0 {
		c.LameDuckDuration, c.LameDuckGracePeriod = o.LameDuck, o.LameDuck/2
	}
	c.NoSigs, c.NoLog, c.DisableJetStreamBanner = true, true, true
	s, err := server.NewServer(c)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	log := &logger{log: o.Log}
	if log.log == nil {
		log.log = slog.New(slog.DiscardHandler)
	}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	for deadline := time.Now().Add(startTimeout); !s.ReadyForConnections(100 * time.Millisecond); {
		fatal := log.fatal.Load()
		if fatal == nil && time.Now().Before(deadline) {
			continue
		}
		s.Shutdown()
		s.WaitForShutdown()
		if fatal == nil {
			return nil, fmt.Errorf("embedded: not ready after %s", startTimeout)
		}
		return nil, fmt.Errorf("embedded: %s", *fatal)
	}
	return &Server{s}, nil
}

// URL returns where clients connect.
func (s *Server) URL() string { return s.server.ClientURL() }

// Stop ends the server and returns when it has ended.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// LameDuck ends the server as an operator does who wants its clients to notice little: it hands over what it leads, asks
// its clients to go elsewhere, and returns when it has ended.
func (s *Server) LameDuck() {
	s.server.LameDuckShutdown()
	s.server.WaitForShutdown()
}

// Health returns what the server lacks to take part: in a cluster, a leader that it knows of, and what it has yet to
// catch up with.
func (s *Server) Health() error {
	if h := s.server.Healthz(nil); h.StatusCode != http.StatusOK {
		return fmt.Errorf("embedded: %s: %s", h.Status, h.Error)
	}
	return nil
}

// logger gives the server's log to slog. nats-server goes on after Fatalf as if it had returned, so the first one is
// kept for Start.
type logger struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
}

func (l *logger) debug(format string, v []any) {
	l.log.Debug("nats-server", "text", fmt.Sprintf(format, v...))
}

func (l *logger) Noticef(format string, v ...any) { l.debug(format, v) }
func (l *logger) Debugf(format string, v ...any)  { l.debug(format, v) }
func (l *logger) Tracef(format string, v ...any)  { l.debug(format, v) }
func (l *logger) Warnf(format string, v ...any)   { l.debug(format, v) }

func (l *logger) Errorf(format string, v ...any) {
	l.log.Warn("nats-server", "text", fmt.Sprintf(format, v...))
}

func (l *logger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
	l.log.Error("nats-server", "text", text)
}
