package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// This file is Check's second pass: where two sums differ, it names the keys that make them differ.

// sums compares what was counted with the state, and the two sides of each pair.
func (c *checker) sums() error {
	s := c.v.state
	if len(s.Indexes) != len(c.indexes) {
		c.problem(Problem{Kind: "state", Text: fmt.Sprintf("the fold has %d indexes, the state says %d", len(c.indexes), len(s.Indexes))})
	}
	for i, x := range c.indexes {
		if i < len(s.Indexes) && x != s.Indexes[i] {
			c.problem(Problem{Kind: "state", Text: fmt.Sprintf("index %s has %d rows with digest %s, the state says %d with %s",
				c.v.db.specs[i].Name, x.Rows, x.Digest, s.Indexes[i].Rows, s.Indexes[i].Digest)})
		}
	}
	c.counts("live source keys", c.live, s.Live)
	c.counts("source keys in quarantine", c.heldCount, s.Quarantined)
	c.counts("bytes in quarantine", c.held, s.Held)
	c.counts("source keys with rows of an older record", c.kept, s.Kept)
	c.counts("source keys in the expiry queue", c.expiryCount, s.Expiring)
	c.counts("source keys in the aging queue", c.agingCount, s.Aging)
	if c.rowPairs != c.ownedPairs {
		if err := errors.Join(c.orphans(), c.missing()); err != nil {
			return err
		}
	}
	if c.heldPairs != c.heldKeys {
		if err := c.nameHeld(); err != nil {
			return err
		}
	}
	if c.queuedPairs != c.expiryPairs {
		if err := c.nameQueued(kindExpiry, "expiry", (*lineage).due); err != nil {
			return err
		}
	}
	if c.agesPairs != c.agingPairs {
		if err := c.nameQueued(kindAging, "aging", (*lineage).agesFrom); err != nil {
			return err
		}
	}
	if c.livePairs != c.recordPairs {
		if err := c.nameRecords(); err != nil {
			return err
		}
	}
	differ := c.livePairs != c.recordPairs || c.rowPairs != c.ownedPairs || c.heldPairs != c.heldKeys || c.queuedPairs != c.expiryPairs || c.agesPairs != c.agingPairs
	if differ && c.report.Found == 0 {
		c.problem(Problem{Kind: "state", Text: "lineages and what they own sum up differently, and no key shows where"})
	}
	return nil
}

func (c *checker) counts(what string, is, said uint64) {
	if is != said {
		c.problem(Problem{Kind: "state", Text: fmt.Sprintf("%d %s, the state says %d", is, what, said)})
	}
}

// orphans names the rows that no lineage owns as they are.
func (c *checker) orphans() error {
	var l lineage
	return c.each(kindRow, func(k, v []byte) error {
		index, key, source, ok := splitRowKey(k, nil)
		if !ok || int(index) >= len(c.indexes) {
			return nil // named already
		}
		spec := &c.v.db.specs[index]
		value, expiry, seq, err := spec.split(v)
		if err != nil {
			return nil // named already
		}
		p := Problem{Kind: "row", Index: spec.Name, Key: key, Source: source}
		found, err := c.lineage(source, &l)
		if err != nil {
			return err
		}
		if !found {
			p.Text = "its source key has no lineage that can be read"
			c.problem(p)
			return nil
		}
		h := c.hash(p.Index, key, source, value, expiry)
		if p.Text = c.ownedAs(&l, index, key, h, expiry, seq); p.Text != "" {
			c.problem(p)
		}
		return nil
	})
}

// ownedAs says how a lineage disagrees with a row, "" when it does not.
func (c *checker) ownedAs(l *lineage, index uint16, key []byte, h Hash, expiry int64, seq uint64) string {
	for i := range l.rows {
		o := &l.rows[i]
		switch {
		case o.index != index || !bytes.Equal(o.key, key):
			continue
		case o.hash != h || o.expiry != expiry:
			return "its content is not what its lineage says"
		case seq != c.seqOf(index, l.rowSeq()):
			return fmt.Sprintf("it carries seq %d, its lineage %d", seq, l.rowSeq())
		}
		return ""
	}
	return "its lineage does not own it"
}

// missing names the rows that a lineage owns and that are not there.
func (c *checker) missing() error {
	var l lineage
	return c.each(kindLineage, func(k, v []byte) error {
		if l.decode(v) != nil {
			return nil // named already
		}
		for i := range l.rows {
			o := &l.rows[i]
			if int(o.index) >= len(c.indexes) {
				continue // named already
			}
			found, err := c.has(appendRowKey(nil, o.index, o.key, k[1:]))
			if err != nil {
				return err
			}
			if !found {
				c.problem(Problem{Kind: "row", Index: c.v.db.specs[o.index].Name, Key: o.key, Source: k[1:], Text: "its lineage owns it and it is not there"})
			}
		}
		return nil
	})
}

// nameHeld names the source keys of which quarantine and lineage disagree.
func (c *checker) nameHeld() error {
	var l lineage
	err := c.each(kindQuarantine, func(k, v []byte) error {
		var q Quarantined
		if q.decode(v) != nil {
			return nil // named already
		}
		found, err := c.lineage(k[1:], &l)
		if err != nil {
			return err
		}
		switch {
		case !found || l.flags&lineageQuarantined == 0 || l.seq != q.Seq || l.time != q.Time:
			c.problem(Problem{Kind: "quarantine", Source: k[1:], Text: fmt.Sprintf("its update %d is held, its lineage does not say so", q.Seq)})
		case l.held != uint64(len(v)):
			c.problem(Problem{Kind: "quarantine", Source: k[1:], Text: fmt.Sprintf("it takes %d bytes, its lineage says %d", len(v), l.held)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(kindLineage, func(k, v []byte) error {
		if l.decode(v) != nil || l.flags&lineageQuarantined == 0 {
			return nil
		}
		found, err := c.has(appendQuarantineKey(nil, k[1:]))
		if err == nil && !found {
			c.problem(Problem{Kind: "quarantine", Source: k[1:], Text: "its lineage says that its update is held, and it is not there"})
		}
		return err
	})
}

// verbs say what the time of a queue means to a lineage.
var verbs = map[byte]string{kindExpiry: "expires at", kindAging: "ages from"}

// nameQueued names the source keys of which a queue and lineage disagree; time says where a lineage is queued, 0 = not.
func (c *checker) nameQueued(kind byte, name string, time func(*lineage) int64) error {
	var l lineage
	err := c.each(kind, func(k, _ []byte) error {
		if len(k) < expiryHead {
			return nil // named already
		}
		found, err := c.lineage(k[expiryHead:], &l)
		if err != nil {
			return err
		}
		if at := int64(binary.BigEndian.Uint64(k[1:])); !found || time(&l) != at {
			c.problem(Problem{Kind: name, Source: k[expiryHead:], Text: fmt.Sprintf("it is queued at %d, its lineage does not say so", at)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(kindLineage, func(k, v []byte) error {
		if l.decode(v) != nil || time(&l) == 0 {
			return nil
		}
		found, err := c.has(appendQueueKey(nil, kind, time(&l), k[1:]))
		if err == nil && !found {
			c.problem(Problem{Kind: name, Source: k[1:], Text: fmt.Sprintf("its lineage %s %d, and it is not queued", verbs[kind], time(&l))})
		}
		return err
	})
}

// lineage reads the lineage of a source key. found is false when there is none, or none that can be read.
func (c *checker) lineage(source []byte, l *lineage) (found bool, err error) {
	v, closer, err := c.v.own.Get(appendLineageKey(nil, source))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer closer.Close()
	c.seen = append(c.seen[:0], v...)
	return l.decode(c.seen) == nil, nil
}

func (c *checker) has(key []byte) (bool, error) {
	_, closer, err := c.v.own.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}
