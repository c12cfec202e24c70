package runtime

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// lastMessage is the last message of one subject, as the server holds it.
type lastMessage struct {
	value   string
	removed bool // it is a delete, a purge or a marker
}

// lastHeld reads a stream from its beginning and keeps the last message of each subject that has the prefix, without it.
func (s *site) lastHeld(stream, prefix string) map[string]lastMessage {
	s.t.Helper()
	ctx := s.t.Context()
	c := must(s.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true}))(s.t)
	defer s.js.DeleteConsumer(ctx, stream, c.CachedInfo().Name)
	all := map[string]lastMessage{}
	if c.CachedInfo().NumPending == 0 {
		return all
	}
	messages := must(c.Messages())(s.t)
	defer messages.Stop()
	for {
		m := must(messages.Next(jetstream.NextContext(ctx)))(s.t)
		if key, ok := strings.CutPrefix(m.Subject(), prefix); ok {
			h := m.Headers()
			removed := h.Get("KV-Operation") != "" || slices.Contains([]string{"MaxAge", "Purge", "Remove"}, h.Get("Nats-Marker-Reason"))
			all[key] = lastMessage{string(m.Data()), removed}
		}
		if must(m.Metadata())(s.t).NumPending == 0 {
			return all
		}
	}
}

// pair is two folds of one source: one echoes what is there, one shows what was removed.
type pair struct {
	s             *site
	source        source.Options
	echo, removed *runner
}

func (s *site) pair(o source.Options) *pair {
	s.t.Helper()
	p := &pair{s: s, source: o}
	p.echo = start(s.t, s.t.TempDir(), store.Options{}, FoldOptions{Name: "f", Conn: s.nc, Source: o, Wasm: testModule(s.t, "echo")})
	p.removed = start(s.t, s.t.TempDir(), store.Options{}, FoldOptions{Name: "f", Conn: s.nc, Source: o, Wasm: testModule(s.t, "wants-delete")})
	return p
}

func (p *pair) stop() {
	p.echo.stop()
	p.removed.stop()
}

// table returns the rows of a fold whose rows have their source's key.
func (r *runner) table() map[string]string {
	r.t.Helper()
	all := map[string]string{}
	if r.Store() == nil {
		return all
	}
	v := r.view()
	defer v.Close()
	check(r.t, v.Scan(0, store.Range{}, func(row store.Row) bool {
		if string(row.Key) != string(row.Source) {
			r.t.Errorf("row %q of %q", row.Key, row.Source)
		}
		all[string(row.Key)] = string(row.Value)
		return true
	}))
	return all
}

// agrees waits until both folds have reached seq, and compares their rows with what the server holds.
func (p *pair) agrees(what string, seq uint64, holds map[string]lastMessage) {
	t := p.s.t
	t.Helper()
	there, removed := map[string]string{}, map[string]string{}
	for key, m := range holds {
		if m.removed {
			removed[key] = "deleted"
		} else {
			there[key] = m.value
		}
	}
	for _, x := range []struct {
		name string
		*runner
		want map[string]string
	}{{"echo", p.echo, there}, {"wants-delete", p.removed, removed}} {
		x.reach(seq)
		if have := x.table(); !maps.Equal(have, x.want) {
			t.Errorf("%s: %s has\n  %q\nwant\n  %q", what, x.name, have, x.want)
		}
		whole(t, x.Store())
	}
}

// follows compares the pair, and one that starts only now, with the stream.
func (p *pair) follows(stream, prefix string) {
	t := p.s.t
	t.Helper()
	last := must(must(p.s.js.Stream(t.Context(), stream))(t).Info(t.Context()))(t).State.LastSeq
	holds := p.s.lastHeld(stream, prefix)
	p.agrees("live", last, holds)
	late := p.s.pair(p.source)
	late.agrees("from the beginning", last, holds)
	for _, x := range [][2]*runner{{p.echo, late.echo}, {p.removed, late.removed}} {
		if live, fresh := x[0].Status().Indexes[0], x[1].Status().Indexes[0]; live != fresh {
			t.Errorf("followed %+v, from the beginning %+v", live, fresh)
		}
	}
	late.stop()
}

// raw publishes a message that no KV client would.
func (s *site) raw(subject, value string, headers ...string) uint64 {
	s.t.Helper()
	m := &nats.Msg{Subject: subject, Data: []byte(value), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	return must(s.js.PublishMsg(s.t.Context(), m))(s.t).Sequence
}

func (s *site) kv(c jetstream.KeyValueConfig) jetstream.KeyValue {
	s.t.Helper()
	return must(s.js.CreateKeyValue(s.t.Context(), c))(s.t)
}

// TestKVOperations writes a bucket in every way that there is, and compares after each.
func TestKVOperations(t *testing.T) {
	for _, history := range []uint8{1, 5, 64} {
		t.Run(fmt.Sprintf("history %d", history), func(t *testing.T) {
			s := newSite(t)
			ctx := t.Context()
			kv := s.kv(jetstream.KeyValueConfig{Bucket: "b", History: history})
			p := s.pair(source.Options{Bucket: "b"})
			defer p.stop()
			put := func(key, value string) uint64 { return s.put(kv, key, []byte(value)) }
			step := func(what string, do func()) {
				t.Helper()
				do()
				last, _ := s.end("b")
				p.agrees(what, last, s.lastHeld("KV_b", "$KV.b."))
			}
			step("puts", func() {
				for i := range 10 {
					put(fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i))
				}
			})
			step("changes", func() {
				for i := range 30 {
					put(fmt.Sprintf("k%d", i%3), fmt.Sprintf("changed %d", i))
				}
			})
			step("empty values", func() { put("k0", ""); put("empty", "") })
			step("an update", func() {
				must(kv.Update(ctx, "k9", []byte("updated"), must(kv.Get(ctx, "k9"))(t).Revision()))(t)
			})
			step("DEL", func() { check(t, kv.Delete(ctx, "k1")); check(t, kv.Delete(ctx, "never")) })
			step("PURGE", func() { check(t, kv.Purge(ctx, "k2")); check(t, kv.Purge(ctx, "k2")); check(t, kv.Purge(ctx, "not")) })
			step("back again", func() { put("k1", "back"); must(kv.Create(ctx, "k2", []byte("back")))(t) })
			step("a rollup that puts", func() { s.raw("$KV.b.k3", "rolled up", "Nats-Rollup", "sub") })
			step("a rollup that puts nothing", func() { s.raw("$KV.b.k3", "", "Nats-Rollup", "sub") })
			step("a rollup that deletes", func() { s.raw("$KV.b.k3", "", "Nats-Rollup", "sub", "KV-Operation", "DEL") })
			step("an operation unheard of", func() { s.raw("$KV.b.k4", "x", "KV-Operation", "ERASE") })
			step("an operation without a name", func() { s.raw("$KV.b.k4", "x", "KV-Operation", "") })
			step("markers", func() {
				for i, reason := range []string{"MaxAge", "Purge", "Remove", "Other"} {
					put(fmt.Sprintf("m%d", i), "v")
					s.raw(fmt.Sprintf("$KV.b.m%d", i), "", "Nats-Marker-Reason", reason)
				}
			})
			step("headers of several values", func() { s.raw("$KV.b.h", "v", "A", "1", "A", "2", "B", "", "A", "3", "nats-marker-reason", "MaxAge") })
			step("a large value", func() { put("large", strings.Repeat("v", 500<<10)) })
			p.follows("KV_b", "$KV.b.")
		})
	}
}

// TestKVOddSubjects publishes, below the bucket's prefix, subjects that no KV client writes. Each is a key.
func TestKVOddSubjects(t *testing.T) {
	s := newSite(t)
	s.kv(jetstream.KeyValueConfig{Bucket: "b", History: 2})
	keys := []string{"a=b", "a/b", "a.b.c", "/", "=", "-", "_", "ключ", "鍵.🔑", "$KV.b.k", "$JS.API", `"quoted"`, `back\slash`, "{json}", "<&>x", "a*b", "*a", "a>", ">>",
		"#", "%00", "\x01\x7f", "\xff", "a.\xc3\x28", strings.Repeat("long.", 200) + "key"}
	for _, key := range keys {
		s.raw("$KV.b."+key, "of "+key)
	}
	p := s.pair(source.Options{Bucket: "b"})
	p.follows("KV_b", "$KV.b.")
	if n := len(p.echo.table()); n != len(keys) {
		t.Errorf("%d rows of %d keys", n, len(keys))
	}
	for _, key := range keys[1:] {
		s.raw("$KV.b."+key, "", "KV-Operation", "DEL")
	}
	p.follows("KV_b", "$KV.b.")
	p.stop()
}

// TestKVOddAnchor restarts a fold whose newest message has a subject that is not UTF-8: the JetStream API, which is
// asked for that message, cannot say it as it is.
func TestKVOddAnchor(t *testing.T) {
	s := newSite(t)
	s.kv(jetstream.KeyValueConfig{Bucket: "b"})
	path := t.TempDir()
	for _, key := range []string{"\xff", "a\xff\xfe.b", "\u2028<&>"} {
		last := s.raw("$KV.b."+key, "v")
		for range 2 {
			r := start(t, path, store.Options{}, FoldOptions{Name: "f", Conn: s.nc, Source: source.Options{Bucket: "b"}, Wasm: testModule(t, "echo")})
			r.reach(last)
			eventually(t, "session", func() bool { return r.Status().Source.Sessions > 0 || r.Status().State == StateStopped })
			if st := r.Status(); st.State == StateStopped {
				t.Fatalf("after %q: %s", key, st.Reason)
			}
			r.stop()
		}
	}
}

// TestKVMarkers lets the server remove what is too old, by the key's own time to live and by the bucket's: it leaves a
// marker, and the row goes.
func TestKVMarkers(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	kv := s.kv(jetstream.KeyValueConfig{Bucket: "b", LimitMarkerTTL: time.Hour})
	p := s.pair(source.Options{Bucket: "b"})
	s.put(kv, "stays", []byte("v"))
	for i := range 5 {
		must(kv.Create(ctx, fmt.Sprintf("k%d", i), []byte("v"), jetstream.KeyTTL(time.Second)))(t)
	}
	must(kv.Create(ctx, "k5", []byte("v"), jetstream.KeyTTL(time.Second)))(t)
	s.put(kv, "k5", []byte("for ever"))
	s.put(kv, "purged", []byte("v"))
	check(t, kv.Purge(ctx, "purged", jetstream.PurgeTTL(time.Hour)))
	eventually(t, "markers", func() bool { return len(p.removed.table()) == 6 })
	p.follows("KV_b", "$KV.b.")
	if have, want := p.echo.table(), map[string]string{"stays": "v", "k5": "for ever"}; !maps.Equal(have, want) {
		t.Errorf("rows %q", have)
	}
	p.stop()

	aged := s.kv(jetstream.KeyValueConfig{Bucket: "aged", TTL: time.Second, LimitMarkerTTL: time.Hour})
	p = s.pair(source.Options{Bucket: "aged"})
	for i := range 5 {
		s.put(aged, fmt.Sprintf("k%d", i), []byte("v"))
	}
	eventually(t, "markers of age", func() bool { return len(p.removed.table()) == 5 })
	p.follows("KV_aged", "$KV.aged.")
	if have := p.echo.table(); len(have) > 0 {
		t.Errorf("rows %q", have)
	}
	p.stop()
}

// TestKVRollupAll folds what a rollup of the whole stream leaves.
func TestKVRollupAll(t *testing.T) {
	s := newSite(t)
	kv := s.kv(jetstream.KeyValueConfig{Bucket: "b"})
	for i := range 20 {
		s.put(kv, fmt.Sprintf("k%d", i), []byte("v"))
	}
	last := s.raw("$KV.b.k1", "all that is left", "Nats-Rollup", "all")
	p := s.pair(source.Options{Bucket: "b"})
	p.agrees("after it", last, map[string]lastMessage{"k1": {value: "all that is left"}})
	p.stop()
}

// TestKVElsewhere folds a bucket's mirrors and a bucket that is filled from others: their keys are the origin's.
func TestKVElsewhere(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	kv := s.kv(jetstream.KeyValueConfig{Bucket: "b", History: 4})
	s.kv(jetstream.KeyValueConfig{Bucket: "mirror", History: 4, Mirror: &jetstream.StreamSource{Name: "b"}})
	must(s.js.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_raw", Mirror: &jetstream.StreamSource{Name: "KV_b"}, AllowDirect: true, MirrorDirect: true}))(t)
	must(s.js.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_renamed", AllowDirect: true, Mirror: &jetstream.StreamSource{Name: "KV_b",
		SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "$KV.b.>", Destination: "$KV.renamed.>"}}}}))(t)
	s.kv(jetstream.KeyValueConfig{Bucket: "sourced", History: 4, Sources: []*jetstream.StreamSource{{Name: "b"}}})
	s.kv(jetstream.KeyValueConfig{Bucket: "below", History: 4, Sources: []*jetstream.StreamSource{{Name: "KV_b",
		SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "$KV.b.>", Destination: "$KV.below.from-b.>"}}}}})
	places := []struct{ bucket, prefix, keys string }{
		{"mirror", "$KV.b.", ""}, {"raw", "$KV.b.", ""}, {"renamed", "$KV.renamed.", ""}, {"sourced", "$KV.sourced.", ""}, {"below", "$KV.below.", "from-b."},
	}
	pairs := map[string]*pair{}
	for _, x := range places {
		pairs[x.bucket] = s.pair(source.Options{Bucket: x.bucket})
	}
	for i := range 20 {
		s.put(kv, fmt.Sprintf("k%d", i%8), fmt.Appendf(nil, "v%d", i))
	}
	check(t, kv.Delete(ctx, "k1"))
	check(t, kv.Purge(ctx, "k2"))
	s.raw("$KV.b.k3", "rolled up", "Nats-Rollup", "sub")
	last := s.put(kv, "last", nil)
	origin := s.lastHeld("KV_b", "$KV.b.")
	for _, x := range places {
		want := map[string]lastMessage{}
		for key, m := range origin {
			want[x.keys+key] = m
		}
		p := pairs[x.bucket]
		stream := must(s.js.Stream(ctx, "KV_"+x.bucket))(t)
		eventually(t, "message in "+x.bucket, func() bool {
			m, err := stream.GetLastMsgForSubject(ctx, x.prefix+x.keys+"last")
			return err == nil && m != nil
		})
		if end := must(stream.Info(ctx))(t).State.LastSeq; !strings.HasPrefix(x.prefix, "$KV.b.") || end == last {
			p.agrees(x.bucket, end, want)
			p.follows("KV_"+x.bucket, x.prefix)
		} else {
			t.Errorf("%s ends at %d, its origin at %d", x.bucket, end, last)
		}
		if st := p.echo.Status(); st.Live == 0 {
			t.Errorf("%s: %+v", x.bucket, st)
		}
		p.stop()
	}
}

// seqKey is the key of a record that is keyed by message.
func seqKey(seq uint64) string { return string(binary.BigEndian.AppendUint64(nil, seq)) }
