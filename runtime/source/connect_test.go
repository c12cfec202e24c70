package source

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/store"
)

// A door is a server with a configuration of its own, which can be stopped and started again at the same address.
type door struct {
	t      testing.TB
	dir    string
	port   int
	domain string
	*embedded.Server
}

func newDoor(t testing.TB, config string) *door {
	t.Helper()
	d := &door{t: t, dir: t.TempDir(), port: spare(t)}
	d.start(config)
	t.Cleanup(func() { d.Stop() })
	return d
}

func (d *door) start(config string) {
	d.t.Helper()
	path := filepath.Join(d.dir, "server.conf")
	check(d.t, os.WriteFile(path, []byte(config), 0o600))
	d.Server = serverAt(d.t, embedded.Options{StoreDir: filepath.Join(d.dir, "store"), Port: d.port, Domain: d.domain, Config: path})
}

// URL is that of nats://, whatever the server says: what a user writes.
func (d *door) URL() string {
	_, address, _ := strings.Cut(d.Server.URL(), "://")
	return "nats://" + address
}

// works connects and folds one update.
func works(t *testing.T, target Target) *nats.Conn {
	t.Helper()
	target.Once = true
	nc, err := Connect(target, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, hint.Of(err))
	}
	t.Cleanup(nc.Close)
	works1(t, nc)
	return nc
}

func works1(t *testing.T, nc *nats.Conn) {
	t.Helper()
	js, err := jetstream.New(nc)
	check(t, err)
	kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	check(t, err)
	seq, err := kv.PutString(t.Context(), "k", "v")
	check(t, err)
	f := follow(t, open(t, nc, Options{Bucket: "b"}), store.Position{}, NewPipe(2))
	f.until(seq)
	f.stop()
	if last := f.seen[len(f.seen)-1]; last.key != "k" || last.value != "v" {
		t.Errorf("it delivered %v", f.seen)
	}
}

// fails asserts that there is no connection, and that the error and its hint say why.
func fails(t *testing.T, target Target, code, text, mend string) {
	t.Helper()
	target.Once = true
	nc, err := Connect(target, nil)
	if err == nil {
		nc.Close()
		t.Fatal("connected")
	}
	t.Logf("%v\n%s", err, hint.Of(err))
	if have, _ := explainAway(err); have != code || !strings.Contains(err.Error(), text) || !strings.Contains(hint.Of(err), mend) {
		t.Errorf("%s: %v\n%s", have, err, hint.Of(err))
	}
	for _, secret := range []string{"s3cr3t", "wr0ng"} {
		if strings.Contains(err.Error()+hint.Of(err), secret) {
			t.Errorf("it shows a secret")
		}
	}
}

func TestConnectUser(t *testing.T) {
	d := newDoor(t, `authorization { timeout: 30, users = [{user: fold, password: s3cr3t}] }`)
	works(t, Target{URL: d.URL(), User: "fold", Password: "s3cr3t"})
	works(t, Target{URL: strings.Replace(d.URL(), "://", "://fold:s3cr3t@", 1)})
	fails(t, Target{URL: d.URL(), User: "fold", Password: "wr0ng"}, CodeUnauthorized, "uthorization", "credentials")
	fails(t, Target{URL: strings.Replace(d.URL(), "://", "://fold:wr0ng@", 1)}, CodeUnauthorized, "uthorization", "credentials")
	fails(t, Target{URL: d.URL()}, CodeUnauthorized, "uthorization", "credentials")
	fails(t, Target{URL: "nats://fold:wr0ng@h:%zz"}, CodeUnauthorized, "connect to nats://h:%zz: ", "nats://host")
}

func TestConnectToken(t *testing.T) {
	d := newDoor(t, `authorization { timeout: 30, token: s3cr3t }`)
	works(t, Target{URL: d.URL(), Token: "s3cr3t"})
	fails(t, Target{URL: d.URL(), Token: "wr0ng"}, CodeUnauthorized, "uthorization", "credentials")
	fails(t, Target{URL: strings.Replace(d.URL(), "://", "://wr0ng@", 1)}, CodeUnauthorized, "uthorization", "credentials")
	logged := newDiary()
	nc, err := Connect(Target{URL: strings.Replace(d.URL(), "://", "://s3cr3t@", 1), Once: true}, logged.log())
	check(t, err)
	defer nc.Close()
	nc.ForceReconnect()
	line, _ := logged.await(t, 0, func(line string) bool { return strings.Contains(line, "reconnected to NATS") })
	if strings.Contains(line, "s3cr3t") || !strings.Contains(line, fmt.Sprint("127.0.0.1:", d.port)) {
		t.Error(line)
	}
}

// TestConnectSecretChanges gives a password that changes while the connection stands: the next one uses it.
func TestConnectSecretChanges(t *testing.T) {
	config := func(password string) string {
		return `authorization { timeout: 30, users = [{user: fold, password: ` + password + `}] }`
	}
	d := newDoor(t, config("first"))
	file := filepath.Join(t.TempDir(), "password")
	check(t, os.WriteFile(file, []byte("first"), 0o600))
	target := Target{URL: d.URL(), User: "fold", Secrets: func() (string, string, error) {
		b, err := os.ReadFile(file)
		return string(b), "", err
	}}
	nc := works(t, target)
	d.Stop()
	check(t, os.WriteFile(file, []byte("second"), 0o600))
	d.start(config("second"))
	reconnected(t, nc)
	works1(t, nc)
}

// reconnected waits until a connection is up again.
func reconnected(t *testing.T, nc *nats.Conn) {
	t.Helper()
	up := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(up)
	late := time.After(patience)
	for nc.Stats().Reconnects == 0 || !nc.IsConnected() {
		select {
		case <-up:
		case <-late:
			t.Fatalf("not connected again: %v", nc.LastError())
		}
	}
}

func userKey(t *testing.T) (kp nkeys.KeyPair, public string, seedFile string) {
	t.Helper()
	kp, err := nkeys.CreateUser()
	check(t, err)
	public, err = kp.PublicKey()
	check(t, err)
	seed, err := kp.Seed()
	check(t, err)
	seedFile = filepath.Join(t.TempDir(), "user.nk")
	check(t, os.WriteFile(seedFile, seed, 0o600))
	return kp, public, seedFile
}

func TestConnectNKey(t *testing.T) {
	_, public, file := userKey(t)
	_, _, other := userKey(t)
	d := newDoor(t, fmt.Sprintf(`authorization { timeout: 30, users = [{nkey: %s}] }`, public))
	works(t, Target{URL: d.URL(), NKey: file})
	fails(t, Target{URL: d.URL(), NKey: other}, CodeUnauthorized, "uthorization", "credentials")
	check(t, os.WriteFile(other, []byte("no seed"), 0o600))
	if _, err := Connect(Target{URL: d.URL(), NKey: other}, nil); err == nil || !strings.Contains(err.Error(), other) || hint.Of(err) == "" {
		t.Errorf("a file without a seed: %v", err)
	}
}

// An authority signs certificates, which lie in files.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its own certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.file, _, a.key = a.issue(a.cert)
	return a
}

// issue signs a certificate for a new key.
func (a *authority) issue(c *x509.Certificate) (certFile, keyFile string, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	parent, signer := a.cert, a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	check(a.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(a.t, err)
	dir := a.t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	check(a.t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(a.t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile, key
}

func (a *authority) leaf(name string, notAfter time.Time, ips ...net.IP) (certFile, keyFile string) {
	a.t.Helper()
	certFile, keyFile, _ = a.issue(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: notAfter, IPAddresses: ips,
		DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	return certFile, keyFile
}

func TestConnectTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	soon, loopback := time.Now().Add(time.Hour), net.IPv4(127, 0, 0, 1)
	cert, key := a.leaf("server", soon, loopback)
	tls := func(more string) string {
		return fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, timeout: 30, %s }", cert, key, a.file, more)
	}
	plain := newDoor(t, "")
	fails(t, Target{URL: plain.URL(), TLSCA: a.file}, CodeTLS, "secure connection not available", "the server has no TLS")
	fails(t, Target{URL: plain.URL(), TLSCA: a.file, TLSFirst: true}, CodeTLS, "tls", "tls_first")

	d := newDoor(t, tls(""))
	works(t, Target{URL: d.URL(), TLSCA: a.file})
	fails(t, Target{URL: d.URL()}, CodeTLS, "unknown authority", "tls_ca")
	fails(t, Target{URL: d.URL(), TLSCA: stranger.file}, CodeTLS, "unknown authority", "tls_ca")
	fails(t, Target{URL: strings.Replace(d.URL(), "127.0.0.1", "localhost", 1), TLSCA: a.file}, CodeTLS, "localhost", "name the host")

	d = newDoor(t, tls("verify: true"))
	mine, mineKey := a.leaf("fold", soon)
	works(t, Target{URL: d.URL(), TLSCA: a.file, TLSCert: mine, TLSKey: mineKey})
	fails(t, Target{URL: d.URL(), TLSCA: a.file}, CodeTLS, "tls", "client's certificate")
	theirs, theirKey := stranger.leaf("fold", soon)
	fails(t, Target{URL: d.URL(), TLSCA: a.file, TLSCert: theirs, TLSKey: theirKey}, CodeTLS, "tls", "client's certificate")
	if _, err := Connect(Target{URL: d.URL(), TLSCA: a.file, TLSCert: mine, TLSKey: theirKey}, nil); err == nil || hint.Of(err) == "" {
		t.Errorf("a key of another certificate: %v", err)
	}
	if _, err := Connect(Target{URL: d.URL(), TLSCA: mineKey}, nil); err == nil || !strings.Contains(hint.Of(err), "PEM") {
		t.Errorf("an authority without a certificate: %v", err)
	}

	d = newDoor(t, tls("handshake_first: true"))
	works(t, Target{URL: d.URL(), TLSCA: a.file, TLSFirst: true})
	fails(t, Target{URL: d.URL(), TLSCA: a.file}, CodeUnreachable, "", "tls_first")

	cert, key = a.leaf("server", time.Now().Add(-time.Minute), loopback)
	d = newDoor(t, tls(""))
	fails(t, Target{URL: d.URL(), TLSCA: a.file}, CodeTLS, "expired", "tls block")
}

func TestConnectNobody(t *testing.T) {
	address := fmt.Sprint("nats://127.0.0.1:", spare(t))
	fails(t, Target{URL: address}, CodeUnreachable, "connect to "+address, "is the server up")
	fails(t, Target{URL: "nats://no-such-host.invalid:4222"}, CodeUnreachable, "no-such-host.invalid", "is the server up")
	d := newDoor(t, "")
	works(t, Target{URL: address + "," + d.URL()})
}

// TestConnectContext connects as the nats command would: by the name of a context, by $NATS_CONTEXT, by the selected one.
func TestConnectContext(t *testing.T) {
	o := newOperator(t)
	secured := newDoor(t, o.config())
	guarded := newDoor(t, `authorization { timeout: 30, users = [{user: fold, password: s3cr3t}] }`)
	open := newDoor(t, "")
	config, home := t.TempDir(), t.TempDir()
	creds, _ := o.user(time.Time{})
	check(t, os.WriteFile(filepath.Join(home, "fold.creds"), creds, 0o600))
	write := func(dir, name, url, more string) {
		check(t, os.MkdirAll(filepath.Join(dir, "nats", "context"), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, "nats", "context", name+".json"), fmt.Appendf(nil, `{"url":%q,%s "description":""}`, url, more), 0o600))
	}
	for _, name := range []string{"NATS_CONTEXT", "NATS_URL", "NATS_CREDS"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", config)
	write(config, "secured", secured.URL(), `"creds":"~/fold.creds",`)
	write(config, "guarded", guarded.URL(), `"user":"fold","password":"s3cr3t","inbox_prefix":"_INBOX_mine",`)
	write(config, "wrong", guarded.URL(), `"user":"fold","password":"wr0ng",`)
	write(filepath.Join(home, ".config"), "athome", open.URL(), "")

	at := func(want *door, target Target) *nats.Conn {
		t.Helper()
		nc := works(t, target)
		if nc.ConnectedAddr() != fmt.Sprint("127.0.0.1:", want.port) {
			t.Errorf("connected to %s, not %d", nc.ConnectedAddr(), want.port)
		}
		return nc
	}
	at(secured, Target{Context: "secured"})
	if nc := at(guarded, Target{Context: "guarded"}); !strings.HasPrefix(nc.NewInbox(), "_INBOX_mine.") {
		t.Errorf("its inbox is %s", nc.NewInbox())
	}
	fails(t, Target{Context: "wrong"}, CodeUnauthorized, "uthorization", "credentials")
	t.Setenv("NATS_URL", open.URL())
	at(open, Target{})
	check(t, os.WriteFile(filepath.Join(config, "nats", "context.txt"), []byte("guarded\n"), 0o600))
	at(guarded, Target{})
	t.Setenv("NATS_CONTEXT", "secured")
	at(secured, Target{})
	at(open, Target{URL: open.URL()})
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("NATS_CONTEXT", "athome")
	at(open, Target{})
	t.Setenv("NATS_CONTEXT", "nobody")
	if _, err := Connect(Target{}, nil); err == nil || !strings.Contains(err.Error(), `"nobody"`) || hint.Of(err) == "" {
		t.Errorf("a context that is not there: %v", err)
	}
	write(filepath.Join(home, ".config"), "nobody", open.URL(), `"jetstream_api_prefix":"JS.other",`)
	if _, err := Connect(Target{}, nil); err == nil || !strings.Contains(err.Error(), "jetstream_api_prefix") || hint.Of(err) == "" {
		t.Errorf("a context with what is not supported: %v", err)
	}
}

// TestConnectDomain reads a bucket through the domain of its server, and another domain that is not there.
func TestConnectDomain(t *testing.T) {
	d := newDoor(t, "")
	d.Stop()
	d.domain = "hub"
	d.start("")
	nc := works(t, Target{URL: d.URL()})
	f := follow(t, open(t, nc, Options{Bucket: "b", Domain: "hub"}), store.Position{}, NewPipe(2))
	f.until(1)
	if pos := f.stop(); pos.Domain != "hub" {
		t.Errorf("position %+v", pos)
	}
	if st := open(t, nc, Options{Bucket: "b", Domain: "spoke"}).Status(); st.Code != CodeNoJetStream || !strings.Contains(st.Hint, "domain") {
		t.Errorf("a domain that is not there: %+v", st)
	}
}
