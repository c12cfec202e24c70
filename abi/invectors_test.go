package abi_test

import (
	"bytes"
	"encoding/binary"

	"github.com/foldrun/foldrun/abi"
)

// A message is an update in plain form, to be appended to a slab.
type message struct {
	op          abi.Op
	seq         uint64
	time        int64
	subject     string
	key         string // where it is the subject's tail, the slab has it there
	value       string
	headers     [][2]string
	keyOnItsOwn bool // the slab has the key apart from the subject though it is its tail
}

func (m message) appendTo(u *abi.Updates) {
	r := abi.Update{Op: m.op, Seq: m.seq, Time: m.time}
	r.Subject = u.AppendString(m.subject)
	tail := len(m.subject) - len(m.key)
	if tail >= 0 && m.subject[tail:] == m.key && !m.keyOnItsOwn {
		r.Key = abi.Span{Off: r.Subject.Off + uint32(tail), Len: uint32(len(m.key))}
	} else {
		r.Key = u.AppendString(m.key)
	}
	r.Value = u.AppendString(m.value)
	r.Header, r.Headers = uint32(len(u.Headers)), uint32(len(m.headers))
	for _, h := range m.headers {
		u.Headers = append(u.Headers, abi.Header{Name: u.AppendString(h[0]), Value: u.AppendString(h[1])})
	}
	u.Records = append(u.Records, r)
}

func slab(messages ...message) *abi.Updates {
	u := &abi.Updates{}
	for _, m := range messages {
		m.appendTo(u)
	}
	return u
}

// every returns the indexes of all records of u.
func every(u *abi.Updates) []int32 {
	recs := make([]int32, u.Len())
	for i := range recs {
		recs[i] = int32(i)
	}
	return recs
}

// encodeIn encodes into memory that earlier calls have left dirty.
func encodeIn(u *abi.Updates, recs []int32) []byte {
	dst := bytes.Repeat([]byte{0xa5}, abi.InSize(u, recs))
	return dst[:abi.EncodeIn(dst, u, recs)]
}

const (
	aTime    = 1_700_000_000_123_456_789
	allBytes = 256
)

func kvPut() message {
	return message{
		op: abi.OpPut, seq: 7, time: aTime,
		subject: "$KV.users.alice", key: "alice", value: `{"email":"a@example.org"}`,
		headers: [][2]string{{"Nats-Msg-Id", "1"}, {"X-Tag", "red"}, {"X-Tag", "blue"}, {"X-Empty", ""}},
	}
}

func inVectors() []vector {
	allKey := make([]byte, allBytes)
	for i := range allKey {
		allKey[i] = byte(i)
	}
	seqKey := string(binary.BigEndian.AppendUint64(nil, 258))
	good := []struct {
		name, about string
		messages    []message
	}{
		{"in-empty", "A frame of no records: the host never sends it, and a guest answers it with no results.", nil},
		{"in-kv-put", "A put of a KV key with headers; X-Tag has two values, X-Empty an empty one.\nThe key's span lies in the subject's.",
			[]message{kvPut()}},
		{"in-kv-delete", "A delete and a purge, as a module that wants deletes is shown them. Their values are empty.", []message{
			{op: abi.OpDelete, seq: 8, time: aTime + 1, subject: "$KV.users.alice", key: "alice", headers: [][2]string{{"KV-Operation", "DEL"}}},
			{op: abi.OpPurge, seq: 9, time: aTime + 2, subject: "$KV.users.bob", key: "bob", headers: [][2]string{{"KV-Operation", "PURGE"}, {"Nats-Rollup", "sub"}}},
		}},
		{"in-message-key", "keying = \"message\": the key is the seq, here 258, as u64 big-endian. Two records share a subject.", []message{
			{op: abi.OpPut, seq: 258, time: aTime, subject: "events.login", key: seqKey, value: "in"},
			{op: abi.OpPut, seq: 259, time: aTime, subject: "events.login", key: seqKey[:7] + "\x03", value: "out"},
		}},
		{"in-empty-value", "A put with an empty value is a put. Empty spans have offset 0 in what the host writes.",
			[]message{{op: abi.OpPut, seq: 1, time: 0, subject: "$KV.b.k", key: "k"}}},
		{"in-every-byte", "Key and value are bytes, not text: here each has every byte there is. The time is before 1970.",
			[]message{{op: abi.OpPut, seq: 1<<64 - 1, time: -1, subject: "s", key: string(allKey), value: string(allKey)}}},
		{"in-many", "Records with and without headers: each record's headers follow those of the one before it.", []message{
			kvPut(),
			{op: abi.OpPut, seq: 8, time: aTime, subject: "$KV.users.bob", key: "bob", value: "{}"},
			{op: abi.OpPut, seq: 9, time: aTime, subject: "$KV.users.carol", key: "carol", value: "{}", headers: [][2]string{{"A", "1"}}},
		}},
	}
	var vs []vector
	for _, g := range good {
		u := slab(g.messages...)
		vs = append(vs, vector{name: g.name, about: g.about, mem: encodeIn(u, every(u))})
	}
	return append(append(vs, grownIn()), refusedIn()...)
}

// grownIn is a frame of a later minor version: longer header and records, which a reader steps over.
func grownIn() vector {
	old := encodeIn(slab(kvPut()), []int32{0})
	const more = 8
	frame := append([]byte{}, old[:abi.InHeaderSize]...)
	frame = append(frame, "newer!!!"...)
	frame = append(frame, old[abi.InHeaderSize:abi.InHeaderSize+abi.InRecordSize]...)
	frame = append(frame, "newer..."...)
	frame = append(frame, old[abi.InHeaderSize+abi.InRecordSize:]...)

	le := binary.LittleEndian
	add := func(at int) { le.PutUint32(frame[at:], le.Uint32(frame[at:])+2*more) }
	le.PutUint16(frame[4:], abi.InHeaderSize+more)
	le.PutUint16(frame[6:], abi.InRecordSize+more)
	add(16)
	add(20)
	record := abi.InHeaderSize + more
	for _, span := range []int{16, 24, 32} {
		add(record + span)
	}
	for i := range 4 {
		name := record + abi.InRecordSize + more + abi.InNameSize*i
		add(name)
		if le.Uint32(frame[name+12:]) > 0 {
			add(name + 8)
		}
	}
	return vector{name: "in-grown", mem: frame,
		about: "A minor version appended 8 bytes to the header and to the record: a reader steps by the sizes the frame states."}
}

func refusedIn() []vector {
	le := binary.LittleEndian
	const record = abi.InHeaderSize
	bad := []struct {
		name, about string
		spoil       func(f []byte) []byte
	}{
		{"in-bad-short", "Cut off in the header.", func(f []byte) []byte { return f[:31] }},
		{"in-bad-magic", "Another magic.", func(f []byte) []byte { f[3] = '2'; return f }},
		{"in-bad-header-size", "A header size that is no multiple of 8.", func(f []byte) []byte { le.PutUint16(f[4:], 36); return f }},
		{"in-bad-record-size", "A record size below that of v1.", func(f []byte) []byte { le.PutUint16(f[6:], 56); return f }},
		{"in-bad-length", "A byte less than the frame length says.", func(f []byte) []byte { return f[:len(f)-1] }},
		{"in-bad-flags", "An unknown flag.", func(f []byte) []byte { f[28] = 1; return f }},
		{"in-bad-records", "More records than a frame may have.", func(f []byte) []byte { le.PutUint32(f[8:], 257); return f }},
		{"in-bad-headers-offset", "Headers that begin in the records.", func(f []byte) []byte { le.PutUint32(f[16:], 88); return f }},
		{"in-bad-headers", "More headers than the frame holds.", func(f []byte) []byte { le.PutUint32(f[12:], 1<<28); return f }},
		{"in-bad-headers-sum", "A header that belongs to no record.", func(f []byte) []byte { le.PutUint32(f[record+44:], 3); return f }},
		{"in-bad-first-header", "A record whose headers do not follow those of the one before.", func(f []byte) []byte { le.PutUint32(f[record+40:], 1); return f }},
		{"in-bad-op", "An op that does not exist.", func(f []byte) []byte { f[record+48] = 4; return f }},
		{"in-bad-delete-value", "A delete with a value.", func(f []byte) []byte { f[record+48] = 2; return f }},
		{"in-bad-reserved", "A reserved byte of the record that is not 0.", func(f []byte) []byte { f[record+63] = 1; return f }},
		{"in-bad-key", "A key that ends beyond the frame.", func(f []byte) []byte { le.PutUint32(f[record+20:], 1<<31); return f }},
		{"in-bad-value-wraps", "A value whose end is 2^32 + 16: sums of 32 bits would take it.", func(f []byte) []byte {
			le.PutUint32(f[record+24:], 1<<32-16)
			le.PutUint32(f[record+28:], 32)
			return f
		}},
	}
	var vs []vector
	for _, b := range bad {
		frame := encodeIn(slab(kvPut()), []int32{0})
		vs = append(vs, vector{name: b.name, about: b.about, mem: b.spoil(frame)})
	}
	return append(vs, headersWrap())
}

// headersWrap has two records of 2^31 headers each: in 32 bits they sum to the 0 that the header says.
func headersWrap() vector {
	put := message{op: abi.OpPut, subject: "s", key: "s"}
	frame := encodeIn(slab(put, put), []int32{0, 1})
	const half = 1 << 31
	second := frame[abi.InHeaderSize+abi.InRecordSize:]
	binary.LittleEndian.PutUint32(frame[abi.InHeaderSize+44:], half)
	binary.LittleEndian.PutUint32(second[40:], half)
	binary.LittleEndian.PutUint32(second[44:], half)
	return vector{name: "in-bad-headers-wrap", mem: frame, about: "Two records of 2^31 headers each: sums of 32 bits would take them for none."}
}
