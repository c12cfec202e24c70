package source

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/foldrun/foldrun/store"
)

// An operator is one of a decentralized setup, with one account and one for the system.
type operator struct {
	t                   testing.TB
	key, account        nkeys.KeyPair
	accountID, system   string
	claims              *jwt.AccountClaims
	operatorJWT, sysJWT string
}

func newOperator(t testing.TB) *operator {
	t.Helper()
	o := &operator{t: t}
	must := func(kp nkeys.KeyPair, err error) (nkeys.KeyPair, string) {
		check(t, err)
		public, err := kp.PublicKey()
		check(t, err)
		return kp, public
	}
	var id string
	o.key, id = must(nkeys.CreateOperator())
	o.account, o.accountID = must(nkeys.CreateAccount())
	_, o.system = must(nkeys.CreateAccount())
	oc := jwt.NewOperatorClaims(id)
	oc.SystemAccount = o.system
	o.operatorJWT = o.sign(oc)
	o.sysJWT = o.sign(jwt.NewAccountClaims(o.system))
	o.claims = jwt.NewAccountClaims(o.accountID)
	o.claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	return o
}

func (o *operator) sign(c jwt.Claims) string {
	o.t.Helper()
	token, err := c.Encode(o.key)
	check(o.t, err)
	return token
}

// config is a server's, which knows the account as it is now.
func (o *operator) config() string {
	return fmt.Sprintf("authorization { timeout: 30 }\noperator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n%s: %s\n%s: %s\n}\n",
		o.operatorJWT, o.system, o.system, o.sysJWT, o.accountID, o.sign(o.claims))
}

// user returns the credentials of a new user, which expire then, and its id.
func (o *operator) user(expires time.Time) (creds []byte, id string) {
	o.t.Helper()
	kp, err := nkeys.CreateUser()
	check(o.t, err)
	id, err = kp.PublicKey()
	check(o.t, err)
	claims := jwt.NewUserClaims(id)
	if !expires.IsZero() {
		claims.Expires = expires.Unix()
	}
	token, err := claims.Encode(o.account)
	check(o.t, err)
	seed, err := kp.Seed()
	check(o.t, err)
	creds, err = jwt.FormatUserConfig(token, seed)
	check(o.t, err)
	return creds, id
}

// whoami asks the server which user a connection is of.
func whoami(t *testing.T, nc *nats.Conn) string {
	t.Helper()
	m, err := nc.Request("$SYS.REQ.USER.INFO", nil, patience)
	check(t, err)
	var reply struct{ Data struct{ User string } }
	check(t, json.Unmarshal(m.Data, &reply))
	return reply.Data.User
}

// TestConnectCreds replaces a credentials file while a fold's source runs, and revokes the user of the old one: the
// source goes on as the new user.
func TestConnectCreds(t *testing.T) {
	o := newOperator(t)
	d := newDoor(t, o.config())
	file := filepath.Join(t.TempDir(), "fold.creds")
	creds, first := o.user(time.Time{})
	check(t, os.WriteFile(file, creds, 0o600))
	nc := works(t, Target{URL: d.URL(), Creds: file})
	if id := whoami(t, nc); id != first {
		t.Errorf("connected as %s, not %s", id, first)
	}
	src := open(t, nc, Options{Bucket: "b"})
	f := follow(t, src, store.Position{}, NewPipe(2))
	f.until(1)

	creds, second := o.user(time.Time{})
	check(t, os.WriteFile(file, creds, 0o600))
	d.Stop()
	o.claims.Revoke(first)
	d.start(o.config())
	reconnected(t, nc)
	if id := whoami(t, nc); id != second {
		t.Errorf("connected as %s, not %s", id, second)
	}
	js, err := jetstream.New(nc)
	check(t, err)
	kv, err := js.KeyValue(t.Context(), "b")
	check(t, err)
	seq, err := kv.PutString(t.Context(), "k", "again")
	check(t, err)
	f.until(seq)
	f.stop()

	old := filepath.Join(t.TempDir(), "old.creds")
	creds, _ = o.user(time.Now().Add(-time.Hour))
	check(t, os.WriteFile(old, creds, 0o600))
	fails(t, Target{URL: d.URL(), Creds: old}, CodeUnauthorized, "uth", "credentials")
	check(t, os.WriteFile(old, []byte("no credentials"), 0o600))
	fails(t, Target{URL: d.URL(), Creds: old}, CodeUnauthorized, "", "credentials")
	fails(t, Target{URL: d.URL(), Creds: old + "x"}, CodeUnauthorized, old+"x", "put the file")
}

// TestConnectDaemon runs a source whose connection cannot come about: it says why, and goes on when that is mended.
func TestConnectDaemon(t *testing.T) {
	o := newOperator(t)
	d := newDoor(t, o.config())
	file := filepath.Join(t.TempDir(), "fold.creds")
	creds, id := o.user(time.Time{})
	check(t, os.WriteFile(file, creds, 0o600))
	works(t, Target{URL: d.URL(), Creds: file}).Close()
	d.Stop()

	logged := newDiary()
	nc, err := Connect(Target{URL: d.URL(), Creds: file}, logged.log())
	check(t, err)
	defer nc.Close()
	src := open(t, nc, Options{Bucket: "b", Log: logged.log(), Heartbeat: mute})
	f := follow(t, src, store.Position{}, NewPipe(2))
	waits := func(code string) {
		t.Helper()
		line, _ := logged.await(t, 0, func(line string) bool {
			return strings.Contains(line, "waiting for NATS") && strings.Contains(line, "code="+code+" ")
		})
		t.Log(line)
		eventually(t, func() error { // each attempt to connect may fail in another way
			if st := src.Status(); st.State != StateWaiting || st.Code != code || st.Hint == "" || !strings.Contains(st.Reason, "not connected to NATS: ") {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
	}
	waits(CodeUnreachable)
	o.claims.Revoke(id)
	d.start(o.config())
	waits(CodeUnauthorized)
	check(t, os.Remove(file))
	logged.await(t, 0, func(line string) bool {
		return strings.Contains(line, "waiting for NATS") && strings.Contains(line, "no such file")
	})
	creds, _ = o.user(time.Time{})
	check(t, os.WriteFile(file, creds, 0o600))
	f.until(1)
	if st := src.Status(); st.State != StateReading || st.Code+st.Reason+st.Hint != "" {
		t.Errorf("%+v", st)
	}
	f.stop()
}
