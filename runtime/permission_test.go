package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// serve starts a server with a configuration file.
func serve(t testing.TB, domain, config string) *embedded.Server {
	t.Helper()
	return must(tryServe(t, domain, config))(t)
}

func tryServe(t testing.TB, domain, config string) (*embedded.Server, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.conf")
	check(t, os.WriteFile(path, []byte(config), 0o600))
	s, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Config: path, Domain: domain, Name: "server-" + domain})
	if err == nil {
		t.Cleanup(s.Stop)
	}
	return s, err
}

// serveLeaves starts a server that takes leaf nodes, and returns the address for those. A port that was free may be given to
// another before the server has it.
func serveLeaves(t testing.TB, domain string) (hub *embedded.Server, address string) {
	t.Helper()
	var err error
	eventually(t, "free port", func() bool {
		l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
		address = l.Addr().String()
		check(t, l.Close())
		hub, err = tryServe(t, domain, "leafnodes { listen: "+quoteAll([]string{address})+" }")
		return !portTaken(err)
	})
	check(t, err)
	return hub, address
}

// permissions are those of one user.
type permissions struct{ publish, subscribe []string }

// authorization is a server's configuration of an admin and, by number, of users with these permissions; each has the
// password p.
func authorization(users []permissions) string {
	var conf strings.Builder
	conf.WriteString("authorization { users = [\n{user: admin, password: p}\n")
	for i, p := range users {
		fmt.Fprintf(&conf, "{user: u%d, password: p, permissions: {publish: [%s], subscribe: [%s]}}\n", i, quoteAll(p.publish), quoteAll(p.subscribe))
	}
	conf.WriteString("] }\n")
	return conf.String()
}

func quoteAll(list []string) string {
	if len(list) == 0 {
		return `"none"` // an empty list would allow everything
	}
	var all []string
	for _, s := range list {
		all = append(all, fmt.Sprintf("%q", s))
	}
	return strings.Join(all, ", ")
}

// guardedSite is a server that knows these users. Its client is the admin.
func guardedSite(t *testing.T, domain string, users []permissions) *site {
	t.Helper()
	s := &site{t: t, Server: serve(t, domain, authorization(users))}
	s.nc = connectAs(t, s.URL(), "admin", nil)
	s.js = must(jetstream.New(s.nc))(t)
	return s
}

// guardedLeaf is guardedSite for a leaf node of another server, which has the domain. The client is one of that server.
func guardedLeaf(t *testing.T, domain string, users []permissions) *site {
	t.Helper()
	hub, address := serveLeaves(t, domain)
	s := &site{t: t, Server: serve(t, "leaf", authorization(users)+"leafnodes { remotes = [{url: \"nats-leaf://"+address+"\"}] }")}
	s.nc = must(source.Connect(source.Target{URL: hub.URL(), Once: true}, nil))(t)
	t.Cleanup(s.nc.Close)
	s.js = must(jetstream.New(s.nc))(t)
	admin := connectAs(t, s.URL(), "admin", nil) // the leaf node is there when the domain answers through it
	eventually(t, "the leaf node", func() bool {
		_, err := admin.Request("$JS."+domain+".API.INFO", nil, time.Second)
		return err == nil
	})
	return s
}

func connectAs(t *testing.T, url, user string, log *slog.Logger) *nats.Conn {
	t.Helper()
	nc := must(source.Connect(source.Target{URL: url, User: user, Password: "p", Once: true}, log))(t)
	t.Cleanup(nc.Close)
	return nc
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s", what, patience)
		}
	}
}

// A transcript is a log that a test reads while it is written.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (x *transcript) Write(line []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all.Write(line)
}

func (x *transcript) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all.String()
}

func (x *transcript) log() *slog.Logger { return slog.New(slog.NewTextHandler(x, nil)) }

// permissionCases are folds with the exact list that each needs. docs/nats.md has these lists.
var permissionCases = []struct {
	name, subject string
	source        source.Options
	site          func(*testing.T, string, []permissions) *site
	publish       []string
}{
	{"bucket", "$KV.users.k", source.Options{Bucket: "users"}, guardedSite, []string{
		"$JS.API.STREAM.INFO.KV_users",
		"$JS.API.STREAM.MSG.GET.KV_users",
		"$JS.API.CONSUMER.CREATE.KV_users.*.$KV.users.>",
		"$JS.API.CONSUMER.MSG.NEXT.KV_users.*",
		"$JS.API.CONSUMER.DELETE.KV_users.*",
	}},
	{"stream", "orders.eu.k", source.Options{Stream: "ORDERS", Filter: "orders.eu.>", KeyingMessage: true}, guardedSite, []string{
		"$JS.API.STREAM.INFO.ORDERS",
		"$JS.API.STREAM.MSG.GET.ORDERS",
		"$JS.API.CONSUMER.CREATE.ORDERS.*.orders.eu.>",
		"$JS.API.CONSUMER.MSG.NEXT.ORDERS.*",
		"$JS.API.CONSUMER.DELETE.ORDERS.*",
	}},
	{"domain", "$KV.users.k", source.Options{Bucket: "users", Domain: "hub"}, guardedSite, []string{
		"$JS.API.STREAM.INFO.KV_users",
		"$JS.API.STREAM.MSG.GET.KV_users",
		"$JS.API.CONSUMER.CREATE.KV_users.*.$KV.users.>",
		"$JS.API.CONSUMER.MSG.NEXT.KV_users.*",
		"$JS.API.CONSUMER.DELETE.KV_users.*",
	}},
	{"leaf", "$KV.users.k", source.Options{Bucket: "users", Domain: "hub"}, guardedLeaf, []string{
		"$JS.hub.API.STREAM.INFO.KV_users",
		"$JS.hub.API.STREAM.MSG.GET.KV_users",
		"$JS.hub.API.CONSUMER.CREATE.KV_users.*.$KV.users.>",
		"$JS.hub.API.CONSUMER.MSG.NEXT.KV_users.*",
		"$JS.hub.API.CONSUMER.DELETE.KV_users.*",
	}},
}

const inboxEntry = "_INBOX_foldrun.>"

// TestPermissions runs a whole fold as a user with exactly the list of the documents, and then once without each of its
// entries: what is missing is named.
func TestPermissions(t *testing.T) {
	document := string(must(os.ReadFile("../docs/nats.md"))(t))
	for _, c := range permissionCases {
		t.Run(c.name, func(t *testing.T) {
			users := []permissions{{c.publish, []string{inboxEntry}}}
			for i := range c.publish {
				users = append(users, permissions{slices.Delete(slices.Clone(c.publish), i, i+1), []string{inboxEntry}})
			}
			users = append(users, permissions{c.publish, nil})
			s := c.site(t, c.source.Domain, users)
			if c.source.Bucket != "" {
				s.bucket(c.source.Bucket, 1)
			} else {
				must(s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: c.source.Stream, Subjects: []string{"orders.>"}}))(t)
			}
			x := guarded{t, s, c.source, c.subject, t.TempDir()}
			x.publish(100)
			x.whole()
			for i, entry := range append(slices.Clone(c.publish), inboxEntry) {
				x.without(fmt.Sprintf("u%d", i+1), entry)
				if !strings.Contains(document, fmt.Sprintf("%q", entry)) {
					t.Errorf("docs/nats.md lacks %s", entry)
				}
			}
		})
	}
}

// guarded is a fold that runs as one user or another.
type guarded struct {
	t       *testing.T
	site    *site
	source  source.Options
	subject string
	path    string
}

// publish stores n messages and returns the last seq.
func (x guarded) publish(n int) (last uint64) {
	x.t.Helper()
	for i := range n {
		last = must(x.site.js.Publish(x.t.Context(), fmt.Sprintf("%s.%d", x.subject, i), []byte("v")))(x.t).Sequence
	}
	return last
}

// start runs the fold as a user. What it and its connection log is in the transcript.
func (x guarded) start(user string) (*runner, *transcript) {
	x.t.Helper()
	said := new(transcript)
	return start(x.t, x.path, store.Options{}, FoldOptions{Name: "f", Conn: connectAs(x.t, x.site.URL(), user, said.log()), Source: x.source,
		Wasm: testModule(x.t, "echo"), Log: said.log()}), said
}

func (x guarded) stream() jetstream.Stream {
	x.t.Helper()
	name := x.source.Stream
	if name == "" {
		name = "KV_" + x.source.Bucket
	}
	return must(x.site.js.Stream(x.t.Context(), name))(x.t)
}

func (x guarded) consumers() (names []string) {
	x.t.Helper()
	for name := range x.stream().ConsumerNames(x.t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

// missing asks what a user lacks.
func (x guarded) missing(user string) []error {
	x.t.Helper()
	src := must(source.Open(x.t.Context(), connectAs(x.t, x.site.URL(), user, nil), x.source))(x.t)
	return must(src.Denied(x.t.Context()))(x.t)
}

// whole catches up, follows, loses its consumer, and goes on after a restart, without anything that is refused.
func (x guarded) whole() {
	t := x.t
	t.Helper()
	if missing := x.missing("u0"); len(missing) > 0 {
		t.Errorf("it lacks %v", missing)
	}
	if names := x.consumers(); len(names) > 0 {
		t.Errorf("consumers of nobody: %q", names)
	}
	r, said := x.start("u0")
	r.reach(100)
	r.reach(x.publish(1))
	eventually(t, "other consumer", func() bool {
		s := r.Status().Source
		if s.Resets["consumer_deleted"] > 0 {
			return s.Sessions > 1
		}
		for _, name := range x.consumers() { // a session may just be beginning, or end for another reason
			if err := x.stream().DeleteConsumer(t.Context(), name); !errors.Is(err, jetstream.ErrConsumerNotFound) {
				check(t, err)
			}
		}
		return false
	})
	r.reach(x.publish(2))
	whole(t, r.Store())
	r.stop()
	last := x.publish(3)
	again, saidAgain := x.start("u0")
	again.reach(last)
	if s := again.Status(); s.StartSeq == 0 || s.Code != "" {
		t.Errorf("after the restart: %+v", s)
	}
	whole(t, again.Store())
	again.stop()
	eventually(t, "end of the consumers", func() bool { return len(x.consumers()) == 0 })
	for _, x := range []*transcript{said, saidAgain} {
		if strings.Contains(strings.ToLower(x.String()), "violation") {
			t.Errorf("refused:\n%s", x)
		}
	}
}

// without runs the fold as a user that lacks an entry.
func (x guarded) without(user, entry string) {
	t := x.t
	t.Helper()
	stem, _, _ := strings.Cut(entry, "*")
	stem = `"` + strings.TrimSuffix(stem, ">") // what an entry has in common with the subject that is refused
	quoted := fmt.Sprintf("%q", entry)
	if missing := x.missing(user); len(missing) != 1 || !strings.Contains(missing[0].Error(), stem) || !strings.Contains(HintOf(missing[0]), quoted) {
		t.Errorf("without %s: asked, it lacks %v", entry, missing)
	}
	last := x.publish(1)
	r, said := x.start(user)
	if strings.Contains(entry, "CONSUMER.DELETE") { // the consumer expires instead
		r.reach(last)
		r.stop()
		eventually(t, "word about "+entry, func() bool {
			text := strings.ReplaceAll(said.String(), `\"`, `"`)
			return strings.Contains(text, "ermissions") && strings.Contains(text, stem)
		})
		return
	}
	eventually(t, "word about "+entry, func() bool { return r.Status().Code == source.CodeDenied })
	s := r.Status()
	t.Logf("%s: %s\n%s", s.Code, s.Reason, s.Hint)
	if s.State != StateWaiting || !strings.Contains(s.Reason, stem) || !strings.Contains(s.Hint, quoted) {
		t.Errorf("without %s: %+v", entry, s)
	}
	if s.Seq >= last {
		t.Errorf("without %s it folds all the same", entry)
	}
	r.stop()
	if text := strings.ReplaceAll(said.String(), `\"`, `"`); !strings.Contains(text, "code=source_denied") || !strings.Contains(text, stem) {
		t.Errorf("without %s the log is\n%s", entry, text)
	}
}

// TestPermissionsConfine shows that the list of one filter lets its user read nothing else.
func TestPermissionsConfine(t *testing.T) {
	s := guardedSite(t, "", []permissions{{
		[]string{"$JS.API.STREAM.INFO.KV_users", "$JS.API.STREAM.MSG.GET.KV_users", "$JS.API.CONSUMER.CREATE.KV_users.*.$KV.users.eu.>",
			"$JS.API.CONSUMER.MSG.NEXT.KV_users.*", "$JS.API.CONSUMER.DELETE.KV_users.*"},
		[]string{inboxEntry},
	}})
	s.bucket("users", 1)
	nc := connectAs(t, s.URL(), "u0", nil)
	for _, x := range []struct {
		options source.Options
		missing int
	}{
		{source.Options{Bucket: "users", Filter: "eu.>"}, 0},
		{source.Options{Bucket: "users"}, 1},
		{source.Options{Bucket: "users", Filter: "us.>"}, 1},
		{source.Options{Bucket: "others", Filter: "eu.>"}, 5},
	} {
		src := must(source.Open(t.Context(), nc, x.options))(t)
		if missing := must(src.Denied(t.Context()))(t); len(missing) != x.missing {
			t.Errorf("%+v: %v", x.options, missing)
		}
	}
}
