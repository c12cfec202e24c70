package abi

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Tuple is a key made of typed elements, whose bytes sort as the tuples do. TUPLE.md has the bytes. Each method
// appends one element and returns the longer key, as append does:
//
//	key = key[:0].String("DE").IntDesc(population)
type Tuple []byte

// The first byte of an element. Those of descending elements are the complements, from 0x80 on. 0x00, 0x01, 0xfe and
// 0xff are never used, the gaps not yet.
const (
	tupleNull   = 0x04
	tupleFalse  = 0x08
	tupleTrue   = 0x09
	tupleZero   = 0x18 // 0x18 - n a negative integer of n bytes, 0x18 + n a positive one; n is 1 to 8
	tupleFloat  = 0x30
	tupleBytes  = 0x40
	tupleString = 0x50

	tupleDesc = 0x80
)

// Inside bytes and strings, a 0x00 is followed by one of these.
const (
	tupleEnd     = 0x01
	tupleEscaped = 0xff // the 0x00 is one of the text
)

const (
	tupleNaN = 0x7ff8000000000000 // the only NaN
	signBit  = 1 << 63
)

// Null appends null.
func (t Tuple) Null() Tuple { return append(t, tupleNull) }

// Bool appends a bool; false is before true.
func (t Tuple) Bool(v bool) Tuple {
	if v {
		return append(t, tupleTrue)
	}
	return append(t, tupleFalse)
}

// Int appends an integer.
func (t Tuple) Int(v int64) Tuple {
	if v >= 0 {
		return t.Uint(uint64(v))
	}
	magnitude := -uint64(v)
	n := byteLen(magnitude)
	return appendLow(append(t, byte(tupleZero-n)), ^magnitude, n)
}

// Uint appends an integer. Int and Uint of the same number are the same element.
func (t Tuple) Uint(v uint64) Tuple {
	n := byteLen(v)
	return appendLow(append(t, byte(tupleZero+n)), v, n)
}

// Float appends a float. There is one zero and one NaN, which is above all numbers. Floats are after all integers.
func (t Tuple) Float(v float64) Tuple {
	bits := math.Float64bits(v)
	switch {
	case v != v:
		bits = tupleNaN | signBit
	case v == 0:
		bits = signBit
	case bits&signBit != 0:
		bits = ^bits
	default:
		bits |= signBit
	}
	return binary.BigEndian.AppendUint64(append(t, tupleFloat), bits)
}

// Bytes appends bytes that are no text.
func (t Tuple) Bytes(v []byte) Tuple { return appendEscaped(append(t, tupleBytes), v) }

// Text appends a string.
func (t Tuple) Text(v []byte) Tuple { return appendEscaped(append(t, tupleString), v) }

// String appends a string: it makes the same element as Text.
func (t Tuple) String(v string) Tuple { return appendEscaped(append(t, tupleString), v) }

// The same elements in descending order: null is then after all the others of its place, true before false, and so on.

func (t Tuple) NullDesc() Tuple           { return t.Null().flip(len(t)) }
func (t Tuple) BoolDesc(v bool) Tuple     { return t.Bool(v).flip(len(t)) }
func (t Tuple) IntDesc(v int64) Tuple     { return t.Int(v).flip(len(t)) }
func (t Tuple) UintDesc(v uint64) Tuple   { return t.Uint(v).flip(len(t)) }
func (t Tuple) FloatDesc(v float64) Tuple { return t.Float(v).flip(len(t)) }
func (t Tuple) BytesDesc(v []byte) Tuple  { return t.Bytes(v).flip(len(t)) }
func (t Tuple) TextDesc(v []byte) Tuple   { return t.Text(v).flip(len(t)) }
func (t Tuple) StringDesc(v string) Tuple { return t.String(v).flip(len(t)) }

// flip makes the element that begins at from a descending one.
func (t Tuple) flip(from int) Tuple {
	for i := from; i < len(t); i++ {
		t[i] = ^t[i]
	}
	return t
}

// byteLen returns how many bytes v needs; 0 needs none.
func byteLen(v uint64) int {
	n := 0
	for ; v != 0; v >>= 8 {
		n++
	}
	return n
}

// appendLow appends the n low bytes of v, the highest first.
func appendLow(b []byte, v uint64, n int) []byte {
	for n--; n >= 0; n-- {
		b = append(b, byte(v>>(8*n)))
	}
	return b
}

func appendEscaped[T []byte | string](b []byte, v T) []byte {
	for i := range len(v) {
		b = append(b, v[i])
		if v[i] == 0 {
			b = append(b, tupleEscaped)
		}
	}
	return append(b, 0, tupleEnd)
}

// TupleKind is the type of a tuple's element. The values are in the order in which elements of different kinds sort.
type TupleKind uint8

const (
	KindNull TupleKind = iota
	KindBool
	KindInt  // an integer within int64
	KindUint // an integer beyond int64
	KindFloat
	KindBytes
	KindString
)

// A TupleElement is one element of a tuple: of the last fields, the one that Kind names.
type TupleElement struct {
	Kind  TupleKind
	Desc  bool // it sorts in descending order
	Bool  bool
	Int   int64
	Uint  uint64
	Float float64
	Text  []byte // KindBytes and KindString; a string need not be UTF-8
}

// Append appends elements.
func (t Tuple) Append(elements ...TupleElement) Tuple {
	for _, e := range elements {
		from := len(t)
		switch e.Kind {
		case KindNull:
			t = t.Null()
		case KindBool:
			t = t.Bool(e.Bool)
		case KindInt:
			t = t.Int(e.Int)
		case KindUint:
			t = t.Uint(e.Uint)
		case KindFloat:
			t = t.Float(e.Float)
		case KindBytes:
			t = t.Bytes(e.Text)
		case KindString:
			t = t.Text(e.Text)
		}
		if e.Desc {
			t.flip(from)
		}
	}
	return t
}

// DecodeTuple reads a whole key. It takes exactly what the methods of Tuple make, so a key that it reads is made
// again by Append; and it survives any bytes. The elements share no memory with key.
func DecodeTuple(key []byte) ([]TupleElement, error) {
	d := tupleDecoder{key: key}
	var elements []TupleElement
	for d.at < len(key) {
		start := d.at
		e, err := d.element()
		if err != nil {
			return nil, fmt.Errorf("abi: tuple: element %d, at byte %d: %w", len(elements), start, err)
		}
		elements = append(elements, e)
	}
	return elements, nil
}

// A tupleDecoder reads the key from at on; flip is 0xff inside a descending element.
type tupleDecoder struct {
	key  []byte
	at   int
	flip byte
}

func (d *tupleDecoder) element() (e TupleElement, err error) {
	d.flip = 0
	if d.key[d.at] >= tupleDesc {
		d.flip = 0xff
		e.Desc = true
	}
	tag := int(d.key[d.at] ^ d.flip)
	d.at++
	switch {
	case tag == tupleNull:
		e.Kind = KindNull
	case tag == tupleFalse || tag == tupleTrue:
		e.Kind, e.Bool = KindBool, tag == tupleTrue
	case tag >= tupleZero-8 && tag < tupleZero:
		err = d.negative(&e, tupleZero-tag)
	case tag >= tupleZero && tag <= tupleZero+8:
		err = d.natural(&e, tag-tupleZero)
	case tag == tupleFloat:
		err = d.float(&e)
	case tag == tupleBytes || tag == tupleString:
		e.Kind = KindBytes
		if tag == tupleString {
			e.Kind = KindString
		}
		e.Text, err = d.text()
	default:
		err = fmt.Errorf("0x%02x begins no element", byte(tag)^d.flip)
	}
	return e, err
}

// word reads n bytes as a number, the highest first.
func (d *tupleDecoder) word(n int) (v uint64, err error) {
	if len(d.key)-d.at < n {
		return 0, fmt.Errorf("cut off: a number of %d bytes, and %d are left", n, len(d.key)-d.at)
	}
	for _, c := range d.key[d.at : d.at+n] {
		v = v<<8 | uint64(c^d.flip)
	}
	d.at += n
	return v, nil
}

func (d *tupleDecoder) natural(e *TupleElement, n int) error {
	v, err := d.word(n)
	if err != nil {
		return err
	}
	if byteLen(v) != n {
		return fmt.Errorf("an integer of %d bytes that has room in fewer", n)
	}
	if v > math.MaxInt64 {
		e.Kind, e.Uint = KindUint, v
		return nil
	}
	e.Kind, e.Int = KindInt, int64(v)
	return nil
}

func (d *tupleDecoder) negative(e *TupleElement, n int) error {
	v, err := d.word(n)
	if err != nil {
		return err
	}
	magnitude := ^v & (math.MaxUint64 >> (64 - 8*n))
	if byteLen(magnitude) != n {
		return fmt.Errorf("an integer of %d bytes that has room in fewer", n)
	}
	if magnitude > signBit {
		return fmt.Errorf("an integer below -2^63")
	}
	e.Kind, e.Int = KindInt, int64(-magnitude)
	return nil
}

func (d *tupleDecoder) float(e *TupleElement) error {
	bits, err := d.word(8)
	if err != nil {
		return err
	}
	if bits&signBit != 0 {
		bits ^= signBit
	} else {
		bits = ^bits
	}
	e.Kind, e.Float = KindFloat, math.Float64frombits(bits)
	if e.Float != e.Float && bits != tupleNaN {
		return fmt.Errorf("another NaN than the one")
	}
	if e.Float == 0 && bits != 0 {
		return fmt.Errorf("a negative zero")
	}
	return nil
}

func (d *tupleDecoder) text() ([]byte, error) {
	text := []byte{}
	for d.at < len(d.key) {
		c := d.key[d.at] ^ d.flip
		d.at++
		if c != 0 {
			text = append(text, c)
			continue
		}
		if d.at == len(d.key) {
			break
		}
		next := d.key[d.at] ^ d.flip
		d.at++
		switch next {
		case tupleEnd:
			return text, nil
		case tupleEscaped:
			text = append(text, 0)
		default:
			return nil, fmt.Errorf("a 0x00 that is neither the text's nor its end")
		}
	}
	return nil, fmt.Errorf("cut off: bytes or a string without an end")
}
