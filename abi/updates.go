package abi

// Op says what an update does to its source key. The values are those of the in frame.
type Op uint8

const (
	OpPut    Op = 1
	OpDelete Op = 2
	OpPurge  Op = 3
)

// A Span is a range of bytes of the slab that holds it. A span of length 0 is empty whatever its offset.
type Span struct{ Off, Len uint32 }

// A Header is one value of one header of a message. A name with several values has several Headers, in the
// message's order.
type Header struct{ Name, Value Span }

// An Update is the offset record of one message of the source: its bytes lie in the Updates that holds it.
type Update struct {
	Seq     uint64 // the message's stream sequence (what KV calls its revision)
	Time    int64  // the message's time, ns since 1970, as the server stamped it
	Key     Span   // the source key: the KV key, the subject, or the seq as u64 big-endian
	Value   Span
	Subject Span   // may overlap Key: a KV key is the tail of its subject
	Header  uint32 // first of its Headers
	Headers uint32 // how many
	Op      Op
}

// Updates is a slab: the bytes of many messages, one after another, and a record of offsets for each. It is what
// travels between the stages, so that a message costs no allocation. Its zero value is empty and ready; Reset keeps
// the memory. A slab holds at most 4 GiB; its owner bounds it far below.
type Updates struct {
	Bytes   []byte
	Records []Update
	Headers []Header
}

// Reset empties u and keeps its memory.
func (u *Updates) Reset() {
	u.Bytes, u.Records, u.Headers = u.Bytes[:0], u.Records[:0], u.Headers[:0]
}

// Len returns the number of updates.
func (u *Updates) Len() int { return len(u.Records) }

// At returns the bytes of s: a view of the slab, valid until the next append or Reset.
func (u *Updates) At(s Span) []byte {
	if s.Len == 0 {
		return nil
	}
	return u.Bytes[s.Off : s.Off+s.Len : s.Off+s.Len]
}

// Key returns the source key of update i, a view of the slab.
func (u *Updates) Key(i int) []byte { return u.At(u.Records[i].Key) }

// Value returns the value of update i, a view of the slab.
func (u *Updates) Value(i int) []byte { return u.At(u.Records[i].Value) }

// Append copies b to the end of the slab and returns its span.
func (u *Updates) Append(b []byte) Span {
	s := Span{uint32(len(u.Bytes)), uint32(len(b))}
	u.Bytes = append(u.Bytes, b...)
	return s
}

// AppendString is Append for a string.
func (u *Updates) AppendString(b string) Span {
	s := Span{uint32(len(u.Bytes)), uint32(len(b))}
	u.Bytes = append(u.Bytes, b...)
	return s
}
