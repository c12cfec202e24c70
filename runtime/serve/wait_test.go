package serve_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// patience bounds everything that a test waits for; it is the longest wait that a reader may ask for.
const patience = 30 * time.Second

// A follow is a fold of the keys a.> of the bucket b, which is served over HTTP.
type follow struct {
	*runtime.Fold
	who *client.Client
	t   *testing.T
	nc  *nats.Conn
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	end context.CancelFunc // of the server and the fold
	opt runtime.FoldOptions
	dir *store.Dir
	at  string // where the server keeps its streams
}

// newFollow runs a fold of a test module, whose options change changes.
func newFollow(t *testing.T, module string, change func(*runtime.FoldOptions)) *follow {
	t.Helper()
	return newFollowAt(t, embedded.Options{}, module, change)
}

// newFollowAt is newFollow with a server of its own kind.
func newFollowAt(t *testing.T, at embedded.Options, module string, change func(*runtime.FoldOptions)) *follow {
	t.Helper()
	at.StoreDir = t.TempDir()
	server, err := embedded.Start(at)
	check(t, err)
	t.Cleanup(server.Stop)
	f := &follow{t: t, at: at.StoreDir}
	f.nc, err = source.Connect(source.Target{URL: server.URL()}, nil)
	check(t, err)
	t.Cleanup(f.nc.Close)
	f.js, err = jetstream.New(f.nc)
	check(t, err)
	f.make()
	wasm, err := os.ReadFile("../../testdata/modules/" + module + ".wasm")
	check(t, err)
	o := runtime.FoldOptions{Name: "f", Conn: f.nc, Source: source.Options{Bucket: "b", Filter: "a.>"}, Wasm: wasm, Module: plugin.Options{}}
	if change != nil {
		change(&o)
	}
	dir, err := store.OpenDir(t.TempDir(), store.Options{Sync: store.SyncNever})
	check(t, err)
	f.Fold, err = runtime.NewFold(t.Context(), dir, o)
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	f.who = client.New(l.Addr().String())
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	f.who.HTTP = &http.Client{Transport: transport}
	ctx, end := context.WithCancel(context.Background())
	f.end = end
	var all sync.WaitGroup
	f.opt, f.dir = o, dir
	all.Go(func() { runtime.NewDaemon(dir, []*runtime.Fold{f.Fold}).Run(ctx) })
	all.Go(func() { serve.New(serve.Options{Folds: []serve.Fold{f.Fold}}).Run(ctx, l) })
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		end()
		all.Wait()
		if db := f.Store(); db != nil {
			if r, err := db.Check(); err == nil && r.Found > 0 {
				t.Error(r.Problems)
			}
		}
		check(t, f.Close(context.Background()))
		check(t, dir.Close())
	})
	return f
}

// make makes the bucket, once the server has removed the files of the one before: where another is deleted before that, nats-server 2.15
// leaves its files, and the next begins with its messages.
func (f *follow) make() {
	f.t.Helper()
	var err error
	eventually(f.t, "bucket: the server still removes the files of another of that name", func() bool {
		if left, _ := filepath.Glob(filepath.Join(f.at, "jetstream", "*", "streams", ".*")); len(left) > 0 {
			return false
		}
		f.kv, err = f.js.CreateKeyValue(f.t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
		var refused *jetstream.APIError
		return !errors.As(err, &refused) || refused.ErrorCode != errStoreFailed
	})
	check(f.t, err)
}

// errStoreFailed is the server's code of "error creating store for stream".
const errStoreFailed = 10049

func (f *follow) created() time.Time {
	f.t.Helper()
	s, err := f.js.Stream(f.t.Context(), "KV_b")
	check(f.t, err)
	return s.CachedInfo().Created
}

func (f *follow) put(key, value string) uint64 {
	f.t.Helper()
	seq, err := f.kv.PutString(f.t.Context(), key, value)
	check(f.t, err)
	return seq
}

// until waits until the fold's status is as it should be; it is asked again whenever the fold moved, and now and then: that it has
// caught up moves nothing.
func (f *follow) until(what string, ok func(runtime.Status) bool) {
	f.t.Helper()
	late, again := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for {
		moved := f.Moved()
		if ok(f.Status()) {
			return
		}
		select {
		case <-moved:
		case <-again.C:
		case <-late:
			f.t.Fatalf("no %s: %+v", what, f.Status())
		}
	}
}

// read reads a key, and returns its value, "" where it has none, with the position.
func (f *follow) read(index, key string, want client.AtLeast) (string, client.Position, error) {
	return f.readBy(f.who, index, key, want)
}

func (f *follow) readBy(who *client.Client, index, key string, want client.AtLeast) (string, client.Position, error) {
	p, err := who.Get(f.t.Context(), "f", index, []byte(key), client.Range{AtLeast: want})
	var refused *client.Error
	switch {
	case errors.Is(err, client.ErrNotFound) && errors.As(err, &refused):
		return "", refused.At, nil
	case err != nil:
		return "", client.Position{}, err
	}
	return string(p.Rows[0].Value), p.At, nil
}

// refusal reads and demands to be refused.
func (f *follow) refusal(want client.AtLeast, code string) *client.Error {
	f.t.Helper()
	got, at, err := f.read("main", "a.k", want)
	var no *client.Error
	if !errors.As(err, &no) || no.Status != http.StatusConflict || no.Code != code || no.Hint == "" {
		f.t.Fatalf("%+v is answered with %q at %+v, %+v; want %s", want, got, at, err, code)
	}
	if no.At.Generation == "" || no.At.State == "" || no.At.Incarnation.IsZero() {
		f.t.Errorf("the refusal has no position: %+v", no.At)
	}
	return no
}

func TestRefusals(t *testing.T) {
	f := newFollow(t, "echo", func(o *runtime.FoldOptions) { o.OnDiverged = runtime.DivergedHalt })
	seq := f.put("a.k", "v")
	created := f.created()
	if got, _, err := f.read("main", "a.k", client.AtLeast{Seq: seq, Wait: patience}); got != "v" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
	for _, wait := range []time.Duration{0, time.Millisecond} {
		if no := f.refusal(client.AtLeast{Seq: seq + 1, Wait: wait}, runtime.CodeBehind); no.At.Seq < seq || no.At.Seq > seq {
			t.Errorf("%+v", no.At)
		}
	}
	f.refusal(client.AtLeast{Seq: seq + 1, Incarnation: created}, runtime.CodeBehind)
	for _, wait := range []time.Duration{0, time.Millisecond} {
		f.refusal(client.AtLeast{Seq: 1, Incarnation: created.Add(1), Wait: wait}, runtime.CodeIncarnation)
	}
	// without a wait, what is there is answered
	for _, want := range []client.AtLeast{{Seq: seq}, {Seq: seq, Incarnation: created}} {
		if got, _, err := f.read("main", "a.k", want); got != "v" || err != nil {
			t.Errorf("%q %v", got, err)
		}
	}
	if _, err := f.who.WhySource(t.Context(), "f", []byte("a.k"), client.Range{AtLeast: client.AtLeast{Seq: seq + 1}}); !is(err, runtime.CodeBehind) {
		t.Error(err)
	}
	if _, err := f.who.WhyKey(t.Context(), "f", "main", []byte("a.k"), client.Range{AtLeast: client.AtLeast{Seq: seq + 1}}); !is(err, runtime.CodeBehind) {
		t.Error(err)
	}
	if _, err := f.who.Page(t.Context(), "f", "main", client.Range{AtLeast: client.AtLeast{Seq: seq + 1}}); !is(err, runtime.CodeBehind) {
		t.Error(err)
	}
	if _, _, err := f.read("none", "a.k", client.AtLeast{Seq: seq + 1, Wait: patience}); !is(err, "unknown_index") {
		t.Error(err)
	}

	check(t, f.js.DeleteKeyValue(t.Context(), "b"))
	f.make()
	f.until("stop", func(s runtime.Status) bool { return s.State == runtime.StateStopped })
	for _, want := range []client.AtLeast{{Seq: 1, Wait: patience}, {Seq: 1, Wait: patience, Incarnation: created}, {Seq: 1, Wait: patience, Incarnation: f.created()}} {
		f.refusal(want, source.CodeRecreated)
	}
	if got, at, err := f.read("main", "a.k", client.AtLeast{}); got != "v" || err != nil || at.Code != source.CodeRecreated {
		t.Errorf("a plain read: %q at %+v, %v", got, at, err)
	}
}

// Where nothing follows the stream, only the incarnation tells whose seq it is.
func TestRefusalsOfStored(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"s", 0, "k", "v", 0})
	s := newServer(t, f)
	const path = "/v1/folds/f/indexes/all/get?key=k&min_seq="
	at := time.Unix(0, created).UTC()
	same, other := "&incarnation="+at.Format(time.RFC3339Nano), "&incarnation="+at.Add(1).Format(time.RFC3339Nano)
	for _, x := range []struct{ query, want string }{
		{"1" + same, `200 {"rows":[`},
		{"1", `409 {"error":{"code":"not_following"`},
		{"2" + same + "&wait=30s", `409 {"error":{"code":"not_following"`},
		{"1" + other, `409 {"error":{"code":"other_incarnation"`},
		{"", `400 {"error":{"code":"bad_parameter","message":"min_seq is \"\""`},
		{"-1", `400 {"error":{"code":"bad_parameter","message":"min_seq is \"-1\""`},
		{"1&wait=250", `400 {"error":{"code":"bad_parameter","message":"wait is \"250\""`},
		{"1&wait=-1s", `400 {"error":{"code":"bad_parameter","message":"wait is \"-1s\""`},
		{"1&wait=31s", `400 {"error":{"code":"bad_parameter","message":"wait is \"31s\""`},
		{"1&incarnation=1", `400 {"error":{"code":"bad_parameter","message":"incarnation is \"1\""`},
	} {
		got, h := ask(t, s, path+x.query)
		if !strings.HasPrefix(got, x.want) || strings.HasPrefix(got, "409") && h.Get("Foldrun-Seq") != "1" {
			t.Errorf("min_seq=%s\n got %s, seq %s\nwant %s", x.query, got, h.Get("Foldrun-Seq"), x.want)
		}
	}
	if got, _ := ask(t, s, "/v1/folds/f/why?source=s&wait=1s"); !strings.HasPrefix(got, "400 ") {
		t.Error(got)
	}
}

func is(err error, code string) bool {
	var no *client.Error
	return errors.As(err, &no) && no.Code == code
}

// A fold that stopped for another reason refuses what it lacks, and what its stream would have to confirm.
func TestRefusalsOfStopped(t *testing.T) {
	f := newFollow(t, "model", func(o *runtime.FoldOptions) { o.OnError = runtime.OnErrorHalt })
	seq := f.put("a.k", "ax=1")
	if got, _, err := f.read("a", "x", client.AtLeast{Seq: seq, Wait: patience}); got != "1" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
	f.put("a.l", "E\x07it is broken")
	f.until("stop", func(s runtime.Status) bool { return s.State == runtime.StateStopped })
	for _, want := range []client.AtLeast{{Seq: seq + 1, Wait: patience}, {Seq: seq + 1, Wait: patience, Incarnation: f.created()}, {Seq: seq, Wait: patience}} {
		if _, _, err := f.read("a", "x", want); !is(err, runtime.CodeRecordFailed) {
			t.Errorf("%+v: %v", want, err)
		}
	}
	if got, _, err := f.read("a", "x", client.AtLeast{Seq: seq, Incarnation: f.created()}); got != "1" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// waiting returns how many requests wait for a position now.
func waiting() int {
	var b strings.Builder
	pprof.Lookup("goroutine").WriteTo(&b, 2)
	return strings.Count(b.String(), "(*Fold).ViewAt(")
}

// TestWaitEnds has readers wait who go away, and others whom the server leaves: nothing of them goes on.
func TestWaitEnds(t *testing.T) {
	f := newFollow(t, "echo", nil)
	seq := f.put("a.k", "v")
	if _, _, err := f.read("main", "a.k", client.AtLeast{Seq: seq, Wait: patience}); err != nil {
		t.Fatal(err)
	}
	const readers = 50
	for _, leave := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var closing atomic.Int32
		var all sync.WaitGroup
		for range readers {
			all.Go(func() {
				_, err := f.who.Get(ctx, "f", "main", []byte("a.k"), client.Range{AtLeast: client.AtLeast{Seq: seq + 1, Wait: patience}})
				if is(err, "closing") {
					closing.Add(1)
				}
			})
		}
		count(t, readers)
		if leave {
			cancel()
		} else {
			f.end()
		}
		all.Wait()
		count(t, 0)
		if n := closing.Load(); !leave && n != readers {
			t.Errorf("%d of %d readers were told that foldrun stops", n, readers)
		}
	}
}

// count waits until n requests wait.
func count(t *testing.T, n int) {
	t.Helper()
	for late := time.Now().Add(patience); waiting() != n; {
		if time.Now().After(late) {
			t.Fatalf("%d requests wait, not %d", waiting(), n)
		}
	}
}

// TestWaitAcrossSwitch waits for a position that the generation which replaces the one that serves brings.
func TestWaitAcrossSwitch(t *testing.T) {
	f := newFollow(t, "echo", nil)
	seq := f.put("a.k", "old")
	if _, _, err := f.read("main", "a.k", client.AtLeast{Seq: seq, Wait: patience}); err != nil {
		t.Fatal(err)
	}
	was := f.Status().Generation
	found := make(chan error)
	go func() {
		got, at, err := f.read("main", "a.k", client.AtLeast{Seq: seq + 1, Wait: patience})
		if err == nil && (got != "new" || at.Generation == was || at.Seq < seq+1) {
			err = fmt.Errorf("%q at %+v", got, at)
		}
		found <- err
	}()
	count(t, 1)
	check(t, f.Rebuild(t.Context()))
	f.until("switch", func(s runtime.Status) bool { return s.Generation != was })
	f.put("a.k", "new")
	check(t, <-found)
}
