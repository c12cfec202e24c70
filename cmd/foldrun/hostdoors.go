package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/serve"
)

// access is who may come in at the HTTP doors, and what these show of themselves.
type access struct {
	tokens      *serve.Tokens      // nil: whoever reaches them
	certificate *serve.Certificate // nil: no TLS
}

// openAccess reads the tokens and the certificate of a configuration. An error comes with the key that it is of.
func openAccess(h config.HTTP, log *slog.Logger) (a access, key string, err error) {
	if h.Tokens != "" {
		if a.tokens, err = serve.OpenTokens(h.Tokens, log); err != nil {
			return a, "tokens", err
		}
	}
	if h.TLSCert != "" {
		if a.certificate, err = serve.OpenCertificate(h.TLSCert, h.TLSKey, log); err != nil {
			return a, "tls_cert", err
		}
	}
	return a, "", nil
}

// certificateSoon is how long before its end a certificate is worth a word.
const certificateSoon = 7 * 24 * time.Hour

// notes returns what an operator should look at.
func (a access) notes(c *config.Config) (all []error) {
	if a.tokens != nil {
		all = append(all, a.tokens.Exposed())
		all = append(all, foldless(c, a.tokens.All())...)
	}
	if a.certificate == nil {
		for _, address := range []string{c.HTTP.Listen, c.HTTP.OpsListen} {
			if a.tokens != nil && address != "" && !config.Loopback(address) {
				all = append(all, hint.Error(fmt.Errorf("tokens and rows go over the network in clear, at %s", address), "set http.tls_cert and http.tls_key, or have a proxy in front that speaks TLS"))
			}
		}
		return slices.DeleteFunc(all, isNil)
	}
	all = append(all, a.certificate.Exposed())
	if until := a.certificate.Until(); time.Until(until) < certificateSoon {
		all = append(all, hint.Error(fmt.Errorf("the certificate %s ends at %s", c.HTTP.TLSCert, until.UTC().Format(time.RFC3339)), "replace the files: they are read again when they change"))
	}
	return slices.DeleteFunc(all, isNil)
}

func isNil(err error) bool { return err == nil }

// foldless notes tokens for folds that there are not.
func foldless(c *config.Config, all []serve.Token) (notes []error) {
	for _, t := range all {
		for _, name := range t.Folds {
			if !slices.ContainsFunc(c.Folds, func(f config.Fold) bool { return f.Name == name }) {
				notes = append(notes, hint.Error(fmt.Errorf("the token %s is for the fold %s, which there is not", t.Name, name), "correct its line in %s", c.HTTP.Tokens))
			}
		}
	}
	return notes
}

// doors are where a foldrun answers HTTP, beside its socket.
type doors struct {
	access
	main net.Listener
	ops  net.Listener // nil: health, readiness and metrics are at main
}

// openDoors listens where a configuration says.
func openDoors(c *config.Config, log *slog.Logger) (d doors, err error) {
	a, key, err := openAccess(c.HTTP, log)
	if err != nil {
		p := c.At("http", key)
		p.Text, p.Hint = err.Error(), hint.Of(err)
		return d, p.Err()
	}
	for _, note := range a.notes(c) {
		log.Warn("http", "problem", note, "hint", hint.Of(note))
	}
	d.access = a
	if d.main, err = listenAt(c, "listen", c.HTTP.Listen); err != nil || c.HTTP.OpsListen == "" {
		return d, err
	}
	if d.ops, err = listenAt(c, "ops_listen", c.HTTP.OpsListen); err != nil {
		err = errors.Join(err, d.main.Close())
	}
	return d, err
}

// listenAt listens at the address that a key of [http] gives. Its error names the key's place.
func listenAt(c *config.Config, key, address string) (net.Listener, error) {
	l, err := serve.Listen(address, c.HTTP.Tokens != "")
	if err != nil {
		p := c.At("http", key)
		p.Text, p.Hint = err.Error(), hint.Of(err)
		return nil, p.Err()
	}
	return l, nil
}

func (d doors) close() error {
	err := d.main.Close()
	if d.ops != nil {
		err = errors.Join(err, d.ops.Close())
	}
	return err
}

// answer answers at the doors, which it closes, until ctx is done or one of them fails.
func (d doors) answer(ctx context.Context, o serve.Options) error {
	if d.ops == nil {
		return serve.New(o).Run(ctx, d.main)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ops := make(chan error, 1)
	go func() {
		defer stop()
		ops <- serve.NewOps(o).Run(ctx, d.ops)
	}()
	err := serve.New(o).Run(ctx, d.main)
	stop()
	return errors.Join(err, <-ops)
}

// url is where queries are answered, for whoever is on this machine.
func (d doors) url() string { return urlOf(d.main.Addr().String(), d.certificate != nil) }

// urlOf returns the URL of an address to listen on. One that is all of a machine's is its own too.
func urlOf(address string, tls bool) string {
	scheme := "http://"
	if tls {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return scheme + address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + net.JoinHostPort(host, port)
}
