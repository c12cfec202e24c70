package source

import (
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/hint"
)

// Conn is a connection to NATS, as Connect makes it.
type Conn = nats.Conn

// A journal keeps what nats.go tells the callbacks of a connection and then forgets: refusals, which the server sends
// apart from the request that they end, and why the last attempt to connect failed. It has the connection's wire, too.
type journal struct {
	wire wire

	mu      sync.Mutex
	refused []error       // permission violations, the last of them
	count   int           // of all there were
	added   chan struct{} // closed and replaced with each
	failure error
}

// journals has those of the connections that Connect made, until they are closed: a nats.Conn has no place for it.
var journals sync.Map // *nats.Conn -> *journal

func newJournal() *journal { return &journal{added: make(chan struct{})} }

// journalOf returns the journal of a connection, an empty one if Connect did not make it.
func journalOf(nc *nats.Conn) *journal {
	if j, ok := journals.Load(nc); ok {
		return j.(*journal)
	}
	return newJournal()
}

// journalSize bounds what is kept: enough for all that may be refused while one request waits.
const journalSize = 256

func (j *journal) refuse(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.refused) == journalSize {
		j.refused = slices.Delete(j.refused, 0, 1)
	}
	j.refused = append(j.refused, err)
	j.count++
	close(j.added)
	j.added = make(chan struct{})
}

// mark returns how many refusals there were.
func (j *journal) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count
}

// refusal returns the violation since mark that names one of the subjects, or nil and a channel that is closed with the
// next one.
func (j *journal) refusal(mark int, subjects ...string) (<-chan struct{}, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, err := range j.refused[max(0, len(j.refused)-(j.count-mark)):] {
		for _, subject := range subjects {
			if strings.Contains(err.Error(), `"`+subject+`"`) {
				return nil, err
			}
		}
	}
	return j.added, nil
}

func (j *journal) failed(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failure = err
}

// away returns why there is no connection: a failed attempt to reach a server, or one that was reached and went wrong.
func (j *journal) away(nc *nats.Conn) error {
	if err := nc.LastError(); err != nil && !errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failure
}

// explain returns the stable code of an error that Run outlives, "" if it has none, and what to do about it.
func explain(err error) (code, mend string) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return CodeDenied, hint.Of(err)
	case isAPIError(err, errStreamNotFound):
		return CodeMissing, "create it, or correct the fold's source: the fold waits for it"
	case isAPIError(err, errNotEnabled), isAPIError(err, errNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return CodeNoJetStream, "is JetStream enabled for the account, is the domain right, and are its servers up? The fold waits for it"
	}
	return "", ""
}

// explainAway is explain for an error of a connection.
func explainAway(err error) (code, mend string) {
	var op *net.OpError
	switch {
	case errors.As(err, new(*fs.PathError)):
		return CodeUnauthorized, "put the file where the connection says it is, readable by foldrun"
	case isAny(err, nats.ErrSecureConnWanted, nats.ErrSecureConnRequired):
		return CodeTLS, "the server has no TLS: drop tls_ca, tls_cert, tls_key and tls://, or enable it there"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return CodeTLS, "tls_ca must hold the authority that signed the server's certificate"
	case errors.As(err, new(x509.HostnameError)):
		return CodeTLS, "the server's certificate must name the host that url names"
	case errors.Is(err, nats.ErrTLS) && isAny(err, io.EOF, syscall.EPIPE, syscall.ECONNRESET), errors.As(err, &op) && op.Op == "remote error":
		return CodeTLS, "the server ended the handshake: tls_cert and tls_key must be of a client's certificate that it accepts"
	case errors.Is(err, nats.ErrTLS):
		return CodeTLS, "compare tls_ca, tls_cert, tls_key and tls_first with the server's tls block"
	case err == nil, errors.As(err, new(net.Error)), isAny(err, io.EOF, nats.ErrNoServers, nats.ErrTimeout, nats.ErrStaleConnection):
		return CodeUnreachable, "is the server up, is the url right, and does it want tls_first?"
	case isAny(err, nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded):
		return CodeUnreachable, "the server has as many connections as it, or the account, may have"
	}
	return CodeUnauthorized, "compare the connection's credentials with the server's users and accounts"
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
