package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/plugins/sdk"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

var everything = flag.Bool("all", false, "TestPoison with a million records a bucket instead of 20,000")

// A poison is a value that a module cannot transform, in place of one record in a hundred.
type poison struct {
	name  string
	value string // of the record; the test modules know it by its first bytes
	code  string // what it goes to quarantine for
}

var poisons = []poison{
	{"error", "Ereported", "module"},
	{"trap", "T", "trap"},
	{"too many entries", "N20", "too_many_entries"},
}

const poisonEvery = 100

func isPoison(i int) bool { return i%poisonEvery == poisonEvery/3 }

// poisoned makes a bucket of n keys whose values begin with V, but for the poison.
func (b *broker) poisoned(tb testing.TB, bucket string, n int, poison string) {
	tb.Helper()
	_, err := b.js.CreateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: bucket})
	must(tb, err)
	for i := range n {
		v := value(i)
		if v[0] = 'V'; poison != "" && isPoison(i) {
			v = []byte(poison)
		}
		_, err := b.js.PublishAsync(fmt.Sprintf("$KV.%s.%s", bucket, poisonKey(i)), v, jetstream.WithStallWait(time.Minute))
		must(tb, err)
	}
	select {
	case <-b.js.PublishAsyncComplete():
	case <-time.After(5 * time.Minute):
		tb.Fatal("the broker did not take the data within 5 minutes")
	}
}

func poisonKey(i int) string { return fmt.Sprintf("key-%012d", i) }

// A ward is a fold with a data directory of its own.
type ward struct {
	tb   testing.TB
	b    *broker
	path string
	o    runtime.FoldOptions
	n    int
}

// newWard returns a fold of a bucket of n keys that never halts.
func newWard(tb testing.TB, b *broker, bucket string, wasm []byte, n int) *ward {
	return &ward{tb, b, tb.TempDir(), runtime.FoldOptions{Name: "bench", Conn: b.nc, Source: source.Options{Bucket: bucket},
		Wasm: wasm, Budget: &store.Budget{Share: 1}}, n}
}

// run runs the fold until done says so, hands it over, and closes it.
func (w *ward) run(done func(runtime.Status) bool, use func(*runtime.Fold)) {
	w.tb.Helper()
	d := openDir(w.tb, w.path, 1)
	f, end := run(w.tb, d, w.o)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for late := time.After(10 * time.Minute); ; {
		moved := f.Moved()
		st := f.Status()
		if done(st) {
			break
		}
		if st.State == runtime.StateStopped {
			w.tb.Fatalf("the fold stopped: %s: %s", st.Code, st.Reason)
		}
		select {
		case <-moved:
		case <-again.C: // that it has caught up moves nothing
		case <-late:
			w.tb.Fatalf("the fold does not arrive: %+v", st)
		}
	}
	use(f)
	end()
	must(w.tb, d.Close())
}

func (w *ward) folded(st runtime.Status) bool { return st.Seq >= uint64(w.n) }

// whole checks a store against itself, and returns its indexes.
func (w *ward) whole(f *runtime.Fold) []runtime.IndexStatus {
	w.tb.Helper()
	r, err := f.Store().Check()
	must(w.tb, err)
	if r.Found > 0 {
		w.tb.Errorf("check: %d problems, the first: %s", r.Found, r.Problems[0])
	}
	return f.Status().Indexes
}

// clean returns what a fold of these options makes of the bucket from its beginning.
func (w *ward) clean() (indexes []runtime.IndexStatus) {
	fresh := &ward{w.tb, w.b, w.tb.TempDir(), w.o, w.n}
	fresh.run(fresh.folded, func(f *runtime.Fold) {
		if st := f.Status(); st.Quarantined > 0 {
			w.tb.Errorf("a clean fold has %d in quarantine", st.Quarantined)
		}
		indexes = fresh.whole(f)
	})
	return indexes
}

// TestPoison folds buckets in which one record in a hundred cannot be transformed. Each of them is held, whole, and none
// else. Once a module that takes them has built the fold anew, or a raised limit is adopted, it holds what a fold holds that never
// failed.
func TestPoison(t *testing.T) {
	n := 20_000
	if *everything {
		n = 1_000_000
	}
	b := startBroker(t)
	for i, p := range poisons {
		t.Run(p.name, func(t *testing.T) {
			bucket := fmt.Sprint("poison-", i)
			b.poisoned(t, bucket, n, p.value)
			w := newWard(t, b, bucket, module(t, "model"), n)
			w.o.Module = plugin.Options{EntriesPerRecord: 10}
			first := ""
			w.run(w.folded, func(f *runtime.Fold) {
				w.held(f, p)
				first = f.Status().Generation
			})
			if w.o.Module.EntriesPerRecord = 20; p.code != "too_many_entries" {
				w.o.Wasm = module(t, "echo")
			}
			var is []runtime.IndexStatus
			w.run(func(st runtime.Status) bool {
				raised := p.code == "too_many_entries" // a raised limit is adopted in place
				return (st.Generation == first) == raised && w.folded(st) && st.CaughtUp && st.Build == nil && !st.Owed
			}, func(f *runtime.Fold) {
				if st := f.Status(); st.Quarantined > 0 || st.Held > 0 {
					t.Errorf("after the mend: %+v", st)
				}
				is = w.whole(f)
			})
			if want := w.clean(); !reflect.DeepEqual(is, want) {
				t.Errorf("after the mend it holds %+v, a clean fold %+v", is, want)
			}
		})
	}
}

// held asserts that all poison is in quarantine, with its update, and nothing else.
func (w *ward) held(f *runtime.Fold, p poison) {
	w.tb.Helper()
	want := w.n / poisonEvery
	st := f.Status()
	if st.Live != uint64(w.n) || st.Quarantined != uint64(want) || w.whole(f)[0].Rows != uint64(w.n-want) {
		w.tb.Errorf("%d live, %d in quarantine, %d rows of %d records, %d of them poison", st.Live, st.Quarantined, st.Indexes[0].Rows, w.n, want)
	}
	v, err := f.Store().View()
	must(w.tb, err)
	defer v.Close()
	at := 0
	must(w.tb, v.Quarantine(nil, func(q store.Quarantined) bool {
		for !isPoison(at) {
			at++
		}
		u, err := abi.DecodeIn(q.Update)
		must(w.tb, err)
		if string(q.Source) != poisonKey(at) || q.Code != p.code || string(u.Value(0)) != p.value || q.Seq != uint64(at+1) {
			w.tb.Errorf("%q at %d is held for %s with the value %q; want %q at %d for %s", q.Source, q.Seq, q.Code, u.Value(0), poisonKey(at), at+1, p.code)
			return false
		}
		at++
		return true
	}))
}

// goPoison is a module that fails in the ways of Go.
const goPoison = `package main

import (
	"os"

	"users/foldrun"
)

func init() { foldrun.Register(transform) }

func main() {}

func transform(r *foldrun.Record, out *foldrun.Out) {
	v := r.Value()
	switch v[0] {
	case 'E':
		out.Error(7, "reported")
	case 'P':
		panic("poison in " + string(r.Key()))
	case 'X':
		os.Exit(2)
	default:
		out.Emit(0, r.Key(), v)
	}
}
`

// buildGo builds a Go plugin of one file, as a user would.
func buildGo(tb testing.TB, text string) []byte {
	tb.Helper()
	dir := tb.TempDir()
	for _, l := range sdk.Languages {
		if l.Name != "go" {
			continue
		}
		for _, f := range l.Project("users") {
			if strings.HasPrefix(f.Path, "foldrun/") {
				must(tb, os.MkdirAll(filepath.Join(dir, "foldrun"), 0o755))
				must(tb, os.WriteFile(filepath.Join(dir, f.Path), f.Text, 0o644))
			}
		}
	}
	must(tb, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module users\n\ngo 1.24\n"), 0o644))
	must(tb, os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o644))
	file := filepath.Join(dir, "users.wasm")
	c := exec.Command("go", "build", "-buildmode=c-shared", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", file, ".")
	c.Dir, c.Env = dir, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(file)
	must(tb, err)
	wasm, err = abi.AppendManifest(wasm, abi.Manifest{Name: "users", Indexes: []string{"main"}})
	must(tb, err)
	return wasm
}

// TestPanicText: what a Go module panics with stands in quarantine, and the others of its frame go on.
func TestPanicText(t *testing.T) {
	b := startBroker(t)
	const n = 300
	b.poisoned(t, "panics", n, "P")
	w := newWard(t, b, "panics", buildGo(t, goPoison), n)
	w.run(w.folded, func(f *runtime.Fold) {
		w.held(f, poison{"panic", "P", "module"})
		v, err := f.Store().View()
		must(t, err)
		defer v.Close()
		must(t, v.Quarantine(nil, func(q store.Quarantined) bool {
			if want := "panic: poison in " + string(q.Source); q.Message != want || q.Number != 65535 {
				t.Errorf("%q is held for %d %q, want %q", q.Source, q.Number, q.Message, want)
			}
			return true
		}))
	})
}

// BenchmarkPoison folds buckets in which one record in a hundred cannot be transformed, and a clean one, round by round.
func BenchmarkPoison(b *testing.B) {
	s := startBroker(b)
	for _, value := range []string{"", "E", "T", "P", "X"} {
		s.poisoned(b, "poison"+value, *updates, value)
	}
	lean := func(testing.TB) []byte { return module(b, "model") }
	golang := func(b testing.TB) []byte { return buildGo(b, goPoison) }
	clean := poisonCase{name: "clean"}
	errors := poisonCase{name: "reported errors", value: "E"}
	for _, x := range []struct {
		name  string
		wasm  func(testing.TB) []byte
		cases []poisonCase
	}{
		{"lean", lean, []poisonCase{clean, errors, {name: "traps", value: "T"}, {name: "clean again"}}},
		{"Go", golang, []poisonCase{clean, errors, {name: "recovered panics", value: "P"}, {name: "clean again"}}},
		{"Go-fatal", golang, []poisonCase{clean, {name: "fatal errors", value: "X"}}},
	} {
		b.Run(x.name, func(b *testing.B) { s.poison(b, x.wasm(b), x.cases) })
	}
}

type poisonCase struct {
	name, value string
	all         []cost
}

// poison folds the bucket of each case once a round, and reports each beside the first.
func (s *broker) poison(b *testing.B, wasm []byte, cases []poisonCase) {
	for b.Loop() {
		for range *rounds {
			for i := range cases {
				w := newWard(b, s, "poison"+cases[i].value, wasm, *updates)
				cases[i].all = append(cases[i].all, s.measure(*updates, func() { w.run(w.folded, func(*runtime.Fold) {}) }))
			}
		}
	}
	for _, c := range cases {
		of := func(f func(cost) float64) float64 { return median(c.all, f) / median(cases[0].all, f) }
		b.Logf("%-18s %8.0f updates/s, %.2f of the clean bucket; client %.2f µs CPU an update, × %.2f (median of %d)",
			c.name, median(c.all, cost.Rate), of(cost.Rate), median(c.all, cost.ClientMicro), of(cost.ClientMicro), len(c.all))
	}
	b.ReportMetric(0, "ns/op")
}
