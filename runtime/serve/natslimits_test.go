package serve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/client/natsdoor"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/runtime/source"
)

// configured writes a configuration of the server.
func configured(t *testing.T, text string) embedded.Options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.conf")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return embedded.Options{Config: path}
}

// TestNATSPages reads more than a message may have.
func TestNATSPages(t *testing.T) {
	const most = 16 << 10
	f := newFollowAt(t, configured(t, fmt.Sprintf("max_payload: %d", most)), "echo", nil)
	var seq uint64
	const rows = 200
	for i := range rows {
		seq = f.put(fmt.Sprintf("a.%03d", i), strings.Repeat("v", 1000))
	}
	f.until("the puts", func(s runtime.Status) bool { return s.Seq >= seq && s.CaughtUp })
	f.overNATS("one", f.Fold)
	f.answers("f.get.main")
	who, n, pages := natsdoor.New(f.nc, "foldrun"), 0, 0
	for p, err := range who.Pages(t.Context(), "f", "main", client.Range{}) {
		check(t, err)
		n += len(p.Rows)
		pages++
	}
	if n != rows || pages < 17 || pages > 19 {
		t.Errorf("%d rows in %d pages", n, pages)
	}
	// The place after a page is in the page twice where the key is large: it fits all the same.
	large := "a." + strings.Repeat("k", 2500)
	for i := range 3 {
		f.put(large+fmt.Sprint(i), "v")
	}
	seq = f.put("a.bytes", strings.Repeat("\x00", 12000)) // more than a message, as base64
	at := client.AtLeast{Seq: seq, Wait: patience}
	keys := 0
	for row, err := range who.Scan(t.Context(), "f", "main", client.Range{Prefix: []byte("a.k"), AtLeast: at}) {
		check(t, err)
		keys += len(row.Key)
	}
	if keys != 3*len(large)+3 {
		t.Errorf("keys of %d bytes", keys)
	}
	var refused *client.Error
	_, err := who.Get(t.Context(), "f", "main", []byte("a.bytes"), client.Range{AtLeast: at})
	if !errors.As(err, &refused) || refused.Code != "reply_too_large" || refused.Status != http.StatusRequestEntityTooLarge || refused.Hint == "" {
		t.Error(err)
	}
	if _, err := f.who.Get(t.Context(), "f", "main", []byte("a.bytes"), client.Range{}); err != nil {
		t.Error(err)
	}
}

// granted returns the user of docs/query-nats.md with a name.
func granted(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/query-nats.md")
	check(t, err)
	_, rest, found := strings.Cut(string(b), "{ user: "+name+",")
	text, _, ended := strings.Cut(rest, "\n```")
	if !found || !ended {
		t.Fatalf("the page has no user %s", name)
	}
	return "{ user: " + name + "," + text + "\n"
}

// TestNATSPermissions has the users of docs/query-nats.md answer and ask.
func TestNATSPermissions(t *testing.T) {
	narrow := `{ user: narrow, password: "…", permissions: { subscribe: ["foldrun.status", "foldrun.@node-1.>", "foldrun.users.>", "$SRV.PING", "$SRV.INFO",
		"$SRV.STATS", "$SRV.PING.>", "$SRV.INFO.>", "$SRV.STATS.>"], publish: ["_INBOX.>"] } }` + "\n"
	less := strings.NewReplacer("user: narrow", "user: less", `"foldrun.users.>"`, `"foldrun.users.get.*"`, "_INBOX", "_OTHER").Replace(narrow)
	conf := "no_auth_user: admin\nauthorization: { users: [\n{ user: admin, password: p }\n" + granted(t, "foldrun_query") + granted(t, "shop") + narrow + less + "] }\n"
	f := newFollowAt(t, configured(t, conf), "echo", func(o *runtime.FoldOptions) { o.Name = "users" })
	f.put("a.k", "v")
	as := func(user string) *source.Conn {
		nc, err := source.Connect(source.Target{URL: f.nc.ConnectedUrl(), User: user, Password: "…", InboxPrefix: "_INBOX"}, nil)
		check(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	subjects := append(serve.NATSSubjects("foldrun", "node-1", []string{"users"}), "$SRV.PING", "$SRV.INFO.foldrun", "$SRV.STATS.foldrun.x")
	refused := func(nc *source.Conn, subscribe, publish []string) int {
		ctx, done := context.WithTimeout(t.Context(), patience)
		defer done()
		missing, err := source.Refused(ctx, nc, subscribe, publish)
		check(t, err)
		return len(missing)
	}
	for _, user := range []string{"foldrun_query", "narrow"} {
		if n := refused(as(user), subjects, []string{"_INBOX.x"}); n != 0 {
			t.Errorf("%s lacks %d permissions", user, n)
		}
		nc := as(user)
		end := f.answerAt(nc, serve.Options{Folds: []serve.Fold{f.Fold}, Instance: "node-1", Version: "v1.2.3"})
		shop := as("shop")
		var m string
		eventually(t, "answer", func() bool {
			reply, err := shop.Request("foldrun.users.get.by_email", []byte(`{"key":"a"}`), patience)
			if err == nil {
				m = reply.Header.Get(micro.ErrorHeader)
			}
			return err == nil
		})
		if m != `unknown_index: fold "users" has no index "by_email"` {
			t.Error(m)
		}
		if n := refused(shop, nil, []string{"foldrun.users.get.main", "foldrun.users.status", "foldrun.status", "foldrun.@node-1.users.get.by_email"}); n != 4 {
			t.Errorf("shop may ask for %d more", 4-n)
		}
		plain, err := nats.Connect(f.nc.ConnectedUrl()) // whose inboxes begin as everybody's
		check(t, err)
		_, err = plain.Request("$SRV.PING.foldrun-users", nil, patience)
		check(t, err)
		plain.Close()
		if err := nc.LastError(); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		end()
	}
	if n := refused(as("less"), subjects, []string{"_INBOX.x"}); n != len(serve.NATSSubjects("", "", []string{"users"}))-3+1 {
		t.Errorf("%d permissions are missed", n)
	}
}

// TestNATSHostile floods the door. The fold goes on, and what was taken is given back.
func TestNATSHostile(t *testing.T) {
	f := newFollow(t, "echo", nil)
	for i := range 100 {
		f.put(fmt.Sprintf("a.%d", i), strings.Repeat("v", 4000))
	}
	f.until("the puts", func(s runtime.Status) bool { return s.Seq >= 100 && s.CaughtUp })
	f.overNATS("one", f.Fold)
	f.answers("f.get.main")
	if _, _, err := f.read("main", "a.1", client.AtLeast{}); err != nil {
		t.Fatal(err)
	}
	goroutines, heap := goruntime.NumGoroutine(), inUse()
	peak := f.flood(goroutines)
	if peak > 1200 {
		t.Errorf("%d goroutines more", peak)
	}
	eventually(t, "end of the goroutines", func() bool { return goruntime.NumGoroutine() <= goroutines+5 })
	eventually(t, "heap as it was", func() bool { return inUse() <= heap+16<<20 })
	if v, _, err := f.read("main", "a.evil", client.AtLeast{}); err != nil || v != "" {
		t.Errorf("a reply was written into the bucket: %q, %v", v, err)
	}
	m, err := f.request("f.get.main", `{"key":"a.1"}`)
	if check(t, err); !bytes.Contains(m.Data, []byte(`"rows":[{"key":"a.1"`)) {
		t.Errorf("%s", m.Data)
	}
	t.Logf("at most %d goroutines more; %d MiB of heap in use, %d before", peak, inUse()>>20, heap>>20)
}

func inUse() uint64 {
	goruntime.GC()
	goruntime.GC() // what has a finalizer, or lay in a pool
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc
}

// flood has four clients send all sorts of requests, whose replies nobody takes, and reads meanwhile. It returns how many
// goroutines there were above a number.
func (f *follow) flood(goroutines int) (peak int) {
	large := []byte(`{"key":"` + strings.Repeat("k", 300<<10) + `"}`)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			nc, err := source.Connect(source.Target{URL: f.nc.ConnectedUrl(), Once: true}, nil)
			if err != nil {
				f.t.Error(err)
				return
			}
			defer nc.Close()
			for i := range 100 {
				nobody := fmt.Sprint("_INBOX.nobody.", i)
				for range 10 {
					nc.PublishRequest("foldrun.f.scan.main", nobody, []byte(`{"limit":1}`))
				}
				nc.PublishRequest("foldrun.f.get.main", nobody, []byte(`{"key":"a.1","min_seq":1000000000,"wait":"500ms"}`))
				nc.PublishRequest("foldrun.@one.f.count.main", nobody, []byte(`{"key`))
				nc.PublishRequest("foldrun.f.get.main", "$KV.b.a.evil", []byte(`{"key":"a.1"}`))
				nc.PublishRequest("foldrun.f.get.main", "foldrun.f.get.main", []byte(`{"key":"a.1"}`))
				nc.Publish("foldrun.f.get.main", []byte(`{"key":"a.1"}`))
				if i%10 == 0 {
					nc.PublishRequest("foldrun.f.get.main", nobody, large)
				}
			}
			nc.Flush()
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	for i := 0; ; i++ {
		seq := f.put("a.mine", fmt.Sprint(i))
		if v, _, err := f.read("main", "a.mine", client.AtLeast{Seq: seq, Wait: patience}); err != nil || v != fmt.Sprint(i) {
			f.t.Fatalf("under the flood: %q, %v", v, err)
		}
		peak = max(peak, goruntime.NumGoroutine()-goroutines)
		select {
		case <-done:
			return peak
		default:
		}
	}
}
