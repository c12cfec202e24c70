package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/source"
)

// A link is a connection to NATS that folds share, or why it could not be set up.
type link struct {
	conn    *source.Conn
	domain  string // of JetStream, as the configuration or the connection's context names it
	context string // the context that the connection is of, "" for none
	err     error
	away    bool // err is of the server or the way there: nothing is wrong with the configuration
}

// connect sets up the connections that the folds use, by name. A server that is away is no error, unless once: then
// each is tried once.
func connect(c *config.Config, once bool, log *slog.Logger) map[string]link {
	links := map[string]link{}
	for _, f := range c.Folds {
		name := f.Source.NATS
		if _, have := links[name]; !have {
			links[name] = connectOne(name, c.NATS[name], once, log.With("nats", name))
		}
	}
	return links
}

func connectOne(name string, n config.NATS, once bool, log *slog.Logger) (l link) {
	t, err := natsTarget(n)
	if err == nil {
		t, err = source.Resolve(t)
	}
	if err != nil {
		return link{err: fmt.Errorf("connection %s: %w", name, err)}
	}
	t.Once = once
	l.domain = n.Domain
	if l.domain == "" {
		l.domain = t.Domain
	}
	if l.conn, err = source.Connect(t, log); err != nil {
		l.err, l.away = fmt.Errorf("connection %s: %w", name, err), source.Unreachable(err)
	}
	l.context = t.Context
	return l
}

// natsTarget reads the secrets of a connection.
func natsTarget(n config.NATS) (t source.Target, err error) {
	t = source.Target{URL: n.URL, Context: n.Context, Creds: n.Creds.File, NKey: n.NKey.File, User: n.User,
		TLSCA: n.TLSCA, TLSCert: n.TLSCert, TLSKey: n.TLSKey, TLSFirst: n.TLSFirst}
	if n.Creds.Env != "" || n.NKey.Env != "" {
		return t, hint.Error(errors.New("creds and nkey are read from files"), "write the path of the file")
	}
	secrets := func() (password, token string, err error) {
		if password, err = n.Password.Read(); err == nil {
			token, err = n.Token.Read()
		}
		return password, token, err
	}
	if t.Password, t.Token, err = secrets(); err != nil {
		return t, err
	}
	if t.Password != "" || t.Token != "" {
		t.Secrets = secrets
	}
	// Opened here only to say at once what is missing: the connection reads them when it needs them.
	for _, path := range []string{t.Creds, t.NKey, t.TLSCA, t.TLSCert, t.TLSKey} {
		if path == "" {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return t, err
		}
		f.Close()
	}
	return t, nil
}

func closeLinks(links map[string]link) {
	for _, l := range links {
		if l.conn != nil {
			l.conn.Close()
		}
	}
}
