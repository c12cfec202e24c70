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
			links[name] = connectOne(c, name, once, log.With("nats", name))
		}
	}
	return links
}

func connectOne(c *config.Config, name string, once bool, log *slog.Logger) (l link) {
	n := c.NATS[name]
	t, key, err := natsTarget(n)
	if err != nil {
		p := c.At("nats", name, key)
		p.Text, p.Hint = err.Error(), hint.Of(err)
		return link{err: p.Err()}
	}
	if t, err = source.Resolve(t); err != nil {
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

// natsTarget reads the secrets of a connection. An error comes with the key that it is of.
func natsTarget(n config.NATS) (t source.Target, key string, err error) {
	t = source.Target{URL: n.URL, Context: n.Context, Creds: n.Creds.File, NKey: n.NKey.File, User: n.User,
		TLSCA: n.TLSCA, TLSCert: n.TLSCert, TLSKey: n.TLSKey, TLSFirst: n.TLSFirst}
	for _, x := range []struct {
		key    string
		secret config.Secret
	}{{"creds", n.Creds}, {"nkey", n.NKey}} {
		if x.secret.Env != "" {
			return t, x.key, hint.Error(errors.New("creds and nkey are read from files"), "write the path of the file")
		}
	}
	if t.Password, err = n.Password.Read(); err != nil {
		return t, "password", hint.Error(err, secretHint)
	}
	if t.Token, err = n.Token.Read(); err != nil {
		return t, "token", hint.Error(err, secretHint)
	}
	if t.Password != "" || t.Token != "" {
		t.Secrets = func() (password, token string, err error) {
			if password, err = n.Password.Read(); err == nil {
				token, err = n.Token.Read()
			}
			return password, token, err
		}
	}
	key, err = unreadable(t)
	return t, key, err
}

const secretHint = "set the variable, or write the secret into the file, for the user that runs foldrun"

// unreadable returns the first file of a connection that cannot be read, by its key. They are opened only to say at once
// what is missing: the connection reads them when it needs them.
func unreadable(t source.Target) (key string, err error) {
	for _, x := range []struct{ key, path string }{
		{"creds", t.Creds}, {"nkey", t.NKey}, {"tls_ca", t.TLSCA}, {"tls_cert", t.TLSCert}, {"tls_key", t.TLSKey},
	} {
		if x.path == "" {
			continue
		}
		f, err := os.Open(x.path)
		if err != nil {
			return x.key, hint.Error(err, "put the file there, readable by the user that runs foldrun, or correct the path")
		}
		f.Close()
	}
	return "", nil
}

func closeLinks(links map[string]link) {
	for _, l := range links {
		l.close()
	}
}

func (l link) close() {
	if l.conn != nil {
		l.conn.Close()
	}
}
