package source

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A Target says how to reach NATS. With none of URL, Context and the credentials given, it is looked up: see Resolve.
type Target struct {
	URL      string // one or several, separated by commas
	Context  string // a context of the nats command
	Creds    string // path of a credentials file; read again at each reconnect
	NKey     string // path of a file with an nkey seed
	User     string
	Password string
	Token    string
	TLSCert  string // paths of PEM files
	TLSKey   string
	TLSCA    string
	TLSFirst bool // TLS before the server's first word

	Domain      string // set by a context: the JetStream domain it names. Connect does not use it
	InboxPrefix string // default _INBOX_foldrun; permissions must allow to subscribe to it
	Name        string // of the connection, as the server lists it; default "foldrun"
	Once        bool   // fail if there is no connection within 5s, where a daemon keeps trying for ever
}

// Connect connects to NATS as a daemon does: it returns without error while there is no server yet, and reconnects for
// ever. With t.Once it fails when it cannot connect at once. What happens to the connection is logged.
func Connect(t Target, log *slog.Logger) (*nats.Conn, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t, err := Resolve(t)
	if err != nil {
		return nil, err
	}
	options, err := t.options()
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(t.URL, append(options, handlers(log)...)...)
	if err != nil {
		return nil, fmt.Errorf("source: connect to %s: %w", t.URL, err)
	}
	return nc, nil
}

func (t Target) options() ([]nats.Option, error) {
	if t.Name == "" {
		t.Name = "foldrun"
	}
	if t.InboxPrefix == "" {
		t.InboxPrefix = "_INBOX_foldrun"
	}
	options := []nats.Option{
		nats.Name(t.Name),
		nats.CustomInboxPrefix(t.InboxPrefix),
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(3),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.IgnoreAuthErrorAbort(), // credentials are rotated under us
	}
	if t.Once {
		options = append(options, nats.Timeout(5*time.Second))
	} else {
		options = append(options, nats.RetryOnFailedConnect(true))
	}
	switch {
	case t.Creds != "":
		options = append(options, nats.UserCredentials(t.Creds))
	case t.NKey != "":
		nkey, err := nats.NkeyOptionFromSeed(t.NKey)
		if err != nil {
			return nil, fmt.Errorf("source: nkey seed: %w", err)
		}
		options = append(options, nkey)
	case t.Token != "":
		options = append(options, nats.Token(t.Token))
	case t.User != "":
		options = append(options, nats.UserInfo(t.User, t.Password))
	}
	if t.TLSCA != "" {
		options = append(options, nats.RootCAs(t.TLSCA))
	}
	switch {
	case t.TLSCert != "" && t.TLSKey != "":
		options = append(options, nats.ClientCert(t.TLSCert, t.TLSKey))
	case t.TLSCert != "" || t.TLSKey != "":
		return nil, errors.New("source: a TLS client needs both a certificate and its key")
	}
	if t.TLSFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options, nil
}

// handlers log what happens to a connection. nats.go calls them one after another, on a goroutine of the connection.
func handlers(log *slog.Logger) []nats.Option {
	var recent recently
	return []nats.Option{
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS", "server", nc.ConnectedServerName(), "version", nc.ConnectedServerVersion(), "url", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("reconnected to NATS", "server", nc.ConnectedServerName(), "url", nc.ConnectedUrlRedacted())
		}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn("disconnected from NATS", "err", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if recent.isNew(err.Error()) {
				log.Warn("NATS cannot be reached", "err", err)
			}
		}),
		nats.ClosedHandler(func(*nats.Conn) { log.Info("connection to NATS closed") }),
		nats.LameDuckModeHandler(func(nc *nats.Conn) {
			log.Info("NATS server is about to shut down", "server", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if !recent.isNew(err.Error()) {
				return
			}
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS reports an error", "err", err, "subject", subject)
		}),
	}
}

// recently keeps a text that repeats itself out of the log for a minute.
type recently struct {
	mu   sync.Mutex
	text string
	at   time.Time
}

func (r *recently) isNew(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if text == r.text && now.Sub(r.at) < time.Minute {
		return false
	}
	r.text, r.at = text, now
	return true
}
