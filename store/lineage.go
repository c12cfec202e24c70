package store

import "encoding/binary"

// lineage flags
const (
	lineageQuarantined = 1 << iota // the update is in quarantine
	lineageExpires                 // the record itself expires: its time follows
	lineageRowsExpire              // at least one row expires: each row carries a time, 0 for never
	lineageAges                    // the record is in the aging queue
	lineageStays                   // the stream's MaxAge does not end the record
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
	l.flags, l.seq, l.time, l.expiry = r.u8(), r.u64(), r.i64(), 0
	if l.flags&^lineageFlags != 0 || l.flags&lineageAges != 0 && l.flags&lineageStays != 0 {
		return errFlags
	}
	if l.flags&lineageExpires != 0 {
		l.expiry = r.i64()
	}
	l.rows = l.rows[:0]
	for n := r.count(minOwned); n > 0 && r.err == nil; n-- {
		o := owned{index: r.u16v(), key: r.bytes(), hash: r.hash()}
		if l.flags&lineageRowsExpire != 0 {
			o.expiry = r.i64()
		}
		l.rows = append(l.rows, o)
	}
	return r.end()
}

// append encodes l. It sets the flags that its fields imply.
func (l *lineage) append(dst []byte) []byte {
	flags := l.flags & (lineageQuarantined | lineageAges | lineageStays)
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

// gone says whether the record itself is due by now, or by the stream's MaxAge, which ends what is not newer than aged.
func (l *lineage) gone(now, aged int64) bool {
	return l.expiry != 0 && l.expiry <= now || l.flags&lineageAges != 0 && l.time <= aged
}

// expire drops what is due and reports whether the record itself still lives.
func (l *lineage) expire(now, aged int64) (live bool) {
	if l.gone(now, aged) {
		l.rows = l.rows[:0]
		return false
	}
	keep := l.rows[:0]
	for _, o := range l.rows {
		if o.expiry == 0 || o.expiry > now {
			keep = append(keep, o)
		}
	}
	l.rows = keep
	return true
}
