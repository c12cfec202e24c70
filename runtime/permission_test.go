package runtime

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// guardedSite is a server that knows an admin and, by number, users with these lists of permissions; their password is p.
func guardedSite(t *testing.T, domain string, users []source.Permissions) *site {
	t.Helper()
	var conf strings.Builder
	conf.WriteString("authorization { users = [\n{user: admin, password: p}\n")
	for i, p := range users {
		fmt.Fprintf(&conf, "{user: u%d, password: p, permissions: {publish: [%s], subscribe: [%s]}}\n", i, quoteAll(p.Publish), quoteAll(p.Subscribe))
	}
	conf.WriteString("] }\n")
	path := filepath.Join(t.TempDir(), "server.conf")
	check(t, os.WriteFile(path, []byte(conf.String()), 0o600))
	s := &site{t: t, Server: must(embedded.Start(embedded.Options{StoreDir: t.TempDir(), Config: path, Domain: domain}))(t)}
	t.Cleanup(s.Stop)
	s.nc = s.connectAs(t, "admin", nil)
	s.js = must(jetstream.New(s.nc))(t)
	return s
}

func quoteAll(list []string) string {
	var all []string
	for _, s := range list {
		all = append(all, fmt.Sprintf("%q", s))
	}
	if len(all) == 0 {
		return `"none"` // an empty list would allow everything
	}
	return strings.Join(all, ", ")
}

func (s *site) connectAs(t *testing.T, user string, log *slog.Logger) *nats.Conn {
	t.Helper()
	nc := must(source.Connect(source.Target{URL: s.URL(), User: user, Password: "p", Once: true}, log))(t)
	t.Cleanup(nc.Close)
	return nc
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

// permissionCases are folds with the exact list that each needs, as docs/nats.md has it.
var permissionCases = []struct {
	name, domain, subject string
	source                source.Options
	list                  source.Permissions
}{
	{"bucket", "", "$KV.users.k", source.Options{Bucket: "users"}, source.Permissions{
		Publish: []string{
			"$JS.API.STREAM.INFO.KV_users",
			"$JS.API.STREAM.MSG.GET.KV_users",
			"$JS.API.CONSUMER.CREATE.KV_users.*.$KV.users.>",
			"$JS.API.CONSUMER.MSG.NEXT.KV_users.*",
			"$JS.API.CONSUMER.DELETE.KV_users.*",
		},
		Subscribe: []string{"_INBOX_foldrun.>"},
	}},
	{"stream", "", "orders.eu.k", source.Options{Stream: "ORDERS", Filter: "orders.eu.>", KeyingMessage: true}, source.Permissions{
		Publish: []string{
			"$JS.API.STREAM.INFO.ORDERS",
			"$JS.API.STREAM.MSG.GET.ORDERS",
			"$JS.API.CONSUMER.CREATE.ORDERS.*.orders.eu.>",
			"$JS.API.CONSUMER.MSG.NEXT.ORDERS.*",
			"$JS.API.CONSUMER.DELETE.ORDERS.*",
		},
		Subscribe: []string{"_INBOX_foldrun.>"},
	}},
	{"domain", "hub", "$KV.users.k", source.Options{Bucket: "users", Domain: "hub"}, source.Permissions{
		Publish: []string{
			"$JS.hub.API.STREAM.INFO.KV_users",
			"$JS.hub.API.STREAM.MSG.GET.KV_users",
			"$JS.hub.API.CONSUMER.CREATE.KV_users.*.$KV.users.>",
			"$JS.hub.API.CONSUMER.MSG.NEXT.KV_users.*",
			"$JS.hub.API.CONSUMER.DELETE.KV_users.*",
		},
		Subscribe: []string{"_INBOX_foldrun.>"},
	}},
}

// TestPermissions runs a whole fold as a user with exactly the list of the documents, and then once without each of its
// entries: what is missing is named.
func TestPermissions(t *testing.T) {
	for _, c := range permissionCases {
		t.Run(c.name, func(t *testing.T) {
			users := []source.Permissions{c.list}
			for i := range c.list.Publish {
				users = append(users, source.Permissions{Publish: slices.Delete(slices.Clone(c.list.Publish), i, i+1), Subscribe: c.list.Subscribe})
			}
			users = append(users, source.Permissions{Publish: c.list.Publish})
			s := guardedSite(t, c.domain, users)
			if c.source.Bucket != "" {
				s.bucket(c.source.Bucket, 1)
			} else {
				must(s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: c.source.Stream, Subjects: []string{"orders.>"}}))(t)
			}
			x := guarded{t, s, c.source, c.subject, t.TempDir()}
			x.publish(100)
			src := must(source.Open(t.Context(), s.connectAs(t, "u0", nil), c.source))(t)
			if p := src.Permissions(); !slices.Equal(p.Publish, c.list.Publish) || !slices.Equal(p.Subscribe, c.list.Subscribe) {
				t.Errorf("it says it needs %q", p)
			}
			if missing, err := src.Denied(t.Context()); err != nil || len(missing) > 0 {
				t.Errorf("it misses %v, %v", missing, err)
			}
			x.whole()
			for i, entry := range append(slices.Clone(c.list.Publish), c.list.Subscribe...) {
				x.without(fmt.Sprintf("u%d", i+1), entry)
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
	return start(x.t, x.path, store.Options{}, FoldOptions{Name: "f", Conn: x.site.connectAs(x.t, user, said.log()), Source: x.source,
		Wasm: testModule(x.t, "echo"), Log: said.log()}), said
}

func (x guarded) consumers() (names []string) {
	x.t.Helper()
	stream := x.source.Stream
	if stream == "" {
		stream = "KV_" + x.source.Bucket
	}
	for name := range must(x.site.js.Stream(x.t.Context(), stream))(x.t).ConsumerNames(x.t.Context()).Name() {
		names = append(names, name)
		if !strings.HasPrefix(name, "foldrun_") {
			x.t.Errorf("consumer %s", name)
		}
	}
	return names
}

// whole catches up, follows, loses its consumer, and goes on after a restart, without anything that is refused.
func (x guarded) whole() {
	t := x.t
	t.Helper()
	r, said := x.start("u0")
	r.reach(100)
	r.reach(x.publish(1))
	var stream string
	if stream = x.source.Stream; stream == "" {
		stream = "KV_" + x.source.Bucket
	}
	for _, name := range x.consumers() {
		check(t, x.site.js.DeleteConsumer(t.Context(), stream, name))
	}
	r.await("another consumer", func(s Status) bool { return s.Source.Resets["consumer_deleted"] == 1 && s.Source.Sessions == 2 })
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
	if names := x.consumers(); len(names) > 0 {
		t.Errorf("consumers left: %q", names)
	}
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
	stem = strings.TrimSuffix(stem, ">") // what an entry has in common with the subject that is refused
	src := must(source.Open(t.Context(), x.site.connectAs(t, user, nil), x.source))(t)
	missing, err := src.Denied(t.Context())
	if err != nil || len(missing) != 1 || !strings.Contains(missing[0].Error(), `"`+stem) || !strings.Contains(HintOf(missing[0]), fmt.Sprintf("%q", entry)) {
		t.Errorf("without %s: asked, it misses %v, %v", entry, missing, err)
	}
	last := x.publish(1)
	r, said := x.start(user)
	if strings.Contains(entry, "CONSUMER.DELETE") { // the consumer expires instead
		r.reach(last)
		r.stop()
		x.site.nc.Flush()
		if text := said.String(); !strings.Contains(text, "ermissions") || !strings.Contains(text, stem) {
			t.Errorf("without %s the log is\n%s", entry, text)
		}
		return
	}
	r.await("a word about "+entry, func(s Status) bool { return s.Code == source.CodeDenied })
	s := r.Status()
	t.Logf("%s: %s\n%s", s.Code, s.Reason, s.Hint)
	if s.State != StateWaiting || !strings.Contains(s.Reason, `"`+stem) || !strings.Contains(s.Hint, fmt.Sprintf("%q", entry)) {
		t.Errorf("without %s: %+v", entry, s)
	}
	if s.Seq >= last {
		t.Errorf("without %s it folds all the same", entry)
	}
	r.stop()
	if text := said.String(); !strings.Contains(text, "code=source_denied") || !strings.Contains(text, stem) {
		t.Errorf("without %s the log is\n%s", entry, text)
	}
}

// TestPermissionsConfine shows that the list of one filter does not let its user read anything else.
func TestPermissionsConfine(t *testing.T) {
	mine := source.Options{Bucket: "users", Filter: "eu.>"}
	s := guardedSite(t, "", []source.Permissions{{
		Publish: []string{"$JS.API.STREAM.INFO.KV_users", "$JS.API.STREAM.MSG.GET.KV_users", "$JS.API.CONSUMER.CREATE.KV_users.*.$KV.users.eu.>",
			"$JS.API.CONSUMER.MSG.NEXT.KV_users.*", "$JS.API.CONSUMER.DELETE.KV_users.*"},
		Subscribe: []string{"_INBOX_foldrun.>"},
	}})
	s.bucket("users", 1)
	nc := s.connectAs(t, "u0", nil)
	for _, x := range []struct {
		options source.Options
		missing int
	}{{mine, 0}, {source.Options{Bucket: "users"}, 1}, {source.Options{Bucket: "users", Filter: "us.>"}, 1}, {source.Options{Bucket: "others", Filter: "eu.>"}, 5}} {
		src := must(source.Open(t.Context(), nc, x.options))(t)
		missing, err := src.Denied(t.Context())
		if err != nil || len(missing) != x.missing {
			t.Errorf("%+v: %v, %v", x.options, missing, err)
		}
	}
}
