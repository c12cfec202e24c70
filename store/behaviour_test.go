package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestBehaviour runs testdata/*.txt. Its commands:
//
//	open NAME=all|latest …          a new store with these indexes
//	reopen                          close it and open it again
//	commit SEQ [now=] [stream=] [domain=] [raw]
//	  put SOURCE SEQ [expiry=] [INDEX:KEY=VALUE[@EXPIRY] …]
//	  remove SOURCE SEQ
//	  fail SOURCE SEQ [expiry=] CODE MESSAGE [keep]
//	                                prints the counts; with raw also what the Pebble batch holds
//	scan INDEX [prefix=] [start=] [end=] [after=KEY,SOURCE] [limit=] [reverse] [claimants] [latest]
//	get INDEX KEY [the same]
//	state, quarantine, points, check, dump
//
// A word with odd bytes is a Go string in quotes.
func TestBehaviour(t *testing.T) {
	runText(t, "testdata/*.txt", func(t *testing.T) func(*block) string {
		s := &stage{t: t}
		t.Cleanup(s.close)
		return s.run
	})
}

// A stage is the store that a text file speaks to.
type stage struct {
	t     *testing.T
	fs    *vfs.MemFS
	specs []IndexSpec
	d     *Dir
	db    *DB
	raw   []string // what the last batch held
}

func (s *stage) run(b *block) string {
	w := b.cmd()
	switch w[0] {
	case "open":
		s.close()
		s.fs, s.specs = vfs.NewMem(), nil
		for _, x := range w[1:] {
			name, collisions, _ := strings.Cut(x, "=")
			s.specs = append(s.specs, IndexSpec{name, Collisions(collisions)})
		}
		s.open()
		return ""
	case "reopen":
		s.close()
		s.open()
		return ""
	case "commit":
		return s.commit(b, w)
	case "scan", "get":
		return s.read(w)
	case "state":
		return s.state()
	case "quarantine":
		return s.quarantine()
	case "points":
		return s.points()
	case "check":
		if err := checkStore(s.db); err != nil {
			return brief(err)
		}
		return "clean"
	case "dump":
		return s.dump()
	}
	s.t.Fatalf("%s: no such command", b.pos)
	return ""
}

func (s *stage) open() {
	o := options(s.fs)
	o.apply = func(p *pebble.DB, w *pebble.Batch, opt *pebble.WriteOptions) error {
		s.raw = nil
		for r := w.Reader(); ; {
			kind, k, v, ok, err := r.Next()
			if !ok || err != nil {
				return p.Apply(w, opt)
			}
			op := strings.ToLower(kind.String()) + " " + s.key(k)
			if kind == pebble.InternalKeyKindSet && k[0] == kindRow {
				op += fmt.Sprintf(" %q", v)
			}
			s.raw = append(s.raw, op)
		}
	}
	var err error
	if s.d, s.db, err = openStore(dataDir, o, s.specs); err != nil {
		s.t.Fatal(err)
	}
}

// close closes the store, which must be whole whatever was done to it.
func (s *stage) close() {
	if s.db == nil {
		return
	}
	check(s.t, s.db)
	if err := closeStore(s.d, s.db); err != nil {
		s.t.Error(err)
	}
	s.db = nil
}

func (s *stage) commit(b *block, w []string) string {
	f := flags(w[2:])
	pos := Position{Stream: "S", Seq: uint64(number(w[1])), Domain: f["domain"], Created: 7}
	if f["stream"] != "" {
		pos.Stream = f["stream"]
	}
	now := int64(0)
	if f["now"] != "" {
		now = number(f["now"])
	}
	batch := NewBatch(s.specs)
	for _, line := range b.input[1:] {
		if err := s.change(batch, words(line)); err != nil {
			return brief(err)
		}
	}
	done, err := s.db.Commit(batch, pos, now)
	if err != nil {
		return brief(err)
	}
	out := []string{fmt.Sprintf("written %d, retracted %d, unchanged %d, expired %d", done.Written, done.Retracted, done.Unchanged, done.Expired)}
	if _, ok := f["raw"]; ok {
		out = append(out, s.raw...)
	}
	return strings.Join(out, "\n")
}

func (s *stage) change(b *Batch, w []string) error {
	source, seq, expiry := []byte(bare(w[1])), uint64(number(w[2])), int64(0)
	w, kind := w[3:], w[0]
	if len(w) > 0 && strings.HasPrefix(w[0], "expiry=") {
		expiry, w = number(w[0][len("expiry="):]), w[1:]
	}
	switch kind {
	case "remove":
		b.Remove(source, seq, int64(seq))
		return nil
	case "fail":
		b.Fail(source, seq, int64(seq), expiry, Failure{Code: w[0], Message: bare(w[1])})
		if len(w) > 2 && w[2] == "keep" {
			b.Keep()
		}
		return nil
	}
	b.Put(source, seq, int64(seq), expiry)
	for _, e := range w {
		index, e, _ := strings.Cut(e, ":")
		key, e := quoted(e, "=")
		value, e := quoted(e[1:], "@")
		at := int64(0)
		if e != "" {
			at = number(e[1:])
		}
		if err := b.Row(uint16(s.index(index)), []byte(key), []byte(value), at); err != nil {
			return err
		}
	}
	return b.End()
}

func (s *stage) index(name string) int {
	for i, x := range s.specs {
		if x.Name == name {
			return i
		}
	}
	return len(s.specs)
}

func (s *stage) read(w []string) string {
	index, rest := s.index(w[1]), w[2:]
	var key []byte
	if w[0] == "get" {
		key, rest = []byte(bare(w[2])), w[3:]
	}
	f := flags(rest)
	r := Range{Prefix: []byte(bare(f["prefix"])), Start: []byte(bare(f["start"])), End: []byte(bare(f["end"]))}
	_, r.Reverse = f["reverse"]
	_, r.Claimants = f["claimants"]
	_, r.Latest = f["latest"]
	if after, ok := f["after"]; ok {
		k, source := quoted(after, ",")
		r.After = &Mark{Key: []byte(k), Source: []byte(bare(source[1:]))}
	}
	limit := int64(1000)
	if f["limit"] != "" {
		limit = number(f["limit"])
	}
	v, err := s.db.View()
	if err != nil {
		return brief(err)
	}
	defer v.Close()
	var out []string
	each := func(r Row) bool {
		x := fmt.Sprintf("%q of %q = %q", r.Key, r.Source, r.Value)
		if r.Seq != 0 {
			x += fmt.Sprintf(" seq %d", r.Seq)
		}
		if r.Expiry != 0 {
			x += fmt.Sprintf(" until %d", r.Expiry)
		}
		out = append(out, x)
		return int64(len(out)) < limit
	}
	if w[0] == "get" {
		err = v.Get(index, key, r, each)
	} else {
		err = v.Scan(index, r, each)
	}
	if err != nil {
		return brief(err)
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, "\n")
}

func (s *stage) state() string {
	x := s.db.State()
	out := fmt.Sprintf("seq %d, expired to %d, live %d, quarantined %d, expiring %d\n", x.Position().Seq, x.ExpiredTo, x.Live, x.Quarantined, x.Expiring)
	if x.Kept > 0 {
		out += fmt.Sprintf("kept %d\n", x.Kept)
	}
	for i, n := range x.Indexes {
		out += fmt.Sprintf("%s: %d rows, %s\n", s.specs[i].Name, n.Rows, n.Digest)
	}
	return out
}

func (s *stage) quarantine() string {
	v, err := s.db.View()
	if err != nil {
		return brief(err)
	}
	defer v.Close()
	out := ""
	err = v.Quarantine(nil, func(q Quarantined) bool {
		out += fmt.Sprintf("%q at %d: %s %s", q.Source, q.Seq, q.Code, q.Message)
		if q.Kept != 0 {
			out += fmt.Sprintf(", rows of %d", q.Kept)
		}
		out += "\n"
		return true
	})
	if err != nil {
		return brief(err)
	}
	if out == "" {
		return "nothing"
	}
	return out
}

// points prints each point, or of many the first and the last.
func (s *stage) points() string {
	v, err := s.db.View()
	if err != nil {
		return brief(err)
	}
	defer v.Close()
	all, err := v.Points()
	if err != nil {
		return brief(err)
	}
	out := fmt.Sprintf("%d points\n", len(all))
	for i, p := range all {
		if len(all) > 4 && i > 0 && i < len(all)-1 {
			continue
		}
		out += fmt.Sprintf("%d (%d × 65536): incarnation %d, expired to %d, live %d", p.Seq, p.Seq/PointEvery, p.Created, p.ExpiredTo, p.Live)
		for i, x := range p.Indexes {
			out += fmt.Sprintf(", %s %d %.8s", s.specs[i].Name, x.Rows, x.Digest)
		}
		out += "\n"
	}
	return out
}

func (s *stage) dump() string {
	it, err := s.db.pebble.NewIter(nil)
	if err != nil {
		return brief(err)
	}
	out := ""
	for ok := it.First(); ok; ok = it.Next() {
		out += s.key(it.Key())
		if v := it.Value(); len(v) > 0 && it.Key()[0] != kindMeta {
			out += fmt.Sprintf(" -> %q", v)
		}
		out += "\n"
	}
	if err := it.Close(); err != nil {
		return brief(err)
	}
	return out
}

// key names the kind of a key.
func (s *stage) key(k []byte) string {
	names := map[byte]string{kindMeta: "meta", kindPoint: "point", kindRow: "row", kindLineage: "lineage", kindQuarantine: "quarantine", kindExpiry: "expiry"}
	return fmt.Sprintf("%s %q", names[k[0]], k[1:])
}
