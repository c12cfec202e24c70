package runtime

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// diffModules returns modules that share indexes and do not agree, with limits and configs that make more of them.
func diffModules(t testing.TB, rng *rand.Rand, cache string, limited bool) []DiffModule {
	t.Helper()
	cities := must(os.ReadFile("../plugins/examples/large-cities/large-cities.wasm"))(t)
	deletes := testModule(t, "wants-delete")
	other := bytes.Replace(deletes, []byte("deleted"), []byte("removed"), 1)
	if bytes.Equal(other, deletes) {
		t.Fatal("the module's constant is not where it was")
	}
	var all []DiffModule
	for _, wasm := range [][]byte{testModule(t, "echo"), testModule(t, "rekey"), deletes, other, testModule(t, "model"), testModule(t, "model"), cities, cities} {
		o := plugin.Options{CacheDir: cache}
		if limited && rng.IntN(2) == 0 {
			o.EntriesPerRecord, o.BytesPerRecord = 1+rng.IntN(4), int64(4+rng.IntN(16))
		}
		all = append(all, DiffModule{Wasm: wasm, Options: o})
	}
	all[5].Options.EntriesPerRecord = 1
	for i := len(all) - 2; i < len(all); i++ {
		all[i].Options.Config = fmt.Appendf(nil, `{"min_population":%d}`, rng.IntN(100))
	}
	return all
}

// diffRecords makes a batch of records of distinct source keys.
func diffRecords(rng *rand.Rand, from uint64, n int) *source.Batch {
	b := &source.Batch{From: from, TTL: true}
	words := []string{"a", "a=1", "ak=v;bk=v", "ak=v;bk=w;ak=v", "ak=1;ak=2", "X", "F", "Esad", "N3", "Kkey", "Vvalue", "T", "c", "",
		"L5000000000:ak=v", "L60000000000:ak=1;bx=2", `{"population":20}`, `{"population":80}`, `{"population":"?"}`}
	for i := range n {
		seq := from + uint64(i) + 1
		r := abi.Update{Seq: seq, Time: int64(seq) * 1e9, Op: abi.OpPut, Key: b.AppendString(fmt.Sprintf("k%d", seq))}
		r.Subject = r.Key
		if rng.IntN(6) == 0 {
			r.Op = []abi.Op{abi.OpDelete, abi.OpPurge}[rng.IntN(2)]
		} else {
			r.Value = b.AppendString(words[rng.IntN(len(words))])
		}
		if rng.IntN(10) == 0 {
			r.Header, r.Headers = uint32(len(b.Headers)), 1
			b.Headers = append(b.Headers, abi.Header{Name: b.AppendString("Nats-TTL"), Value: b.AppendString(fmt.Sprint(1 + rng.IntN(40)))})
		}
		b.Records = append(b.Records, r)
	}
	b.Clock = b.Records[n-1].Time
	b.Pos = store.Position{Stream: "S", Created: 1, Seq: from + uint64(n), Time: b.Clock, CaughtUp: b.Clock}
	return b
}

// built is what a generation made by one module holds.
type built struct {
	rows map[string]store.Row // by index, key and source
	held map[string]bool      // source keys
	n    map[string]uint64    // rows, by index
}

// build folds batches with a module.
func build(t testing.TB, m DiffModule, batches []*source.Batch) built {
	t.Helper()
	dir := openDir(t, t.TempDir(), store.Options{Sync: store.SyncNever})
	f := must(NewFeed(t.Context(), dir, FoldOptions{Name: "f", Wasm: m.Wasm, Module: m.Options, Workers: 1,
		Source: source.Options{Stream: "S"}, Budget: &store.Budget{Share: 1}}))(t)
	for _, b := range batches {
		check(t, f.Commit(t.Context(), b))
	}
	x := built{map[string]store.Row{}, map[string]bool{}, map[string]uint64{}}
	v := must(f.Store().View())(t)
	for i, s := range f.Store().Indexes() {
		check(t, v.Scan(i, store.Range{Claimants: true}, func(r store.Row) bool {
			x.rows[fmt.Sprintf("%s %q %q", s.Name, r.Key, r.Source)] = store.Row{Value: bytes.Clone(r.Value), Expiry: r.Expiry}
			x.n[s.Name]++
			return true
		}))
	}
	check(t, v.Quarantine(nil, func(q store.Quarantined) bool { x.held[string(q.Source)] = true; return true }))
	v.Close()
	if r := must(f.Store().Check())(t); r.Found > 0 {
		t.Fatal(r.Problems)
	}
	check(t, f.Close(t.Context()))
	check(t, dir.Close())
	return x
}

// told writes the differences as a Differ samples them.
func (r *DiffReport) told() (all []string) {
	for _, x := range r.Indexes {
		for kind, samples := range x.Samples {
			for _, s := range samples {
				all = append(all, fmt.Sprintf("%d %s %q %q %q %d %q %d", kind, x.Name, s.Key, s.Source, s.Old, s.OldExpiry, s.New, s.NewExpiry))
			}
		}
	}
	for i, f := range []Failing{r.NewlyFail, r.NoLonger} {
		for _, s := range f.Samples {
			all = append(all, fmt.Sprintf("failing %d %q", i, s.Source))
		}
	}
	slices.Sort(all)
	return all
}

// differs writes them from what two generations hold.
func differs(old, now built) (all []string) {
	for id, was := range old.rows {
		is, stands := now.rows[id]
		switch {
		case !stands:
			all = append(all, fmt.Sprintf("%d %s %q %d %q %d", DiffDisappear, id, was.Value, was.Expiry, "", 0))
		case was.Expiry != is.Expiry || !bytes.Equal(was.Value, is.Value):
			all = append(all, fmt.Sprintf("%d %s %q %d %q %d", DiffChange, id, was.Value, was.Expiry, is.Value, is.Expiry))
		}
	}
	for id, is := range now.rows {
		if _, stood := old.rows[id]; !stood {
			all = append(all, fmt.Sprintf("%d %s %q %d %q %d", DiffAppear, id, "", 0, is.Value, is.Expiry))
		}
	}
	for key := range now.held {
		if !old.held[key] {
			all = append(all, fmt.Sprintf("failing 0 %q", key))
		}
	}
	for key := range old.held {
		if !now.held[key] {
			all = append(all, fmt.Sprintf("failing 1 %q", key))
		}
	}
	slices.Sort(all)
	return all
}

// TestDiffer: what a Differ tells of two modules is, row for row, what the generations differ in that they build.
func TestDiffer(t *testing.T) {
	rng := seeded(t)
	kinds := map[string]int{}
	pairs := [][2]int{{2, 3}, {4, 5}, {5, 4}, {0, 1}} // with enough records, of each kind of difference there is some
	cache := t.TempDir()
	for round := range 16 {
		all := diffModules(t, rng, cache, round >= len(pairs))
		pair, least := [2]int{rng.IntN(len(all)), rng.IntN(len(all))}, 1
		if round < len(pairs) {
			pair, least = pairs[round], 200
		}
		before, after := all[pair[0]], all[pair[1]]
		var batches []*source.Batch
		for n := uint64(0); n < uint64(least+rng.IntN(60)); {
			b := diffRecords(rng, n, 1+rng.IntN(20))
			batches, n = append(batches, b), b.Pos.Seq
		}
		d := must(NewDiffer(t.Context(), before, after, DiffOptions{Samples: 1 << 30, Clock: batches[len(batches)-1].Clock}))(t)
		for _, b := range batches {
			check(t, d.Add(t.Context(), b))
		}
		old, now := build(t, before, batches), build(t, after, batches)
		got, want := d.Report().told(), differs(old, now)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: %s and %s\ngot  %q\nwant %q", round, d.Report().Old.Name, d.Report().New.Name, got, want)
		}
		r := d.Report()
		if r.Same() != (len(want) == 0) || r.OldFailed != uint64(len(old.held)) || r.NewFailed != uint64(len(now.held)) {
			t.Fatalf("round %d: same %v, %d and %d fail: %q", round, r.Same(), r.OldFailed, r.NewFailed, want)
		}
		for _, x := range r.Indexes {
			if x.OldRows != old.n[x.Name] || x.NewRows != now.n[x.Name] {
				t.Fatalf("round %d: index %s has %d and %d rows, counted %d and %d", round, x.Name, old.n[x.Name], now.n[x.Name], x.OldRows, x.NewRows)
			}
		}
		held := false
		for name, n := range old.n {
			held = held || slices.Contains(r.New.Indexes, name) && tooFew(now.n[name], n)
		}
		if (r.Fewer() != nil) != held {
			t.Fatalf("round %d: %v, and the rows are %v and %v", round, r.Fewer(), old.n, now.n)
		}
		for _, s := range want {
			kind, rest, _ := strings.Cut(s, " ")
			if kind == "failing" {
				kind += " " + rest[:1]
			}
			kinds[kind]++
		}
		check(t, d.Close(t.Context()))
	}
	for _, kind := range []string{"0", "1", "2", "failing 0", "failing 1"} {
		if kinds[kind] == 0 {
			t.Errorf("no difference of the kind %q in any round: %v", kind, kinds)
		}
	}
}

// What many records yield together is not held at once.
func TestDifferIsBounded(t *testing.T) {
	echo, rekey := DiffModule{Wasm: testModule(t, "echo")}, DiffModule{Wasm: testModule(t, "rekey")}
	d := must(NewDiffer(t.Context(), echo, rekey, DiffOptions{Samples: 1, Clock: time.Now().UnixNano()}))(t)
	b := new(source.Batch)
	value := bytes.Repeat([]byte("v"), 512<<10)
	for i := range 64 {
		r := abi.Update{Seq: uint64(i) + 1, Op: abi.OpPut, Key: b.AppendString(fmt.Sprintf("k%d", i)), Value: b.Append(value)}
		r.Subject = r.Key
		b.Records = append(b.Records, r)
	}
	check(t, d.Add(t.Context(), b))
	if r := d.Report(); r.Records != 64 || r.Indexes[0].Appear != 64 || r.Indexes[0].Disappear != 64 || len(r.Indexes[0].Samples[DiffAppear]) != 1 {
		t.Errorf("%+v", r)
	}
	if n := cap(d.sides[0].slab); n > 4*diffBytes {
		t.Errorf("%d bytes were held at once", n)
	}
	check(t, d.Close(t.Context()))
}
