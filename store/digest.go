package store

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// A Hash is the 128-bit hash of one row: xxh3 over
//
//	len(index) u32, len(key) u32, len(source) u32, expiry i64, index, key, source, value
//
// with index the index's name. It guards against faults, not against an adversary.
type Hash struct{ Hi, Lo uint64 }

// A Digest is the sum of the hashes of a set of rows, modulo 2^128: the same whatever the order in which they came.
type Digest Hash

func (d Digest) add(h Hash) Digest {
	lo, carry := bits.Add64(d.Lo, h.Lo, 0)
	hi, _ := bits.Add64(d.Hi, h.Hi, carry)
	return Digest{hi, lo}
}

func (d Digest) sub(h Hash) Digest {
	lo, borrow := bits.Sub64(d.Lo, h.Lo, 0)
	hi, _ := bits.Sub64(d.Hi, h.Hi, borrow)
	return Digest{hi, lo}
}

// String returns d as 32 hexadecimal digits.
func (d Digest) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], d.Hi)
	binary.BigEndian.PutUint64(b[8:], d.Lo)
	return hex.EncodeToString(b[:])
}

// MarshalText returns d as 32 hexadecimal digits.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// rowHash hashes a row. It uses buf as scratch and returns it.
func rowHash(buf []byte, index string, key, source, value []byte, expiry int64) (Hash, []byte) {
	le := binary.LittleEndian
	buf = le.AppendUint32(buf[:0], uint32(len(index)))
	buf = le.AppendUint32(buf, uint32(len(key)))
	buf = le.AppendUint32(buf, uint32(len(source)))
	buf = le.AppendUint64(buf, uint64(expiry))
	buf = append(buf, index...)
	buf = append(buf, key...)
	buf = append(buf, source...)
	buf = append(buf, value...)
	h := xxh3.Hash128(buf)
	return Hash{h.Hi, h.Lo}, buf
}
