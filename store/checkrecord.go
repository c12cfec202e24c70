package store

import "fmt"

// records sums what records say whose they are. A store that keeps none has none.
func (c *checker) records() error {
	return c.each(kindRecord, func(k, v []byte) error {
		var r Record
		switch err := r.decode(k, v); {
		case !c.v.db.id.KeepSource:
			return c.stranger(k, v)
		case err != nil:
			c.problem(Problem{Kind: "record", Source: k[1:], Text: err.Error()})
			return nil
		}
		c.recordPairs = c.recordPairs.add(c.entry(r.Source, r.Seq, r.Time, 0))
		return nil
	})
}

// nameRecords names the source keys of which record and lineage disagree.
func (c *checker) nameRecords() error {
	var l lineage
	err := c.each(kindRecord, func(k, v []byte) error {
		var r Record
		if r.decode(k, v) != nil {
			return nil // named already
		}
		found, err := c.lineage(r.Source, &l)
		if err == nil && (!found || l.seq != r.Seq || l.time != r.Time) {
			c.problem(Problem{Kind: "record", Source: r.Source, Text: fmt.Sprintf("the record kept is that of seq %d, its lineage does not say so", r.Seq)})
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.each(kindLineage, func(k, _ []byte) error {
		found, err := c.has(appendRecordKey(nil, k[1:]))
		if err == nil && !found {
			c.problem(Problem{Kind: "record", Source: k[1:], Text: "it has a lineage, and its record is not kept"})
		}
		return err
	})
}
