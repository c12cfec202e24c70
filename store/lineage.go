package store

import "encoding/binary"

// lineage flags
const (
	lineageQuarantined = 1 << iota // the update is in quarantine
	lineageExpires                 // the record itself expires: its time follows
	lineageRowsExpire              // at least one row expires: each row carries a time, 0 for never
	lineageAges                    // the record is in the aging queue
	lineageStays                   // the stream's MaxAge does not end the record
	lineageKept                    // the update is in quarantine, and the rows are those of an older record: its seq follows
	lineageFlags       = 1<<iota - 1
)

// minOwned is the least that one row takes in a lineage.
const minOwned = 1 + 1 + 16

// lineage is what a source key owns. Its rows are sorted by (index, key).
type lineage struct {
	flags  byte
	seq    uint64 // of the update that was applied
	time   int64  // its time, ns since 1970
	expiry int64  // when the record goes, ns since 1970; 0 = never
	kept   uint64 // seq of the record whose rows these are; 0 = the one that was applied
	held   uint64 // bytes that the update takes in quarantine; 0 = it is not there
	rows   []owned
}

// owned is one row of a lineage. key is a view of the stored value.
type owned struct {
	index  uint16
	key    []byte
	hash   Hash
	expiry int64 // 0 = never
}

// decode reads v into l, reusing its rows.
func (l *lineage) decode(v []byte) error {
	r := reader{b: v}
	l.rows = l.rows[:0]
	if l.decodeHead(&r); r.err != nil {
		return r.err
	}
	for n := r.count(minOwned); n > 0 && r.err == nil; n-- {
		o := owned{index: r.u16v(), key: r.bytes(), hash: r.hash()}
		if l.flags&lineageRowsExpire != 0 {
			o.expiry = r.i64()
		}
		l.rows = append(l.rows, o)
	}
	return r.end()
}

// decodeHead reads what stands before the rows.
func (l *lineage) decodeHead(r *reader) {
	l.flags, l.seq, l.time, l.expiry, l.kept, l.held = r.u8(), r.u64(), r.i64(), 0, 0, 0
	if r.err == nil && l.odd() {
		r.err = errFlags
		return
	}
	if l.flags&lineageExpires != 0 {
		l.expiry = r.i64()
	}
	if l.flags&lineageQuarantined != 0 {
		l.held = r.uvarint()
	}
	if l.flags&lineageKept != 0 {
		if l.kept = r.u64(); r.err == nil && l.kept == 0 {
			r.err = errFlags
		}
	}
}

// odd reports flags that no lineage has.
func (l *lineage) odd() bool {
	both := func(x, y byte) bool { return l.flags&x != 0 && l.flags&y != 0 }
	return l.flags&^lineageFlags != 0 || both(lineageAges, lineageStays) ||
		l.flags&lineageKept != 0 && l.flags&lineageQuarantined == 0
}

// append encodes l. It sets the flags that its fields imply.
func (l *lineage) append(dst []byte) []byte {
	flags := l.flags & (lineageQuarantined | lineageAges | lineageStays)
	if l.kept != 0 {
		flags |= lineageKept
	}
	if l.expiry != 0 {
		flags |= lineageExpires
	}
	for i := range l.rows {
		if l.rows[i].expiry != 0 {
			flags |= lineageRowsExpire
			break
		}
	}
	dst = appendI64(appendU64(append(dst, flags), l.seq), l.time)
	if l.expiry != 0 {
		dst = appendI64(dst, l.expiry)
	}
	if flags&lineageQuarantined != 0 {
		dst = binary.AppendUvarint(dst, l.held)
	}
	if l.kept != 0 {
		dst = appendU64(dst, l.kept)
	}
	dst = binary.AppendUvarint(dst, uint64(len(l.rows)))
	for i := range l.rows {
		o := &l.rows[i]
		dst = appendBytes(binary.AppendUvarint(dst, uint64(o.index)), o.key)
		dst = appendHash(dst, o.hash)
		if flags&lineageRowsExpire != 0 {
			dst = appendI64(dst, o.expiry)
		}
	}
	return dst
}

// rowSeq returns the seq of the record that the rows are of.
func (l *lineage) rowSeq() uint64 {
	if l.kept != 0 {
		return l.kept
	}
	return l.seq
}

// due returns the earliest time at which something of l expires: its key in the expiry queue. 0 is never.
func (l *lineage) due() int64 {
	at := l.expiry
	for i := range l.rows {
		if e := l.rows[i].expiry; e != 0 && (at == 0 || e < at) {
			at = e
		}
	}
	return at
}

// agesFrom returns the time that the record has in the aging queue, 0 when it is not in it.
func (l *lineage) agesFrom() int64 {
	if l.flags&lineageAges == 0 {
		return 0
	}
	return l.time
}

// goneBefore says whether the record itself was due before an update of this time came, whatever the clock of the commit
// that they share: rows are kept, or not, however the batches were cut.
func (l *lineage) goneBefore(time, maxAge int64) bool {
	if maxAge == 0 {
		return l.gone(time, -1)
	}
	return l.gone(time, time-maxAge)
}

// gone says whether the record itself is due by now, or by the stream's MaxAge, which ends what is not newer than aged.
func (l *lineage) gone(now, aged int64) bool {
	return l.expiry != 0 && l.expiry <= now || l.flags&lineageAges != 0 && l.time <= aged
}

// replace stages the new lineage of the source key that was looked up last, or its deletion, and moves its places in the
// expiry queue and in quarantine along.
func (c *committer) replace(source []byte, found, live bool, state *State) {
	c.putLineage(source, found, live)
	wasDue, isDue := int64(0), int64(0)
	wasHeld, isHeld := found && c.old.flags&lineageQuarantined != 0, live && c.new.flags&lineageQuarantined != 0
	wasAging, isAging := found && c.old.flags&lineageAges != 0, live && c.new.flags&lineageAges != 0
	if found {
		wasDue = c.old.due()
	}
	if live {
		isDue = c.new.due()
	}
	state.Live += count(live) - count(found)
	state.Expiring += count(isDue != 0) - count(wasDue != 0)
	state.Quarantined += count(isHeld) - count(wasHeld)
	if found {
		state.Held -= c.old.held
		state.Kept -= count(c.old.kept != 0)
	}
	if live {
		state.Held += c.new.held
		state.Kept += count(c.new.kept != 0)
	}
	state.Aging += count(isAging) - count(wasAging)
	c.requeue(kindExpiry, source, wasDue, isDue, wasDue != 0, isDue != 0)
	c.requeue(kindAging, source, c.old.time, c.new.time, wasAging, isAging)
	if t := c.stage; wasHeld && !isHeld {
		from := t.mark()
		t.slab = appendQuarantineKey(t.slab, source)
		t.delete(listHeld, from)
	}
}

// putLineage stages c.new as the lineage of the source key that was looked up last, or that it has none any more.
func (c *committer) putLineage(source []byte, found, live bool) {
	if !live && !found {
		return
	}
	t := c.stage
	from := t.mark()
	t.slab = appendLineageKey(t.slab, source)
	if !live {
		t.delete(listLineage, from)
	} else {
		mid := t.mark()
		t.slab = c.new.append(t.slab)
		t.set(listLineage, from, mid)
		if c.seen != nil && !found && !c.seen.add(c.hash) {
			c.give()
		}
	}
	if c.waits {
		t.noteLineage(c.hash, source)
	}
}

// requeue moves the place of a source key in a queue: from one time, if it stood there, to another, if it is to.
func (c *committer) requeue(kind byte, source []byte, from, to int64, was, is bool) {
	if !was && !is || was && is && from == to {
		return
	}
	t, list := c.stage, listExpiry
	if kind == kindAging {
		list = listAging
	}
	if was {
		at := t.mark()
		t.slab = appendQueueKey(t.slab, kind, from, source)
		t.delete(list, at)
	}
	if is {
		at := t.mark()
		t.slab = appendQueueKey(t.slab, kind, to, source)
		t.set(list, at, t.mark())
		t.noteTime(kind, to)
	}
}
