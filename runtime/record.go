package runtime

import (
	"encoding/binary"
	"errors"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// With keep_source a fold's store keeps the record of each live source key, as the source gave it, whatever the module made of
// it. Seq, time and expiry are the store's; what the runtime adds is
//
//	u8       the op, and tailKey where the source key is the end of the subject
//	bytes    the subject, without the source key then
//	uvarint  how many headers, and each one's name and value, as bytes
//	rest     the value
//
// where bytes are a uvarint and so many of them.

// tailKey is a flag beside the op.
const tailKey = 0x80

// appendRecord encodes a record of u.
func appendRecord(dst []byte, u *abi.Updates, i int) []byte {
	r := &u.Records[i]
	op, subject := byte(r.Op), u.At(r.Subject)
	if n := len(subject) - int(r.Key.Len); n >= 0 && string(subject[n:]) == string(u.At(r.Key)) {
		op, subject = op|tailKey, subject[:n]
	}
	dst = appendBytes(append(dst, op), subject)
	dst = binary.AppendUvarint(dst, uint64(r.Headers))
	for _, h := range u.Headers[r.Header : r.Header+r.Headers] {
		dst = appendBytes(appendBytes(dst, u.At(h.Name)), u.At(h.Value))
	}
	return append(dst, u.At(r.Value)...)
}

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

var errRecord = errors.New("runtime: a record that is kept cannot be decoded")

// decodeRecord appends a record to a batch, whose Expires say when it goes.
func decodeRecord(b *source.Batch, r *store.Record) error {
	x := recordReader{rest: r.Bytes}
	op := x.byte()
	u := abi.Update{Seq: r.Seq, Time: r.Time, Op: abi.Op(op &^ tailKey), Header: uint32(len(b.Headers))}
	u.Subject = b.Append(x.bytes())
	u.Key = b.Append(r.Source)
	if op&tailKey != 0 {
		u.Subject.Len += u.Key.Len
	}
	for n := x.uvarint(); n > 0 && !x.bad; n-- {
		b.Headers = append(b.Headers, abi.Header{Name: b.Append(x.bytes()), Value: b.Append(x.bytes())})
	}
	u.Headers = uint32(len(b.Headers)) - u.Header
	u.Value = b.Append(x.rest)
	if x.bad || u.Op < abi.OpPut || u.Op > abi.OpPurge {
		return errRecord
	}
	b.Records = append(b.Records, u)
	b.Expires = append(b.Expires, r.Expiry)
	return nil
}

// recordReader takes a record apart.
type recordReader struct {
	rest []byte
	bad  bool
}

func (x *recordReader) byte() byte {
	if len(x.rest) == 0 {
		x.bad = true
		return 0
	}
	c := x.rest[0]
	x.rest = x.rest[1:]
	return c
}

func (x *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(x.rest)
	if n <= 0 {
		x.bad, n = true, 0
	}
	x.rest = x.rest[n:]
	return v
}

func (x *recordReader) bytes() []byte {
	n := x.uvarint()
	if n > uint64(len(x.rest)) {
		x.bad, n = true, 0
	}
	p := x.rest[:n]
	x.rest = x.rest[n:]
	return p
}
