package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/hint"
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
	Secrets  func() (password, token string, err error) // if given, asked at each connect in the place of Password and Token
	TLSCert  string                                     // paths of PEM files
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
	options, err := t.options(log)
	if err != nil {
		return nil, err
	}
	j := newJournal()
	if j.wire.Timeout = nats.DefaultTimeout; t.Once {
		j.wire.Timeout = onceTimeout
	}
	options = append(append(options, nats.SetCustomDialer(&j.wire), nats.SkipHostLookup()), handlers(j, log)...)
	nc, err := nats.Connect(t.URL, options...)
	if err != nil {
		return nil, t.notConnected(err)
	}
	journals.Store(nc, j)
	return nc, nil
}

// onceTimeout is how long Connect tries with Target.Once.
const onceTimeout = 5 * time.Second

// Unreachable reports whether nothing but the server or the way there is at fault for an error of Connect.
func Unreachable(err error) bool {
	code, _ := explainAway(err)
	return code == CodeUnreachable
}

// notConnected says why there is no connection to t, and shows no credentials that are part of its URL.
func (t Target) notConnected(err error) error {
	_, mend := explainAway(err)
	var bad *url.Error
	if errors.As(err, &bad) { // it repeats the URL
		err, mend = bad.Err, "write nats://host:4222"
	}
	return hint.Error(fmt.Errorf("source: connect to %s: %w", bare(t.URL), err), "%s", mend)
}

// bare returns URLs without the credentials in them.
func bare(urls string) string {
	all := strings.Split(urls, ",")
	for i, one := range all {
		scheme, rest, found := strings.Cut(one, "://")
		if !found {
			scheme, rest = "", one
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = rest[at+1:]
		}
		if all[i] = rest; found {
			all[i] = scheme + "://" + rest
		}
	}
	return strings.Join(all, ",")
}

// At returns the address of the server that a connection is to, without credentials, "" if there is none.
func At(nc *Conn) string { return bare(nc.ConnectedUrl()) }

func (t Target) options(log *slog.Logger) ([]nats.Option, error) {
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
		options = append(options, nats.Timeout(onceTimeout))
	} else {
		options = append(options, nats.RetryOnFailedConnect(true))
	}
	switch {
	case t.Creds != "":
		options = append(options, nats.UserCredentials(t.Creds))
	case t.NKey != "":
		nkey, err := nats.NkeyOptionFromSeed(t.NKey)
		if err != nil {
			return nil, hint.Error(fmt.Errorf("source: nkey seed %s: %w", t.NKey, err), "it must hold the seed of a user: SU…")
		}
		options = append(options, nkey)
	case t.User != "":
		options = append(options, nats.UserInfoHandler(func() (user, password string) {
			password, _ = t.secrets(log)
			return t.User, password
		}))
	case t.Token != "" || t.Secrets != nil:
		options = append(options, nats.TokenHandler(func() string {
			_, token := t.secrets(log)
			return token
		}))
	}
	secure, err := t.tls()
	return append(options, secure...), err
}

// tls returns the options for TLS. Files that cannot be used are found here: nats.go reads them anew at each connect.
func (t Target) tls() (options []nats.Option, err error) {
	if t.TLSCA != "" {
		pem, err := os.ReadFile(t.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("source: tls_ca: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return nil, hint.Error(fmt.Errorf("source: tls_ca: there is no certificate in %s", t.TLSCA), "it must hold PEM blocks of the type CERTIFICATE")
		}
		options = append(options, nats.RootCAs(t.TLSCA))
	}
	switch {
	case t.TLSCert != "" && t.TLSKey != "":
		if _, err := tls.LoadX509KeyPair(t.TLSCert, t.TLSKey); err != nil {
			return nil, hint.Error(fmt.Errorf("source: tls_cert %s with tls_key %s: %w", t.TLSCert, t.TLSKey, err), "both must be PEM, and of one key")
		}
		options = append(options, nats.ClientCert(t.TLSCert, t.TLSKey))
	case t.TLSCert != "" || t.TLSKey != "":
		return nil, errors.New("source: a TLS client needs both a certificate and its key")
	}
	if t.TLSFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options, nil
}

// secrets returns what they are now; the server refuses what cannot be read.
func (t Target) secrets(log *slog.Logger) (password, token string) {
	if t.Secrets == nil {
		return t.Password, t.Token
	}
	password, token, err := t.Secrets()
	if err != nil {
		log.Warn("credentials cannot be read", "err", err)
	}
	return password, token
}

// handlers log what happens to a connection, and write it into its journal. nats.go calls them one after another, on a goroutine of the connection.
func handlers(j *journal, log *slog.Logger) []nats.Option {
	var recent recently
	return []nats.Option{
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS", "server", nc.ConnectedServerName(), "version", nc.ConnectedServerVersion(), "url", At(nc))
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("reconnected to NATS", "server", nc.ConnectedServerName(), "url", At(nc))
		}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn("disconnected from NATS", "err", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			j.failed(err)
			if recent.isNew(err.Error()) {
				log.Warn("NATS cannot be reached", "err", err)
			}
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			journals.Delete(nc)
			log.Info("connection to NATS closed")
		}),
		nats.LameDuckModeHandler(func(nc *nats.Conn) {
			log.Info("NATS server is about to shut down", "server", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				j.refuse(err)
			}
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
