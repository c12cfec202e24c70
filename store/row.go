package store

import "errors"

// row flags
const (
	rowExpires = 1 << iota // an expiry follows
	rowSeq                 // the source's seq follows: the index's collisions are "latest"
	rowFlags   = 1<<iota - 1
)

var errFlags = errors.New("value has unknown flags")

// appendRowValue encodes a row's value. seq is stored when latest says so.
func appendRowValue(dst, value []byte, expiry int64, seq uint64, latest bool) []byte {
	flags := byte(0)
	if expiry != 0 {
		flags |= rowExpires
	}
	if latest {
		flags |= rowSeq
	}
	dst = append(dst, flags)
	if expiry != 0 {
		dst = appendI64(dst, expiry)
	}
	if latest {
		dst = appendU64(dst, seq)
	}
	return append(dst, value...)
}

// splitRowValue takes a row's value apart; value is a view of v.
func splitRowValue(v []byte) (value []byte, expiry int64, seq uint64, err error) {
	r := reader{b: v}
	flags := r.u8()
	if flags&^rowFlags != 0 {
		return nil, 0, 0, errFlags
	}
	if flags&rowExpires != 0 {
		expiry = r.i64()
	}
	if flags&rowSeq != 0 {
		seq = r.u64()
	}
	return r.b, expiry, seq, r.err
}
