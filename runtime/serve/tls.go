package serve

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/foldrun/foldrun/hint"
)

// A Certificate is the pair of files that a door shows to its clients, as they are now.
type Certificate struct {
	log  *slog.Logger
	mu   sync.Mutex
	file watched // the certificate, then the key
	pair *tls.Certificate
	said string // why the files are not read, as it was logged
}

// OpenCertificate reads a certificate, with its chain, and its key, both PEM.
func OpenCertificate(cert, key string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{log: log, file: watched{paths: []string{cert, key}}}
	c.file.changed()
	var err error
	c.pair, err = c.read()
	return c, err
}

func (c *Certificate) read() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.file.paths[0], c.file.paths[1])
	if err != nil {
		return nil, hint.Error(fmt.Errorf("tls: %s with %s: %w", c.file.paths[0], c.file.paths[1], err),
			"tls_cert is the certificate with its chain and tls_key its key, both PEM, readable by the user that runs foldrun")
	}
	return &pair, nil
}

// get returns the pair, read again if a file changed. One that does not fit leaves what was: the two are rarely replaced
// in one moment.
func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.file.changed() {
		return c.pair
	}
	pair, err := c.read()
	switch {
	case err != nil && err.Error() != c.said:
		c.said = err.Error()
		c.log.Warn("the certificate is kept as it was", "problem", err, "hint", hint.Of(err))
	case err == nil:
		if c.said != "" || !pair.Leaf.Equal(c.pair.Leaf) {
			c.log.Info("certificate read", "file", c.file.paths[0], "until", pair.Leaf.NotAfter)
		}
		c.said = ""
		c.pair = pair
	}
	return c.pair
}

// config is that of a door. A client must have TLS 1.2.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

// Until returns when the certificate ends.
func (c *Certificate) Until() time.Time { return c.get().Leaf.NotAfter }

// Names returns what the certificate is for: names and addresses.
func (c *Certificate) Names() []string {
	leaf := c.get().Leaf
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Exposed notes that every user of the machine may read the key.
func (c *Certificate) Exposed() error {
	info, err := os.Stat(c.file.paths[1])
	if err != nil {
		return nil // it was read
	}
	return readable(c.file.paths[1], info)
}
