package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Problem is one disagreement that Check found.
type Problem struct {
	Kind   string // "row", "lineage", "quarantine", "record", "expiry", "aging", "state", "key", or "damage" for a file that cannot be read
	Index  string // the index's name, where one is concerned
	Key    []byte // the derived key, where one is concerned
	Source []byte // the source key, where one is concerned
	Text   string
}

func (p Problem) String() string {
	s := p.Kind
	if p.Index != "" {
		s += fmt.Sprintf(" %s %q", p.Index, p.Key)
	}
	if p.Source != nil {
		s += fmt.Sprintf(" of source key %q", p.Source)
	}
	return s + ": " + p.Text
}

// Report is what Check found.
type Report struct {
	State    State
	Rows     uint64
	Lineages uint64
	Found    uint64    // problems in all
	Problems []Problem // the first MaxProblems of them
}

// MaxProblems bounds the problems that a report lists.
const MaxProblems = 100

// Check reads the whole store from one snapshot and reports every disagreement of rows, lineages, quarantine, records, expiry
// and aging queue, counts and digests. It returns an error only when it could not read.
//
// One pass over everything sums, from the rows and from the lineages apart, a hash of each (row, owner) pair; where
// the sums agree, the sets do. Only where they differ a second pass looks each pair up and names what is wrong, so a
// clean store costs two sequential scans and constant memory.
func (db *DB) Check() (*Report, error) {
	c := checker{report: &Report{}, indexes: make([]IndexState, len(db.specs))}
	v, err := db.alone(func() pebble.Reader { return db.pebble.NewSnapshot() }) // for long, and with the state that is on disk
	if IsDamage(err) {
		c.problem(Problem{Kind: "damage", Text: plain(err).Error()})
		return c.report, nil
	}
	if err != nil {
		return nil, err
	}
	defer v.Close()
	c.v, c.report.State = v, *v.state
	for _, pass := range []func() error{c.rows, c.lineages, c.quarantine, c.records, c.queues, c.strangers, c.sums, c.points} {
		if err := pass(); err != nil {
			if !IsDamage(err) {
				return nil, fmt.Errorf("store: check: %w", err)
			}
			db.setDamage(plain(err))
			c.problem(Problem{Kind: "damage", Text: plain(err).Error()})
			return c.report, nil
		}
	}
	if err := db.Damage(); err != nil && c.report.Found == 0 {
		c.problem(Problem{Kind: "damage", Text: err.Error()})
	}
	return c.report, nil
}

type checker struct {
	v       *View
	report  *Report
	indexes []IndexState // counted from the rows
	live    uint64
	held    uint64 // bytes of quarantine
	kept    uint64 // lineages whose rows are of an older record
	queued  uint64 // lineages with something that expires
	aging   uint64 // lineages of records that age

	// Sums over pairs, from either side.
	rowPairs, ownedPairs     Digest
	heldPairs, heldKeys      Digest
	queuedPairs, expiryPairs Digest
	agesPairs, agingPairs    Digest
	livePairs, recordPairs   Digest
	heldCount, expiryCount   uint64
	agingCount               uint64

	buf, key, seen, scratch []byte
}

func (c *checker) problem(p Problem) {
	p.Key, p.Source = bytes.Clone(p.Key), bytes.Clone(p.Source)
	c.report.Found++
	if len(c.report.Problems) < MaxProblems {
		c.report.Problems = append(c.report.Problems, p)
	}
}

// each calls f for every key of a kind.
func (c *checker) each(kind byte, f func(k, v []byte) error) error {
	return c.between([]byte{kind}, []byte{kind + 1}, f)
}

// between calls f for every key >= from and < to; nil = no bound.
func (c *checker) between(from, to []byte, f func(k, v []byte) error) error {
	it, err := c.v.iter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var v []byte
		if v, err = it.ValueAndErr(); err == nil {
			err = f(it.Key(), v)
		}
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return err
}

// pair hashes a row as its key, its owner and its content; seq counts only where rows carry it.
func (c *checker) pair(index uint16, key, source []byte, h Hash, expiry int64, seq uint64) Hash {
	c.buf = appendHash(binary.BigEndian.AppendUint16(c.buf[:0], index), h)
	c.buf = appendU64(appendI64(c.buf, expiry), seq)
	c.buf = append(appendBytes(c.buf, key), source...)
	return c.hash("", nil, nil, c.buf, 0)
}

// mark hashes a source key with a number: a seq or a time.
func (c *checker) mark(source []byte, n uint64) Hash { return c.hash("", nil, source, nil, int64(n)) }

// entry hashes an entry of quarantine: its source key, its update's seq and time, and its size.
func (c *checker) entry(source []byte, seq uint64, time int64, size uint64) Hash {
	c.buf = appendU64(appendI64(c.buf[:0], time), size)
	return c.hash("", nil, source, c.buf, int64(seq))
}

// hash is rowHash with the checker's scratch.
func (c *checker) hash(index string, key, source, value []byte, expiry int64) (h Hash) {
	h, c.scratch = rowHash(c.scratch, index, key, source, value, expiry)
	return h
}

// rows counts and digests the rows.
func (c *checker) rows() error {
	return c.each(kindRow, func(k, v []byte) error {
		c.report.Rows++
		index, key, source, ok := splitRowKey(k, c.key[:0])
		if !ok || int(index) >= len(c.indexes) {
			c.problem(Problem{Kind: "key", Text: fmt.Sprintf("row key %x is malformed", k)})
			return nil
		}
		c.key = key
		spec := c.v.db.specs[index]
		value, expiry, seq, err := spec.split(v)
		if err != nil {
			c.problem(Problem{Kind: "row", Index: spec.Name, Key: key, Source: source, Text: err.Error()})
			return nil
		}
		if expiry != 0 && expiry <= c.v.state.ExpiredTo {
			c.problem(Problem{Kind: "row", Index: spec.Name, Key: key, Source: source, Text: "stands although it expired"})
		}
		h := c.hash(spec.Name, key, source, value, expiry)
		c.indexes[index].added(h)
		c.rowPairs = c.rowPairs.add(c.pair(index, key, source, h, expiry, seq))
		return nil
	})
}

// split takes the value of a row of the index apart.
func (x *IndexSpec) split(v []byte) (value []byte, expiry int64, seq uint64, err error) {
	value, expiry, seq, err = splitRowValue(v)
	if err == nil && (v[0]&rowSeq != 0) != (x.Collisions == Latest) {
		err = errFlags
	}
	return value, expiry, seq, err
}

// lineages sums what the lineages say they own.
func (c *checker) lineages() error {
	var l lineage
	return c.each(kindLineage, func(k, v []byte) error {
		c.report.Lineages++
		source := k[1:]
		if err := l.decode(v); err != nil {
			c.problem(Problem{Kind: "lineage", Source: source, Text: err.Error()})
			return nil
		}
		c.live++
		if c.v.db.id.KeepSource {
			c.livePairs = c.livePairs.add(c.entry(source, l.seq, l.time, 0))
		}
		if l.flags&lineageQuarantined != 0 {
			c.heldPairs = c.heldPairs.add(c.entry(source, l.seq, l.time, l.held))
			if (l.kept != 0) != (len(l.rows) > 0) {
				c.problem(Problem{Kind: "lineage", Source: source, Text: "its update is in quarantine, and it does not say whose its rows are"})
			}
		}
		c.kept += count(l.kept != 0)
		if at := l.due(); at != 0 {
			c.queued++
			c.queuedPairs = c.queuedPairs.add(c.mark(source, uint64(at)))
		}
		switch {
		case l.flags&lineageAges != 0:
			c.aging++
			c.agesPairs = c.agesPairs.add(c.mark(source, uint64(l.time)))
		case l.flags&lineageStays == 0 && c.v.state.MaxAge > 0:
			c.problem(Problem{Kind: "lineage", Source: source, Text: "the stream has a MaxAge, and it neither ages nor stays"})
		}
		if seq := max(c.v.state.Position().Seq, c.v.state.Rewound); max(l.seq, l.kept) > seq {
			c.problem(Problem{Kind: "lineage", Source: source, Text: fmt.Sprintf("seq %d is beyond the cursor %d", max(l.seq, l.kept), seq)})
		}
		for i := range l.rows {
			o := &l.rows[i]
			if int(o.index) >= len(c.indexes) || i > 0 && !before(&l.rows[i-1], o) {
				c.problem(Problem{Kind: "lineage", Source: source, Text: "its rows are out of order or of no index"})
				continue
			}
			c.ownedPairs = c.ownedPairs.add(c.pair(o.index, o.key, source, o.hash, o.expiry, c.seqOf(o.index, l.rowSeq())))
		}
		return nil
	})
}

// seqOf returns the seq that a row of an index carries.
func (c *checker) seqOf(index uint16, seq uint64) uint64 {
	if c.v.db.specs[index].Collisions == Latest {
		return seq
	}
	return 0
}

func (c *checker) quarantine() error {
	return c.each(kindQuarantine, func(k, v []byte) error {
		var q Quarantined
		if err := q.decode(v); err != nil {
			c.problem(Problem{Kind: "quarantine", Source: k[1:], Text: err.Error()})
			return nil
		}
		c.heldCount++
		c.held += uint64(len(v))
		c.heldKeys = c.heldKeys.add(c.entry(k[1:], q.Seq, q.Time, uint64(len(v))))
		return nil
	})
}

// queues sums the expiry and the aging queue.
func (c *checker) queues() error {
	s := c.v.state
	if err := c.queue(kindExpiry, "expiry", s.ExpiredTo, &c.expiryCount, &c.expiryPairs); err != nil {
		return err
	}
	return c.queue(kindAging, "aging", s.agedTo(), &c.agingCount, &c.agingPairs)
}

func (c *checker) queue(kind byte, name string, gone int64, n *uint64, pairs *Digest) error {
	return c.each(kind, func(k, _ []byte) error {
		if len(k) < expiryHead {
			c.problem(Problem{Kind: "key", Text: fmt.Sprintf("%s key %x is malformed", name, k)})
			return nil
		}
		at := binary.BigEndian.Uint64(k[1:])
		*n++
		*pairs = pairs.add(c.mark(k[expiryHead:], at))
		if int64(at) <= gone {
			c.problem(Problem{Kind: name, Source: k[expiryHead:], Text: "was due and is still queued"})
		}
		return nil
	})
}

// strangers names keys that this format does not have.
func (c *checker) strangers() error {
	var from []byte
	for _, kind := range []byte{kindMeta, kindPoint, kindRow, kindLineage, kindQuarantine, kindExpiry, kindAging, kindRecord} {
		if err := c.between(from, []byte{kind}, c.stranger); err != nil {
			return err
		}
		from = []byte{kind + 1}
	}
	return errors.Join(c.between(from, nil, c.stranger), c.each(kindMeta, func(k, v []byte) error {
		for _, known := range [][]byte{keyFormat, keyIdentity, keyBuild, keyLimits, keyState} {
			if bytes.Equal(k, known) {
				return nil
			}
		}
		return c.stranger(k, v)
	}))
}

func (c *checker) stranger(k, _ []byte) error {
	c.problem(Problem{Kind: "key", Text: fmt.Sprintf("%x is of no kind that this format has", k)})
	return nil
}

// points checks that the kept points are readable, of the right shape and not beyond the cursor.
func (c *checker) points() error {
	kept := 0
	err := c.each(kindPoint, func(k, v []byte) error {
		var p Point
		kept++
		err := p.decode(k[1:], v)
		if err == nil && (p.Seq == 0 || p.Seq%PointEvery != 0 || p.Seq > c.v.state.Position().Seq || len(p.Indexes) != len(c.indexes)) {
			err = errors.New("it is of no place that the cursor passed")
		}
		if err != nil {
			c.problem(Problem{Kind: "state", Text: fmt.Sprintf("point %x: %v", k[1:], err)})
		}
		return nil
	})
	if err == nil && kept > KeptPoints {
		c.problem(Problem{Kind: "state", Text: fmt.Sprintf("%d points are kept, more than %d", kept, KeptPoints)})
	}
	return err
}
