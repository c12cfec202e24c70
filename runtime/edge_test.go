package runtime

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// settle runs a fold of the bucket "edge" up to the end of its stream, compares it with its twin, hands it to look, and
// stops it.
func (s *site) settle(path string, o FoldOptions, look func(*runner)) {
	s.t.Helper()
	r := start(s.t, path, store.Options{}, o)
	last, clock := s.end("edge")
	r.reach(last)
	l := defaultLimits
	if n := o.Module.EntriesPerRecord; n > 0 {
		l.entries = n
	}
	for _, text := range compare(s.t, r.Store(), fold(s.live("edge"), last, clock, l)) {
		s.t.Error(text)
	}
	if look != nil {
		look(r)
	}
	r.stop()
}

// rows returns "key source value" of each row of an index.
func (r *runner) rows(index int, q store.Range) (all []string) {
	r.t.Helper()
	v := r.view()
	defer v.Close()
	check(r.t, v.Scan(index, q, func(row store.Row) bool {
		all = append(all, fmt.Sprintf("%q %q %.20q", row.Key, row.Source, row.Value))
		return true
	}))
	return all
}

// held returns "source code message" of each source key in quarantine.
func (r *runner) held() (all []string) {
	r.t.Helper()
	v := r.view()
	defer v.Close()
	check(r.t, v.Quarantine(nil, func(q store.Quarantined) bool {
		all = append(all, fmt.Sprintf("%s: %s: %s", q.Source, q.Code, q.Message))
		return true
	}))
	return all
}

func equal(t testing.TB, what string, have []string, want ...string) {
	t.Helper()
	if !slices.Equal(have, want) {
		t.Errorf("%s:\n  %s\nwant\n  %s", what, strings.Join(have, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestEdgeRecords(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	for key, value := range map[string]string{
		"twice": "Dsame", "differs": "Xone", "times": "ax=1;ax=1;bx=1;bx=2", "one": "ax=1;ax=1",
		"nothing": "", "empty-key": "a=v", "empty-value": "aempty=", "empty-both": "a;b", "filtered": "F",
		"broken": "E\x2abroken", "trap": "T", "unknown": "ax=1;?",
	} {
		s.put(kv, key, []byte(value))
	}
	s.settle(t.TempDir(), s.modelFold("edge"), func(r *runner) {
		equal(t, "index a", r.rows(0, store.Range{}), `"" "empty-both" ""`, `"" "empty-key" "v"`, `"empty" "empty-value" ""`,
			`"twice" "twice" "same"`, `"x" "one" "1"`)
		const twice = "duplicate_entry: it emits one key of an index twice, with different values or times"
		equal(t, "quarantine", r.held(), "broken: module: broken", "differs: "+twice, "times: "+twice,
			"trap: trap: wasm error: unreachable", "unknown: module: unknown command: ?")
	})
}

// TestEdgeKeys stores keys of every byte, and of the bytes that stand for something in a physical key.
func TestEdgeKeys(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	keys := []string{"", "\x00", "\x00\x00", "\x00\x00\x00", "\x00\x01", "\x00\xff", "\x00\xff\x00\x01", "\x01", "\xff", "\xff\xff", "a", "a\x00", "a\x00b", "a\x01", "ab"}
	var every []byte
	for c := range 256 {
		every = append(every, byte(c))
		keys = append(keys, "one:"+string([]byte{byte(c)}))
	}
	keys = append(keys, string(every), strings.Repeat("\x00", 16<<10), strings.Repeat("k", 16<<10))
	for i, key := range keys {
		s.put(kv, fmt.Sprintf("s%03d", i), append([]byte("K"), key...))
		s.put(kv, fmt.Sprintf("t%03d", i), append([]byte("K"), key...)) // a second claimant
	}
	s.put(kv, "long", append([]byte("K"), bytes.Repeat([]byte("k"), 16<<10+1)...))
	s.settle(t.TempDir(), s.modelFold("edge"), func(r *runner) {
		equal(t, "quarantine", r.held(), "long: key_too_long: a key of 16385 bytes, the limit is 16384")
		v := must(r.Store().View())(t)
		defer v.Close()
		for i, key := range keys {
			var sources []string
			check(t, v.Get(0, []byte(key), store.Range{}, func(row store.Row) bool {
				sources = append(sources, string(row.Source))
				return true
			}))
			equal(t, fmt.Sprintf("claimants of %.20q", key), sources, fmt.Sprintf("s%03d", i), fmt.Sprintf("t%03d", i))
		}
		equal(t, "keys from 00 to 00 ff", r.rows(0, store.Range{Start: []byte("\x00"), End: []byte("\x00\x01")})[:4],
			`"\x00" "s001" "s001"`, `"\x00" "t001" "t001"`, `"\x00\x00" "s002" "s002"`, `"\x00\x00" "t002" "t002"`)
	})
}

func TestEdgeManyEntries(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	s.put(kv, "many", []byte("N10000"))
	s.put(kv, "most", []byte("N1024"))
	s.settle(t.TempDir(), s.modelFold("edge"), func(r *runner) {
		equal(t, "quarantine", r.held(), "many: too_many_entries: 10000 entries, the limit is 1024")
	})
	raised := s.modelFold("edge")
	raised.Module.EntriesPerRecord = 10000
	path := t.TempDir()
	s.settle(path, raised, func(r *runner) {
		if n := len(r.rows(0, store.Range{})); n != 11024 {
			t.Errorf("%d rows", n)
		}
	})
	s.put(kv, "many", []byte("N9999")) // one row is retracted, the others are not written again
	s.settle(path, raised, func(r *runner) {
		r.await("count of it", func(st Status) bool { return st.Counts.Batches > 0 }) // which follows on the commit
		if c := r.Status().Counts; c.Written != 0 || c.Retracted != 1 || c.Unchanged != 9999 {
			t.Errorf("%d rows written, %d retracted, %d unchanged", c.Written, c.Retracted, c.Unchanged)
		}
	})
}

func TestEdgeValues(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	const limit = 1<<20 - 4<<10
	value := func(n int) []byte { return append([]byte("V"), bytes.Repeat([]byte("v"), n-1)...) }
	s.put(kv, "limit", value(limit))
	s.put(kv, "above", value(limit+1))
	s.put(kv, "payload", value(1<<20)) // the server's max_payload
	s.put(kv, "not-shown", append([]byte("F"), value(1<<20-1)...))
	for i := range 20 { // more than a batch, and than a frame
		s.put(kv, fmt.Sprintf("large%02d", i), value(limit-i))
	}
	path := t.TempDir()
	s.settle(path, s.modelFold("edge"), func(r *runner) {
		equal(t, "quarantine", r.held(), "above: value_too_long: a value of 1044481 bytes, the limit is 1044480",
			"payload: value_too_long: a value of 1048576 bytes, the limit is 1044480")
	})
	for i := range 20 {
		s.put(kv, fmt.Sprintf("large%02d", i), value(1))
	}
	s.settle(path, s.modelFold("edge"), nil)
}

// TestEdgeOverflow folds batches that yield many times what a commit may hold, and is interrupted among their parts.
func TestEdgeOverflow(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	const keys = 150
	for round := range 2 {
		for i := range keys {
			s.put(kv, fmt.Sprintf("%03d%s", i, strings.Repeat("k", 100)), fmt.Appendf(nil, "N%d", 1000-500*round-2*i))
		}
	}
	o := s.modelFold("edge")
	o.Source.BatchBytes = 128 << 10 // 150 records are one batch; each yields up to 100 KiB
	path := t.TempDir()
	last, _ := s.end("edge")
	commits := uint64(0)
	for _, parts := range []uint64{1, 2, 5, 15} {
		r := start(t, path, store.Options{}, o)
		r.await("some parts", func(s Status) bool { return s.Counts.Batches >= parts || s.Seq >= last })
		r.abandon()
		commits += r.Status().Counts.Batches
	}
	s.settle(path, o, func(r *runner) {
		if commits += r.Status().Counts.Batches; commits < 40 {
			t.Errorf("%d commits for %d updates: no batch was cut", commits, last)
		}
	})
}

// TestEdgeDeletes folds with a module that wants deletes: a marker is a live record while the stream holds it.
func TestEdgeDeletes(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	for _, key := range []string{"kept", "deleted", "purged", "back"} {
		s.put(kv, key, []byte("x"))
	}
	check(t, kv.Delete(t.Context(), "deleted"))
	check(t, kv.Purge(t.Context(), "purged"))
	check(t, kv.Delete(t.Context(), "back"))
	o := s.modelFold("edge")
	o.Wasm, o.Collisions = testModule(t, "wants-delete"), nil
	path := t.TempDir()
	r := start(t, path, store.Options{}, o)
	last, _ := s.end("edge")
	r.reach(last)
	equal(t, "rows", r.rows(0, store.Range{}), `"back" "back" "deleted"`, `"deleted" "deleted" "deleted"`, `"purged" "purged" "deleted"`)
	if live := r.Status().Live; live != 4 {
		t.Errorf("%d live source keys, want 4: markers count", live)
	}
	r.stop()
	last = s.put(kv, "back", []byte("y"))
	r = start(t, path, store.Options{}, o)
	r.reach(last)
	equal(t, "rows", r.rows(0, store.Range{}), `"deleted" "deleted" "deleted"`, `"purged" "purged" "deleted"`)
	whole(t, r.Store())
	r.stop()
}

// TestBucketAsStream: the source keys of a bucket are not those of its stream when that is folded as a stream, so each is a
// generation of its own.
func TestBucketAsStream(t *testing.T) {
	o := FoldOptions{Name: "f", Wasm: testModule(t, "model")}
	names := map[string]bool{}
	for _, src := range []source.Options{{Bucket: "b"}, {Stream: "KV_b"}, {Stream: "KV_b", KeyingMessage: true}} {
		o.Source = src
		id := must(Try(t.Context(), o))(t)
		names[must(id.Generation())(t)] = true
	}
	if len(names) != 3 {
		t.Errorf("%d generations, want 3", len(names))
	}
}
