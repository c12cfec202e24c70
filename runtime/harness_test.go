package runtime

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 = another one each time")

// patience is how long a test waits for an event before it fails.
const patience = time.Minute

// seeded returns a source of randomness, and prints how to get the same again.
func seeded(t testing.TB) *rand.Rand {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("go test ./runtime -run '^%s$' -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 0))
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A site is a JetStream server with a client.
type site struct {
	t testing.TB
	*embedded.Server
	dir  string // of its streams
	port int    // the same each time that it starts
	nc   *nats.Conn
	js   jetstream.JetStream
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.again()
	t.Cleanup(func() { s.Stop() })
	s.nc = must(source.Connect(source.Target{URL: s.URL()}, nil))(t)
	t.Cleanup(s.nc.Close)
	s.js = must(jetstream.New(s.nc))(t)
	return s
}

// portTaken says whether a server did not start since something else has its port.
func portTaken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "address already in use")
}

// again starts the server, and waits for the client if there is one. The system may have given its port to a connection meanwhile, of
// whatever else runs: then it waits for the end of that.
func (s *site) again() {
	s.t.Helper()
	var err error
	eventually(s.t, "port that the server had", func() bool {
		s.Server, err = embedded.Start(embedded.Options{StoreDir: s.dir, Port: s.port})
		return !portTaken(err)
	})
	check(s.t, err)
	s.port = must(strconv.Atoi(must(url.Parse(s.URL()))(s.t).Port()))(s.t)
	if s.nc != nil {
		eventually(s.t, "client", func() bool { return s.nc.IsConnected() && s.nc.FlushTimeout(patience) == nil })
	}
}

func (s *site) bucket(name string, history uint8) jetstream.KeyValue {
	s.t.Helper()
	var kv jetstream.KeyValue
	check(s.t, s.freed(func() (err error) {
		kv, err = s.js.CreateKeyValue(s.t.Context(), jetstream.KeyValueConfig{Bucket: name, History: history})
		return err
	}))
	return kv
}

// put stores one value and returns its seq.
func (s *site) put(kv jetstream.KeyValue, key string, value []byte) uint64 {
	s.t.Helper()
	return must(kv.Put(s.t.Context(), key, value))(s.t)
}

// end returns the last seq of a bucket's stream, and the time of its last message.
func (s *site) end(bucket string) (seq uint64, clock int64) {
	s.t.Helper()
	info := must(must(s.js.Stream(s.t.Context(), "KV_"+bucket))(s.t).Info(s.t.Context()))(s.t)
	return info.State.LastSeq, info.State.LastTime.UnixNano()
}

func testModule(t testing.TB, name string) []byte {
	t.Helper()
	return must(os.ReadFile("../testdata/modules/" + name + ".wasm"))(t)
}

// A runner is one start of one fold over a data directory of its own, from opening it to closing it.
type runner struct {
	*Fold
	t    testing.TB
	dir  *store.Dir
	done chan struct{} // closed when Run has returned
	err  error         // what it returned
	end  context.CancelFunc
}

// openDir opens a data directory for a test: a disk that fails where none should is a panic.
func openDir(t testing.TB, path string, o store.Options) *store.Dir {
	t.Helper()
	if o.Memory.Total == 0 {
		o.Memory = must(store.SplitMemory(64<<20, 1, 0))(t)
	}
	o.Fatal = func(dir string, err error) { panic(dir + ": " + err.Error()) }
	return must(store.OpenDir(path, o))(t)
}

// modelFold returns the options of a fold of the model module: index a gives all claimants, b the latest. Its clock stands at the
// last message, however long the stream is idle.
func (s *site) modelFold(bucket string) FoldOptions {
	return FoldOptions{
		Name: "f", Conn: s.nc, Source: source.Options{Bucket: bucket, ClockSlack: time.Hour}, Wasm: testModule(s.t, "model"),
		Module: plugin.Options{}, Collisions: map[string]store.Collisions{"b": store.Latest},
	}
}

// start opens the data directory at path and runs a fold in it.
func start(t testing.TB, path string, so store.Options, o FoldOptions) *runner {
	t.Helper()
	return startBroken(t, path, so, o, nil)
}

// startBroken runs a fold that breaks a law: see Fold.tamper.
func startBroken(t testing.TB, path string, so store.Options, o FoldOptions, tamper func(*source.Batch)) *runner {
	t.Helper()
	dir := openDir(t, path, so)
	f := must(NewFold(t.Context(), dir, o))(t)
	f.tamper = tamper
	return run(t, dir, f)
}

// run runs a fold over an open data directory.
func run(t testing.TB, dir *store.Dir, f *Fold) *runner {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	r := &runner{Fold: f, t: t, dir: dir, done: make(chan struct{}), end: end}
	go func() {
		r.err = f.Run(ctx)
		close(r.done)
	}()
	return r
}

// rerun runs a fold again that stopped. It returns once that has begun: until then the status is that of the stop.
func (r *runner) rerun() *runner {
	r.t.Helper()
	is := run(r.t, r.dir, r.Fold)
	is.await("a start", func(Status) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.stopped != r.err
	})
	return is
}

// await waits until ok holds; it is asked again whenever the cursor moved, and now and then: that the fold has caught up moves
// nothing.
func (r *runner) await(what string, ok func(Status) bool) {
	r.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		moved := r.Moved()
		if ok(r.Status()) {
			return
		}
		select {
		case <-moved:
		case <-again.C:
		case <-r.done:
			if ok(r.Status()) {
				return
			}
			r.t.Fatalf("the fold ended before %s: %v; %+v", what, r.err, r.Status())
		case <-late.C:
			r.t.Fatalf("no %s within %s: %+v", what, patience, r.Status())
		}
	}
}

// reach waits until the fold has folded seq.
func (r *runner) reach(seq uint64) {
	r.t.Helper()
	r.await(fmt.Sprintf("seq %d", seq), func(s Status) bool { return s.Seq >= seq })
}

// view opens a view of what serves: of the one that replaces it, where that was closed just now.
func (r *runner) view() (v *store.View) {
	r.t.Helper()
	var err error
	eventually(r.t, "store that is open", func() bool {
		db := r.Store()
		if db == nil {
			return false
		}
		v, err = db.View()
		return !errors.Is(err, store.ErrClosed)
	})
	check(r.t, err)
	return v
}

// sweep sweeps, once the fold follows its source.
func (r *runner) sweep(repair bool) SweepReport {
	r.t.Helper()
	r.await("a sweeper", func(Status) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.cur != nil && r.cur.sweeper != nil
	})
	for {
		report, err := r.Sweep(r.t.Context(), repair)
		if !errors.Is(err, ErrNotCompared) {
			return must(report, err)(r.t)
		}
		r.reach(report.LastSeq) // the server has evicted all, and left a marker
	}
}

// wait waits until Run has returned.
func (r *runner) wait() error {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatalf("Run did not return within %s", patience)
	}
	return r.err
}

// stop ends the fold as a signal does, and closes everything.
func (r *runner) stop() {
	r.t.Helper()
	r.end()
	if err := r.wait(); err != nil {
		r.t.Fatalf("a graceful stop: %v", err)
	}
	r.close()
}

// abandon takes the store away under the fold: of what is in flight nothing is committed any more.
func (r *runner) abandon() {
	r.t.Helper()
	if db := r.Store(); db != nil {
		check(r.t, db.Close())
	}
	r.end()
	if err := r.wait(); err != nil && !errors.Is(err, store.ErrClosed) {
		r.t.Fatalf("after its store was closed: %v", err)
	}
	r.close()
}

func (r *runner) close() {
	r.t.Helper()
	check(r.t, r.Fold.Close(context.WithoutCancel(r.t.Context())))
	check(r.t, r.dir.Close())
}

// whole asserts that the store agrees with itself.
func whole(t testing.TB, db *store.DB) {
	t.Helper()
	report := must(db.Check())(t)
	for _, p := range report.Problems {
		t.Errorf("check: %s", p)
	}
	if report.Found > 0 {
		t.Fatalf("check found %d problems", report.Found)
	}
}
