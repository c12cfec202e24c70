package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
)

// guardedServer starts a server with a configuration file and puts the keys k0 to k9 into a bucket.
func guardedServer(t *testing.T, domain, config, bucket string, admin source.Target) (url string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs servers")
	}
	path := filepath.Join(t.TempDir(), "server.conf")
	check(t, os.WriteFile(path, []byte(config), 0o600))
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Domain: domain, Config: path})
	check(t, err)
	t.Cleanup(server.Stop)
	admin.URL, admin.Once = server.URL(), true
	conn, err := source.Connect(admin, nil)
	check(t, err)
	t.Cleanup(conn.Close)
	_, err = conn.Request("$JS.API.STREAM.CREATE.KV_"+bucket, fmt.Appendf(nil, `{"name":"KV_%s","subjects":["$KV.%[1]s.>"],"max_msgs_per_subject":1}`, bucket), patience)
	check(t, err)
	for i := range 10 {
		_, err := conn.Request(fmt.Sprintf("$KV.%s.k%d", bucket, i), []byte("v"), patience)
		check(t, err)
	}
	return server.URL()
}

// writeConfig puts a configuration into a directory of its own.
func writeConfig(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	wasm, err := filepath.Abs("../../testdata/modules/echo.wasm")
	check(t, err)
	text = "data_dir = \"data\"\nhttp.listen = \"127.0.0.1:0\"\n" + strings.ReplaceAll(text, "ECHO", fmt.Sprintf("%q", wasm))
	check(t, os.WriteFile(filepath.Join(dir, "foldrun.toml"), []byte(text), 0o600))
	return dir
}

// foldrun runs a verb to its end.
func foldrun(t *testing.T, dir string, args ...string) (output string, code int) {
	t.Helper()
	c := exec.Command("foldrun", args...)
	c.Dir = dir
	b, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), c.ProcessState.ExitCode()
}

// TestConnections runs folds over two connections of one configuration: another server, other credentials, a domain.
func TestConnections(t *testing.T) {
	one := guardedServer(t, "", `authorization { users = [{user: fold, password: "from a file"}] }`, "users",
		source.Target{User: "fold", Password: "from a file"})
	two := guardedServer(t, "hub", `authorization { token: t0ken }`, "orders", source.Target{Token: "t0ken"})
	dir := writeConfig(t, fmt.Sprintf(`
[nats.default]
url = %q
user = "fold"
password = "file:password"
[nats.hub]
url = %q
domain = "hub"
token = "env:FOLDRUN_TEST_TOKEN"
[fold.users]
source.bucket = "users"
module.path = ECHO
[fold.orders]
source.nats = "hub"
source.bucket = "orders"
module.path = ECHO
`, one, two))
	check(t, os.WriteFile(filepath.Join(dir, "password"), []byte("from a file\n"), 0o600))
	t.Setenv("FOLDRUN_TEST_TOKEN", "t0ken")
	out, code := foldrun(t, dir, "check")
	for _, want := range []string{"connection default: nats://127.0.0.1:", "connection hub: nats://127.0.0.1:", "fold users: stream KV_users, 10 messages",
		"fold orders: stream KV_orders, 10 messages", ": ok\n"} {
		if code != exitDone || !strings.Contains(out, want) {
			t.Errorf("check exits %d without %q:\n%s", code, want, out)
		}
	}
	d := &daemon{t: t, dir: dir}
	c := d.start()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		s, err := c.Status(context.Background())
		check(t, err)
		if orders, users := s.Folds[0], s.Folds[1]; orders.Seq == 10 && users.Seq == 10 {
			if orders.Domain != "hub" || users.Domain != "" {
				t.Errorf("domains %q and %q", orders.Domain, users.Domain)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not caught up: %+v", s)
		}
	}
	for _, index := range []string{"users", "orders"} {
		rows := 0
		for row, err := range c.Scan(context.Background(), index, "main", client.Range{}) {
			check(t, err)
			if rows++; string(row.Value) != "v" {
				t.Errorf("%s: %+v", index, row)
			}
		}
		if rows != 10 {
			t.Errorf("%s has %d rows", index, rows)
		}
	}
	d.signal()
	if code := d.end(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	t.Setenv("FOLDRUN_TEST_TOKEN", "wrong")
	out, code = foldrun(t, dir, "check")
	if code != exitFailed || !strings.Contains(out, "error: connection hub: source: connect to nats://127.0.0.1:") ||
		!strings.Contains(out, "uthorization") || !strings.Contains(out, "hint: compare the connection's credentials") {
		t.Errorf("check exits %d:\n%s", code, out)
	}
}

// TestCheckPermissions names all that a user lacks, at once.
func TestCheckPermissions(t *testing.T) {
	const all = `"$JS.API.STREAM.INFO.KV_users", "$JS.API.CONSUMER.CREATE.KV_users.*.$KV.users.>"`
	url := guardedServer(t, "", `authorization { users = [{user: admin, password: p},
		{user: fold, password: p, permissions: {publish: [`+all+`], subscribe: ["_INBOX_foldrun.>"]}}] }`,
		"users", source.Target{User: "admin", Password: "p"})
	t.Setenv("P", "p")
	dir := writeConfig(t, fmt.Sprintf("nats.default = {url = %q, user = \"fold\", password = \"env:P\"}\n[fold.users]\nsource.bucket = \"users\"\nmodule.path = ECHO\n", url))
	out, code := foldrun(t, dir, "check")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, entry := range []string{"$JS.API.STREAM.MSG.GET.KV_users", "$JS.API.CONSUMER.MSG.NEXT.KV_users.*", "$JS.API.CONSUMER.DELETE.KV_users.*"} {
		stem, _, _ := strings.Cut(entry, "*")
		if !strings.Contains(out, `Permissions Violation for Publish to "`+stem) || !strings.Contains(out, fmt.Sprintf("hint: allow the user to publish to %q", entry)) {
			t.Errorf("it does not name %s:\n%s", entry, out)
		}
	}
	if n := strings.Count(out, "foldrun: error: "); n != 3 {
		t.Errorf("%d errors:\n%s", n, out)
	}
}

// TestWrongCredentials: a start goes on trying, says what is wrong, and answers meanwhile; it follows once they are right.
func TestWrongCredentials(t *testing.T) {
	url := guardedServer(t, "", `authorization { token: t0ken }`, "users", source.Target{Token: "t0ken"})
	dir := writeConfig(t, fmt.Sprintf("nats.default = {url = %q, token = \"file:token\"}\n[fold.users]\nsource.bucket = \"users\"\nmodule.path = ECHO\n", url))
	token := filepath.Join(dir, "token")
	check(t, os.WriteFile(token, []byte("wrong"), 0o600))
	d := &daemon{t: t, dir: dir}
	c := d.start()
	s := d.wait(c, func(s client.FoldStatus) bool { return s.Code == "nats_unauthorized" })
	if s.State != "waiting" || s.Hint == "" {
		t.Errorf("%+v", s)
	}
	check(t, os.WriteFile(token, []byte("t0ken"), 0o600))
	d.wait(c, func(s client.FoldStatus) bool { return s.CaughtUp && s.Seq == 10 && s.Code == "" })
	d.signal()
	if code := d.end(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	check(t, os.Remove(token))
	out, code := foldrun(t, dir, "check")
	if want := "foldrun: error: foldrun.toml:3: nats.default.token: "; code != exitFailed || !strings.Contains(out, want) {
		t.Errorf("check exits %d without %q:\n%s", code, want, out)
	}
}
