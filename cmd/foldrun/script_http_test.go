package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/foldrun/foldrun/runtime/serve"
)

// cmdNewToken makes a token: the file tokens gets its line, and NAME.token has it.
func cmdNewToken(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, 3, "new-token NAME SCOPE FOLDS")
	var folds []string
	if args[2] != "*" {
		folds = strings.Split(args[2], ",")
	}
	token, line, err := serve.NewToken(args[0], args[1], folds)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".token"), []byte(token+"\n"), 0o600))
	f, err := os.OpenFile(ts.MkAbs("tokens"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = fmt.Fprintln(f, line)
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdNewCertificate makes ca.pem, which signs itself for this machine, and ca.key.
func cmdNewCertificate(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, 0, "new-certificate")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	ts.Check(err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("ca.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
}

// cmdURL sets a variable to the address that the foldrun of data noted.
func cmdURL(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1, "url VAR")
	at, err := readAddress(ts.MkAbs("data"))
	ts.Check(err)
	ts.Setenv(args[0], at.url)
}

// cmdAsk makes a request, with the token of a file, and compares the status of the reply.
func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 3, "ask STATUS URL [TOKENFILE]")
	d := door{ca: ts.MkAbs("ca.pem")}
	h, err := d.http()
	ts.Check(err)
	req, err := http.NewRequest(http.MethodGet, args[1], nil)
	ts.Check(err)
	if len(args) > 2 {
		d.tokenFile = ts.MkAbs(args[2])
		token, err := d.token()
		ts.Check(err)
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := h.Do(req)
	ts.Check(err)
	resp.Body.Close()
	if got := strconv.Itoa(resp.StatusCode); got != args[0] {
		ts.Fatalf("%s: status %s, not %s", args[1], got, args[0])
	}
}
