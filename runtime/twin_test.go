package runtime

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/zeebo/xxh3"

	"github.com/foldrun/foldrun/store"
)

// The twin of testdata/modules/model/plugin.c: what a fold of that module must hold, worked out in Go from the comment there
// and from what the server says is live. Nothing here has seen what a test sent, nor uses what the fold runs on.

// record is the live message of one source key.
type record struct {
	key   string
	value string
	seq   uint64
	time  int64
	put   bool // else a delete or purge marker
}

// live reads back the last message of each key of a bucket.
func (s *site) live(bucket string) []record {
	s.t.Helper()
	return s.readBack(bucket, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
}

// readBack reads the messages of a bucket that the policy of c names.
func (s *site) readBack(bucket string, config jetstream.ConsumerConfig) []record {
	s.t.Helper()
	ctx := s.t.Context()
	config.AckPolicy, config.FilterSubject, config.MemoryStorage = jetstream.AckNonePolicy, "$KV."+bucket+".>", true
	c := must(s.js.CreateConsumer(ctx, "KV_"+bucket, config))(s.t)
	name := c.CachedInfo().Name
	defer s.js.DeleteConsumer(ctx, "KV_"+bucket, name)
	if c.CachedInfo().NumPending == 0 {
		return nil
	}
	messages := must(c.Messages())(s.t)
	defer messages.Stop()
	var all []record
	for {
		m := must(messages.Next(jetstream.NextContext(ctx)))(s.t)
		meta := must(m.Metadata())(s.t)
		all = append(all, record{
			key: strings.TrimPrefix(m.Subject(), "$KV."+bucket+"."), value: string(m.Data()), seq: meta.Sequence.Stream,
			time: meta.Timestamp.UnixNano(), put: m.Headers().Get("KV-Operation") == "",
		})
		if meta.NumPending == 0 {
			return all
		}
	}
}

// entry is what one record yields.
type entry struct {
	index    int // 0 is a, 1 is b
	key      string
	value    string
	lifetime int64 // ns, 0 = for ever
}

// verdict is what becomes of one record: entries, or a failure.
type verdict struct {
	entries []entry
	failed  *store.Failure
}

// limits are those of one record.
type limits struct{ entries, key, value, bytes int }

var defaultLimits = limits{1024, 16 << 10, 1<<20 - 4<<10, 4 << 20}

// within turns a verdict that breaks a limit into a failure.
func (l limits) within(v verdict) verdict {
	fail := func(code string) verdict { return verdict{failed: &store.Failure{Code: code}} }
	if len(v.entries) > l.entries {
		return fail("too_many_entries")
	}
	sum := 0
	for _, e := range v.entries {
		sum += len(e.key) + len(e.value)
		switch {
		case len(e.key) > l.key:
			return fail("key_too_long")
		case len(e.value) > l.value:
			return fail("value_too_long")
		case sum > l.bytes:
			return fail("too_many_bytes")
		}
	}
	return v
}

// transform reads a value as the grammar says.
func transform(key, value string) verdict {
	if value == "" {
		return verdict{}
	}
	switch rest := value[1:]; value[0] {
	case 'F':
		return verdict{}
	case 'E':
		f := &store.Failure{Code: "module"}
		if rest != "" {
			f.Number, f.Message = uint16(rest[0]), strings.ToValidUTF8(rest[1:], "\ufffd") // a text, as it is shown
		}
		return verdict{failed: f}
	case 'D':
		return verdict{entries: []entry{{0, key, rest, 0}}}
	case 'X':
		return verdict{failed: &store.Failure{Code: "duplicate_entry"}}
	case 'T':
		return verdict{failed: &store.Failure{Code: "trap"}}
	case 'N':
		n, _ := digits(rest)
		var v verdict
		for i := range n {
			v.entries = append(v.entries, entry{0, fmt.Sprintf("n/%08d", i), key, 0})
		}
		return v
	case 'K':
		return verdict{entries: []entry{{0, rest, key, 0}}}
	case 'V':
		return verdict{entries: []entry{{0, key, value, 0}}}
	case 'L':
		ttl, rest := digits(rest)
		return commands(strings.TrimPrefix(rest, ":"), ttl)
	}
	return commands(value, 0)
}

func digits(s string) (n int64, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	n, _ = strconv.ParseInt(s[:len(s)-len(rest)], 10, 64)
	return n, rest
}

func commands(text string, ttl int64) verdict {
	var v verdict
	said := map[[2]string]string{}
	for _, command := range strings.Split(text, ";") {
		if command == "" {
			continue
		}
		index := strings.IndexByte("ab", command[0])
		if index < 0 {
			return verdict{failed: &store.Failure{Code: "module", Number: 1, Message: strings.ToValidUTF8("unknown command: "+command, "\ufffd")}}
		}
		name, value, _ := strings.Cut(command[1:], "=")
		before, twice := said[[2]string{command[:1], name}]
		switch {
		case twice && before != value && v.failed == nil:
			v.failed = &store.Failure{Code: "duplicate_entry"}
		case !twice:
			v.entries = append(v.entries, entry{index, name, value, ttl})
		}
		said[[2]string{command[:1], name}] = value
	}
	if v.failed != nil {
		v.entries = nil
	}
	return v
}

// rowID names a row as the store keeps it.
type rowID struct {
	index       int
	key, source string
}

func (id rowID) String() string {
	return fmt.Sprintf("%c %.40q of %q", "ab"[id.index], id.key, id.source)
}

// wanted is all that a fold must hold.
type wanted struct {
	seq      uint64
	live     uint64
	expiring uint64
	rows     map[rowID]store.Row // without key and source
	held     map[string]held
	kept     map[string]uint64 // with keep_last_good: the seq of the record whose rows a source key in quarantine keeps
	counts   [2]uint64
	digests  [2]store.Digest
}

type held struct {
	record
	store.Failure
}

// fold transforms every live record, at the fold's clock.
func fold(records []record, seq uint64, clock int64, l limits) *wanted {
	w := &wanted{seq: seq, rows: map[rowID]store.Row{}, held: map[string]held{}}
	for _, r := range records {
		if !r.put {
			continue
		}
		w.live++
		v := l.within(transform(r.key, r.value))
		if v.failed != nil {
			w.held[r.key] = held{r, *v.failed}
			continue
		}
		w.yields(r, v.entries, clock)
	}
	return w
}

// yields adds the rows of a record, and returns how many there are.
func (w *wanted) yields(r record, entries []entry, clock int64) (n int) {
	expires := false
	for _, e := range entries {
		row := store.Row{Value: []byte(e.value)}
		if e.lifetime > 0 {
			row.Expiry = r.time + e.lifetime
		}
		if row.Expiry != 0 && row.Expiry <= clock {
			continue
		}
		if e.index == 1 {
			row.Seq = r.seq
		}
		expires = expires || row.Expiry != 0
		w.rows[rowID{e.index, e.key, r.key}] = row
		w.counts[e.index]++
		add(&w.digests[e.index], string("ab"[e.index]), e.key, r.key, e.value, row.Expiry)
		n++
	}
	if expires {
		w.expiring++
	}
	return n
}

// add adds the hash of one row to a digest, as store.Hash says that it is made.
func add(d *store.Digest, index, key, source, value string, expiry int64) {
	var b bytes.Buffer
	for _, part := range []any{uint32(len(index)), uint32(len(key)), uint32(len(source)), expiry,
		[]byte(index), []byte(key), []byte(source), []byte(value)} {
		binary.Write(&b, binary.LittleEndian, part)
	}
	h, carry := xxh3.Hash128(b.Bytes()), uint64(0)
	d.Lo, carry = bits.Add64(d.Lo, h.Lo, 0)
	d.Hi, _ = bits.Add64(d.Hi, h.Hi, carry)
}
