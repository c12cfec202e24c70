package fuel

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// A reader walks a part of the module. at counts from the module's first byte, so every error has the offset that a
// disassembler prints. The first error sticks: reads after it return zero.
type reader struct {
	b   []byte // the module, cut where the part ends
	at  int
	err error
	bad int // where err is
}

func (r *reader) fail(format string, args ...any) { r.failAt(r.at, format, args...) }

func (r *reader) failAt(at int, format string, args ...any) {
	if r.err == nil {
		r.err, r.bad = fmt.Errorf(format, args...), at
	}
}

func (r *reader) more() bool { return r.err == nil && r.at < len(r.b) }

var errShort = errors.New("it ends in the middle of something")

func (r *reader) byte() byte {
	if r.err != nil {
		return 0
	}
	if r.at >= len(r.b) {
		r.err, r.bad = errShort, r.at
		return 0
	}
	c := r.b[r.at]
	r.at++
	return c
}

func (r *reader) skip(n int) {
	if n > len(r.b)-r.at {
		r.fail("%w", errShort)
		return
	}
	r.at += n
}

// part returns a reader of the next n bytes and goes past them.
func (r *reader) part(n uint32) reader {
	from := r.at
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.fail("%d bytes are announced, %d are left", n, len(r.b)-r.at)
		return reader{err: r.err, bad: r.bad}
	}
	r.at += int(n)
	return reader{b: r.b[:r.at], at: from}
}

// u32 reads an unsigned LEB128 in at most five bytes, the fifth with nothing in its unused bits. A number that is cut
// off is 0: no length comes from it.
func (r *reader) u32() uint32 {
	if r.at < len(r.b) && r.b[r.at] < 0x80 && r.err == nil {
		r.at++
		return uint32(r.b[r.at-1])
	}
	var v uint32
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			r.failAt(r.at-1, "a number is longer than 32 bits")
			return 0
		}
		if r.err != nil {
			return 0
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}

// signed reads a signed LEB128 of the given width: 32, 33 or 64 bits. The unused bits of its last byte repeat the sign.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if r.err != nil {
			return 0
		}
		left := bits - shift
		if left < 7 {
			high := int8(c<<1) >> left // the sign and what must repeat it, c's bit 6 on top
			if c >= 0x80 || high != 0 && high != -1 {
				r.failAt(r.at-1, "a number is longer than %d bits", bits)
				return 0
			}
		}
		v |= int64(c&0x7f) << shift
		if c < 0x80 {
			if shift+7 < 64 && c&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// count reads the length of a vector whose elements take at least one byte each.
func (r *reader) count(what string) int {
	at := r.at
	n := r.u32()
	if r.err != nil {
		return 0
	}
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.failAt(at, "%d %s are announced, %d bytes are left", n, what, len(r.b)-r.at)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	at := r.at
	p := r.part(r.u32())
	if r.err != nil {
		return ""
	}
	name := string(p.b[p.at:])
	if !utf8.ValidString(name) {
		r.failAt(at, "a name is not UTF-8")
	}
	return name
}

// index reads an index that must be below n.
func (r *reader) index(n int, what string) uint32 {
	at := r.at
	i := r.u32()
	if r.err == nil && uint64(i) >= uint64(n) {
		r.failAt(at, "%s %d, the module has %d", what, i, n)
		return 0
	}
	return i
}

// zero reads a byte that the format reserves.
func (r *reader) zero(what string) {
	at := r.at
	if c := r.byte(); c != 0 {
		r.failAt(at, "%s: %#x where a zero byte must be", what, c)
	}
}

// Value types.
const (
	typeI32    = 0x7f
	typeI64    = 0x7e
	typeF32    = 0x7d
	typeF64    = 0x7c
	typeV128   = 0x7b
	typeFunc   = 0x70
	typeExtern = 0x6f
)

func (r *reader) valueType() byte {
	at := r.at
	switch c := r.byte(); c {
	case typeI32, typeI64, typeF32, typeF64, typeV128, typeFunc, typeExtern:
		return c
	default:
		r.failAt(at, "%s", unknownType(c))
		return 0
	}
}

func (r *reader) refType() byte {
	at := r.at
	switch c := r.byte(); c {
	case typeFunc, typeExtern:
		return c
	default:
		r.failAt(at, "%s", unknownType(c))
		return 0
	}
}

func unknownType(c byte) string {
	switch c {
	case 0x63, 0x64:
		return "a typed function reference, which foldrun does not run"
	case 0x69, 0x74:
		return "an exception reference, which foldrun does not run"
	case 0x5e, 0x5f, 0x4e, 0x4f, 0x50, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73:
		return fmt.Sprintf("a garbage-collected type (%#x), which foldrun does not run", c)
	}
	return fmt.Sprintf("unknown type %#x", c)
}
