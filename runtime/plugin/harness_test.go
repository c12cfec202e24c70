package plugin

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/store"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 = another one each time")

// seeded returns a source of randomness, and prints how to get the same again.
func seeded(t testing.TB) *rand.Rand {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("go test ./runtime/plugin -run '^%s$' -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 0))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testModule(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/modules/" + name + ".wasm")
	check(t, err)
	return b
}

func compile(t testing.TB, name string, o Options) *Module {
	t.Helper()
	m, err := Compile(t.Context(), testModule(t, name), o)
	check(t, err)
	t.Cleanup(func() { check(t, m.Close(t.Context())) })
	return m
}

func (m *Module) testWorker(t testing.TB) *Worker {
	w := m.Worker()
	t.Cleanup(func() { w.Close(t.Context()) })
	return w
}

// updates makes a slab of puts; keys are k0, k1, ...
func updates(values ...string) *abi.Updates {
	u := &abi.Updates{}
	for i, value := range values {
		subject := u.AppendString(fmt.Sprintf("$KV.b.k%d", i))
		u.Records = append(u.Records, abi.Update{Seq: uint64(i + 1), Time: int64(i), Op: abi.OpPut,
			Subject: subject, Key: abi.Span{Off: subject.Off + 6, Len: subject.Len - 6}, Value: u.AppendString(value)})
	}
	return u
}

func all(u *abi.Updates) (recs []int32) {
	for i := range u.Len() {
		recs = append(recs, int32(i))
	}
	return recs
}

// verdicts takes each record's verdict as text.
type verdicts struct {
	t    testing.TB
	text map[int32]string
	last int32 // records come in order
}

func newVerdicts(t testing.TB) *verdicts { return &verdicts{t, map[int32]string{}, -1} }

func (v *verdicts) Yield(rec int32, entries Entries) error {
	var s strings.Builder
	for i := range entries.Len() {
		e := entries.At(i)
		fmt.Fprintf(&s, "%d %q=%q+%d;", e.Index, e.Key, e.Value, e.TTL)
	}
	return v.set(rec, s.String())
}

func (v *verdicts) Fail(rec int32, f store.Failure) error {
	return v.set(rec, fmt.Sprintf("%s %d: %s", f.Code, f.Number, f.Message))
}

func (v *verdicts) set(rec int32, text string) error {
	if rec <= v.last {
		v.t.Errorf("record %d has its verdict after record %d", rec, v.last)
	}
	v.last, v.text[rec] = rec, text
	return nil
}

// judge returns the verdict on each of values, given to a worker whose frames hold up to frame records.
func judge(t testing.TB, w *Worker, frame int, values ...string) *verdicts {
	t.Helper()
	u, v := updates(values...), newVerdicts(t)
	w.frame = frame
	check(t, w.Transform(t.Context(), u, all(u), v))
	if len(v.text) != len(values) {
		t.Fatalf("%d verdicts on %d records", len(v.text), len(values))
	}
	return v
}

// lines is a log handler that counts lines.
type lines struct {
	slog.Handler
	b strings.Builder
}

func newLines() *lines {
	l := &lines{}
	l.Handler = slog.NewTextHandler(&l.b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return l
}

// dropped takes verdicts and keeps none.
type dropped struct{}

func (dropped) Yield(int32, Entries) error      { return nil }
func (dropped) Fail(int32, store.Failure) error { return nil }
