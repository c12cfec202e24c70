package serve_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime/serve"
)

// newCertificate makes a certificate for 127.0.0.1 that signs itself, and its key, both PEM.
func newCertificate(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	about := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	check(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// secured is a door with TLS.
type secured struct {
	address, cert, key string
	journal            *journal
	trusted            *x509.CertPool
}

func newSecured(t *testing.T) *secured {
	dir := t.TempDir()
	s := &secured{cert: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key"), journal: new(journal), trusted: x509.NewCertPool()}
	s.replace(t, 1)
	c, err := serve.OpenCertificate(s.cert, s.key, s.journal.log())
	check(t, err)
	l, err := serve.Listen("127.0.0.1:0", false)
	check(t, err)
	s.address = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve.New(serve.Options{Certificate: c, Log: s.journal.log()}).Run(ctx, l) }()
	t.Cleanup(func() {
		stop()
		check(t, <-done)
	})
	return s
}

func (s *secured) replace(t *testing.T, serial int64) {
	t.Helper()
	cert, key := newCertificate(t, serial)
	s.trusted.AppendCertsFromPEM(cert)
	check(t, os.WriteFile(s.cert, cert, 0o600))
	check(t, os.WriteFile(s.key, key, 0o600))
}

// serial asks over a connection of its own and returns the serial number of the certificate that was shown.
func (s *secured) serial(t *testing.T) int64 {
	t.Helper()
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.trusted}}}
	resp, err := h.Get("https://" + s.address + "/v1/status")
	check(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 1 {
		t.Errorf("%s %s", resp.Proto, resp.Status)
	}
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
}

// TestCertificateReplaced: a certificate that was replaced is shown at the next connection, one that does not fit its key is not.
func TestCertificateReplaced(t *testing.T) {
	s := newSecured(t)
	for i := int64(1); i < 5; i++ {
		s.replace(t, i)
		if got := s.serial(t); got != i {
			t.Fatalf("certificate %d, not %d", got, i)
		}
	}
	cert, key := newCertificate(t, 9)
	check(t, os.WriteFile(s.cert, cert, 0o600))
	if got := s.serial(t); got != 4 || strings.Count(s.journal.String(), "the certificate is kept as it was") != 1 {
		t.Errorf("half of a pair: certificate %d; %s", got, s.journal)
	}
	check(t, os.Remove(s.key))
	if got := s.serial(t); got != 4 {
		t.Errorf("no key: certificate %d", got)
	}
	s.trusted.AppendCertsFromPEM(cert)
	check(t, os.WriteFile(s.key, key, 0o600))
	if got := s.serial(t); got != 9 || !strings.Contains(s.journal.String(), `msg="certificate read"`) {
		t.Errorf("the other half: certificate %d; %s", got, s.journal)
	}
}

// TestTLS: no client with an older TLS than 1.2 comes in, and none without.
func TestTLS(t *testing.T) {
	s := newSecured(t)
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: s.trusted, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			c.Close()
		}
	}
	resp, err := http.Get("http://" + s.address + "/v1/status")
	check(t, err)
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != 400 || strings.Contains(string(b), "folds") {
		t.Errorf("in clear: %d %s", resp.StatusCode, b)
	}
}

// TestCertificateFiles: what is not a pair is refused with what to do.
func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := serve.OpenCertificate(filepath.Join(dir, "none"), filepath.Join(dir, "none"), nil); err == nil {
		t.Error("files that are not there")
	}
	cert, _ := newCertificate(t, 1)
	_, key := newCertificate(t, 2)
	check(t, os.WriteFile(filepath.Join(dir, "cert"), cert, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "key"), key, 0o600))
	if _, err := serve.OpenCertificate(filepath.Join(dir, "cert"), filepath.Join(dir, "key"), nil); err == nil {
		t.Error("the key of another certificate")
	}
}
