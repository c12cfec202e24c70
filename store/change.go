package store

// change applies one change of b. due says that something of its source key is due.
func (db *DB) change(b *Batch, ch *change, due bool, state *State, done *Committed) error {
	c, source := &db.commit, b.at(ch.source)
	found, err := db.lookup(source)
	switch {
	case err != nil:
		return err
	case c.passes(b, ch, found):
		done.Passed += int(count(b.Retry))
		if due {
			db.dropDue(source, state, done)
		}
		return nil
	case ch.kind == changeRemoveIf:
		done.Removed++
	}
	done.Expired += int(count(due))
	c.begin(b, ch)
	live := ch.kind.lives() && !c.new.gone(state.ExpiredTo, state.agedTo())
	if live && ch.kind == changeFail {
		if b.Halt {
			return b.refuse(ch)
		}
		done.Failed++
		c.hold(source, &b.failures[ch.first])
	}
	switch {
	case live && ch.keeps && !c.old.goneBefore(ch.time, state.MaxAge):
		c.new.kept = c.old.rowSeq()
		db.keep(source, state, done)
	case live && ch.kind == changePut:
		db.diff(b, source, ch.seq, b.rows[ch.first:ch.first+ch.rows], state, done)
	default:
		db.diff(b, source, ch.seq, nil, state, done)
	}
	c.replace(source, found, live, state)
	if db.id.KeepSource {
		return c.putRecord(b, ch, found, live)
	}
	return nil
}

// passes says whether a change leaves its source key, whose lineage is in c.old if it has one, as it is.
func (c *committer) passes(b *Batch, ch *change, found bool) bool {
	switch {
	case b.Retry:
		return !found || c.old.seq != ch.seq || c.old.time != ch.time || c.old.flags&lineageQuarantined == 0
	case ch.kind == changeRemoveIf:
		return !found || c.old.seq != ch.seq
	}
	return false
}

// begin makes c.new the lineage of a change, without rows.
func (c *committer) begin(b *Batch, ch *change) {
	c.new = lineage{flags: ch.ages(b.MaxAge), seq: ch.seq, time: ch.time, expiry: ch.expiry, rows: c.new.rows[:0]}
	if b.Retry { // when its record goes is known already
		c.new.flags, c.new.expiry = c.old.flags&(lineageAges|lineageStays), c.old.expiry
	}
}

// ages returns the flags that say whether the stream's MaxAge ends the record of a change.
func (ch *change) ages(maxAge int64) byte {
	switch {
	case ch.stays:
		return lineageStays
	case maxAge > 0:
		return lineageAges
	}
	return 0
}
