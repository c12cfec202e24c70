package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A step is one commit of a history.
type step struct {
	pos    Position
	now    int64
	maxAge int64 // the stream's
	retry  bool  // see Batch.Retry
	more   bool  // see Batch.More
	budget *Budget
	events []event
}

// An event is what one update does to its source key.
type event struct {
	kind    changeKind
	source  string
	seq     uint64
	time    int64
	expiry  int64
	keeps   bool // it failed, and its source key keeps its rows
	entries []entry
}

type entry struct {
	index      uint16
	key, value string
	expiry     int64
}

// commitStep commits a step.
func commitStep(db *DB, s step) (Committed, error) {
	b := NewBatch(db.Indexes())
	b.MaxAge, b.Retry, b.More, b.Budget = s.maxAge, s.retry, s.more, s.budget
	for _, e := range s.events {
		source := []byte(e.source)
		switch e.kind {
		case changeRemove:
			b.Remove(source, e.seq, e.time)
		case changeRemoveIf:
			b.RemoveIf(source, e.seq)
		case changeFail:
			b.Fail(source, e.seq, e.time, e.expiry, Failure{Code: "trap", Message: "at " + e.source, Module: "m", Update: source})
			if e.keeps {
				b.Keep()
			}
			if db.id.KeepSource && !s.retry {
				b.Record(e.raw())
			}
		default:
			b.Put(source, e.seq, e.time, e.expiry)
			if db.id.KeepSource && !s.retry {
				b.Record(e.raw())
			}
			for _, x := range e.entries {
				if err := b.Row(x.index, []byte(x.key), []byte(x.value), x.expiry); err != nil {
					return Committed{}, err
				}
			}
			if err := b.End(); err != nil {
				return Committed{}, err
			}
		}
	}
	return db.Commit(b, s.pos, s.now)
}

// raw is the record of an event, as a caller might encode it.
func (e *event) raw() []byte {
	return fmt.Appendf(nil, "record %d of %s, %v", e.seq, e.source, e.entries)
}

// A world is what a store must hold: plain maps, under rules written apart from the store's.
type world struct {
	specs   []IndexSpec
	pos     Position
	clock   int64
	maxAge  int64
	swept   int64
	records map[string]record
}

type record struct {
	raw     string
	seq     uint64
	time    int64
	expiry  int64
	failed  bool
	kept    uint64 // the seq of the record that the entries are of, if it is another
	entries map[place]entry
}

// rowSeq is what the rows carry.
func (r record) rowSeq() uint64 {
	if r.kept != 0 {
		return r.kept
	}
	return r.seq
}

// held is what the update takes in quarantine: see appendFailure.
func (r record) held(source string) uint64 {
	if !r.failed {
		return 0
	}
	return uint64(8 + 8 + len("-trap") + 1 + len("-at -m-") + 2*len(source))
}

type place struct {
	index uint16
	key   string
}

func newWorld(specs []IndexSpec) *world { return &world{specs: specs, records: map[string]record{}} }

// after returns the world that a step leaves, and what the store must say that it did.
func (w *world) after(s step) (*world, Committed) {
	n := &world{specs: w.specs, pos: s.pos, clock: max(w.clock, s.now), maxAge: s.maxAge, records: maps.Clone(w.records)}
	past := func(at int64) bool { return at != 0 && at <= n.clock }
	gone := func(r record) bool {
		return r.expiry != Never && (past(r.expiry) || n.maxAge > 0 && r.time <= n.clock-n.maxAge)
	}
	var done Committed
	for _, r := range w.records {
		done.Expired += int(count(past(r.due()) || gone(r)))
	}
	touched := map[string]bool{}
	for _, e := range s.events {
		was := n.records[e.source]
		if s.retry && (!was.failed || was.seq != e.seq || was.time != e.time) {
			done.Passed++
			continue
		}
		if e.kind == changeRemoveIf {
			if was.seq == e.seq && e.seq != 0 {
				delete(n.records, e.source)
				done.Removed++
			}
			continue
		}
		delete(n.records, e.source)
		if e.kind == changeRemove {
			continue
		}
		r := record{raw: string(e.raw()), seq: e.seq, time: e.time, expiry: e.expiry, failed: e.kind == changeFail, entries: map[place]entry{}}
		if s.retry {
			r.expiry, r.raw = was.expiry, was.raw
		}
		if r.failed {
			done.Failed += int(count(!gone(r)))
			stood := was.expiry == Never || (was.expiry == 0 || was.expiry > e.time) && (n.maxAge == 0 || was.time > e.time-n.maxAge)
			if e.keeps && stood {
				r.kept, r.entries = was.rowSeq(), was.entries
			}
			n.records[e.source] = r
			continue
		}
		touched[e.source] = true
		for _, x := range e.entries {
			r.entries[place{x.index, x.key}] = x
		}
		n.records[e.source] = r
	}
	for source, r := range n.records {
		if gone(r) {
			delete(n.records, source)
			continue
		}
		r.entries = maps.Clone(r.entries)
		maps.DeleteFunc(r.entries, func(_ place, x entry) bool { return past(x.expiry) })
		if len(r.entries) == 0 {
			r.kept = 0
		}
		n.records[source] = r
	}
	for source, r := range w.records {
		for p := range r.entries {
			if _, ok := n.records[source].entries[p]; !ok {
				done.Retracted++
			}
		}
	}
	for source := range touched {
		for p, x := range n.records[source].entries {
			if was, ok := w.records[source].entries[p]; ok && was == x && w.specs[p.index].Collisions == All {
				done.Unchanged++
			} else {
				done.Written++
			}
		}
	}
	return n, done
}

func (r record) due() int64 {
	at := r.expiry
	if at == Never {
		at = 0
	}
	for _, x := range r.entries {
		if x.expiry != 0 && (at == 0 || x.expiry < at) {
			at = x.expiry
		}
	}
	return at
}

// fact is one row as text, so that a difference can be printed.
func fact(key, source, value string, seq, kept uint64, expiry int64) string {
	return fmt.Sprintf("%q of %q = %q seq %d kept %d expiry %d", key, source, value, seq, kept, expiry)
}

// rows returns the rows of an index in the order of a scan, as a range has its claimants.
func (w *world) rows(index int, rg Range) (facts []string) {
	type claim struct {
		key, source string
		seq         uint64
		entry
	}
	var claims []claim
	newest := map[string]uint64{}
	for source, r := range w.records {
		for p, x := range r.entries {
			if int(p.index) == index {
				claims = append(claims, claim{p.key, source, r.rowSeq(), x})
				newest[p.key] = max(newest[p.key], r.rowSeq())
			}
		}
	}
	seqs := rg.Latest && !rg.Claimants || w.specs[index].Collisions == Latest
	slices.SortFunc(claims, func(x, y claim) int {
		if c := strings.Compare(x.key, y.key); c != 0 {
			return c
		}
		return strings.Compare(x.source, y.source)
	})
	for i, c := range claims {
		if seqs && !rg.Claimants && c.seq != newest[c.key] {
			continue
		}
		if !seqs {
			claims[i].seq = 0
		}
		facts = append(facts, fact(c.key, c.source, c.value, claims[i].seq, w.records[c.source].kept, c.entry.expiry))
	}
	return facts
}

// state returns what the store must know of itself, its digests summed anew.
func (w *world) state() State {
	s := State{ExpiredTo: w.clock, MaxAge: w.maxAge, Swept: w.swept, Indexes: make([]IndexState, len(w.specs))}
	if w.pos.Seq > 0 {
		s.Positions = []Position{w.pos}
	}
	for source, r := range w.records {
		s.Live++
		s.Quarantined += count(r.failed)
		s.Held += r.held(source)
		s.Kept += count(r.kept != 0)
		s.Expiring += count(r.due() != 0)
		for p, x := range r.entries {
			i := &s.Indexes[p.index]
			i.Rows++
			i.Digest = i.Digest.add(plainHash(w.specs[p.index].Name, p.key, source, x.value, x.expiry))
		}
	}
	return s
}
