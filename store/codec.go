package store

import (
	"encoding/binary"
	"errors"
	"math"
)

var errShort = errors.New("value ends early")

// reader decodes a stored value. The first thing that does not fit sets err; what follows then reads as zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.err = errShort
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (r *reader) i64() int64 { return int64(r.u64()) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.err != nil || n <= 0 {
		r.err = errShort
		return 0
	}
	r.b = r.b[n:]
	return v
}

// u16v reads a uvarint that must fit 16 bits.
func (r *reader) u16v() uint16 {
	v := r.uvarint()
	if v > math.MaxUint16 {
		r.err = errors.New("number exceeds 16 bits")
		return 0
	}
	return uint16(v)
}

// bytes reads a length and that many bytes, a view of the value.
func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

func (r *reader) string() string { return string(r.bytes()) }

// count reads how many items follow, each of at least min bytes: a count that cannot be true is refused here, before
// anything is allocated for it.
func (r *reader) count(min int) int {
	n := r.uvarint()
	if r.err == nil && n > uint64(len(r.b)/min) {
		r.err = errShort
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// end reports a value that did not fit, or that has more bytes than it should.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		return errors.New("value has bytes beyond its end")
	}
	return r.err
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendU64(dst []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(dst, v) }
func appendI64(dst []byte, v int64) []byte  { return binary.LittleEndian.AppendUint64(dst, uint64(v)) }

func appendHash(dst []byte, h Hash) []byte { return appendU64(appendU64(dst, h.Hi), h.Lo) }

func (r *reader) hash() Hash { return Hash{r.u64(), r.u64()} }
