package abi_test

import (
	"encoding/binary"

	"github.com/foldrun/foldrun/abi"
)

// arena is the guest memory below an out frame: address 0, which a guest leaves alone, and what the host wrote.
const arena = "\x00\x00\x00\x00\x00\x00\x00\x00alice{\"email\":\"a@example.org\"}"

var (
	aliceAt = abi.Span{Off: 8, Len: 5}
	emailAt = abi.Span{Off: 23, Len: 13}
)

func twoEntries() abi.ResultSpec {
	return abi.ResultSpec{Status: abi.StatusOK, Entries: []abi.EntrySpec{
		{Index: 0, Key: []byte("a@example.org"), Value: []byte("alice")},
		{Index: 1, Key: []byte("alice"), Value: []byte("{}")},
	}}
}

func outVector(name, about string, results ...abi.ResultSpec) vector {
	mem, addr, length := abi.EncodeOut([]byte(arena), 0, results...)
	return vector{name: name, about: about, out: true, mem: mem, addr: addr, length: length, records: len(results)}
}

func outVectors() []vector {
	filtered := abi.ResultSpec{Status: abi.StatusFiltered}
	failed := abi.ResultSpec{Status: abi.StatusError, Code: 42, Message: []byte("email: missing")}
	vs := []vector{
		outVector("out-empty", "The answer to a frame of no records."),
		outVector("out-ok", "One record yields two entries, in two indexes.", twoEntries()),
		outVector("out-filtered", "A record that yields nothing.", filtered),
		outVector("out-error", "A record that could not be transformed, with the module's code and message.", failed),
		outVector("out-ttl", "An entry that lives for an hour from the record's time.",
			abi.ResultSpec{Status: abi.StatusOK, Entries: []abi.EntrySpec{{Key: []byte("session"), Value: []byte("x"), TTL: 3_600_000_000_000}}}),
		outVector("out-arena", "Key and value point at what the host wrote into the arena: nothing is copied.",
			abi.ResultSpec{Status: abi.StatusOK, Entries: []abi.EntrySpec{{KeyAt: emailAt, ValueAt: aliceAt}}}),
		outVector("out-empty-spans", "Empty key and value are legal, and their addresses mean nothing: here both lie outside memory.",
			abi.ResultSpec{Status: abi.StatusOK, Entries: []abi.EntrySpec{{KeyAt: abi.Span{Off: 1<<32 - 1}, ValueAt: abi.Span{Off: 1 << 31}}}}),
		outVector("out-ok-nothing", "Status ok without entries is legal and says the same as filtered.", abi.ResultSpec{Status: abi.StatusOK}),
		outVector("out-many", "Entries of a result follow those of the one before it.",
			twoEntries(), filtered, failed, abi.ResultSpec{Status: abi.StatusOK, Entries: []abi.EntrySpec{{Key: []byte("last")}}}),
	}
	return append(append(vs, grownOut()), refusedOut()...)
}

// grownOut is a frame of a later minor version, with 8 bytes more in header, result and entry.
func grownOut() vector {
	v := outVector("out-grown", "A minor version appended 8 bytes to header, result and entry: a reader steps by the sizes the frame states.", twoEntries())
	frame := v.mem[v.addr:]
	header, result, entries := frame[:32], frame[32:48], frame[48:112]
	le := binary.LittleEndian
	grown := append([]byte{}, v.mem...)
	for len(grown)%abi.FrameAlignment != 0 {
		grown = append(grown, 0)
	}
	v.addr = uint32(len(grown))
	le.PutUint16(header[4:], 40)
	le.PutUint16(header[6:], 24)
	le.PutUint16(header[8:], 40)
	for _, part := range [][]byte{header, result, entries[:32], entries[32:]} {
		grown = append(append(grown, part...), "newer..."...)
	}
	v.mem, v.length = grown, uint32(len(grown))-v.addr
	return v
}

func refusedOut() []vector {
	le := binary.LittleEndian
	const result, entry = abi.OutHeaderSize, abi.OutHeaderSize + abi.OutResultSize
	bad := []struct {
		name, about string
		spoil       func(v *vector, f []byte) // f begins with the frame
	}{
		{"out-bad-unaligned", "An address that is no multiple of 8.", func(v *vector, f []byte) { v.addr += 4 }},
		{"out-bad-short", "A frame that ends in its header.", func(v *vector, f []byte) { v.length = 31 }},
		{"out-bad-address", "A frame beyond the end of memory.", func(v *vector, f []byte) { v.addr = 1 << 16 }},
		{"out-bad-address-wraps", "A frame whose end is beyond 2^32: sums of 32 bits would take it.", func(v *vector, f []byte) { v.addr = 1<<32 - 8 }},
		{"out-bad-magic", "The magic of an in frame.", func(v *vector, f []byte) { f[2] = 'I' }},
		{"out-bad-header-size", "A header size below that of v1.", func(v *vector, f []byte) { le.PutUint16(f[4:], 24) }},
		{"out-bad-result-size", "A result size that is no multiple of 8.", func(v *vector, f []byte) { le.PutUint16(f[6:], 20) }},
		{"out-bad-entry-size", "An entry size of 0: a reader would never get on.", func(v *vector, f []byte) { le.PutUint16(f[8:], 0) }},
		{"out-bad-reserved", "A reserved byte of the header that is not 0.", func(v *vector, f []byte) { f[31] = 1 }},
		{"out-bad-flags", "An unknown flag.", func(v *vector, f []byte) { f[20] = 1 }},
		{"out-bad-results", "One result for a call of two records.", func(v *vector, f []byte) { v.records = 2 }},
		{"out-bad-length", "Bytes after the last entry.", func(v *vector, f []byte) { v.length += 8 }},
		{"out-bad-entries", "A header that counts 2^32-1 entries.", func(v *vector, f []byte) { le.PutUint32(f[16:], 1<<32-1) }},
		{"out-bad-entries-sum", "Results with fewer entries than the header counts.", func(v *vector, f []byte) { le.PutUint32(f[result+4:], 1) }},
		{"out-bad-status", "A status that was never set.", func(v *vector, f []byte) { f[result] = 0 }},
		{"out-bad-filtered-entries", "A filtered record with entries.", func(v *vector, f []byte) { f[result] = byte(abi.StatusFiltered) }},
		{"out-bad-error-entries", "A record in error with entries.", func(v *vector, f []byte) { f[result] = byte(abi.StatusError) }},
		{"out-bad-result-reserved", "A reserved byte of the result that is not 0.", func(v *vector, f []byte) { f[result+1] = 1 }},
		{"out-bad-message", "A message that ends beyond memory.", func(v *vector, f []byte) { le.PutUint32(f[result+12:], 1<<20) }},
		{"out-bad-entry-flags", "An unknown flag of an entry.", func(v *vector, f []byte) { f[entry+2] = 1 }},
		{"out-bad-entry-reserved", "A reserved byte of an entry that is not 0.", func(v *vector, f []byte) { f[entry+23] = 1 }},
		{"out-bad-key", "A key that ends a byte beyond memory.", func(v *vector, f []byte) { le.PutUint32(f[entry+8:], uint32(len(v.mem))-le.Uint32(f[entry+4:])+1) }},
		{"out-bad-value-wraps", "A value whose end is 2^32 + 16: sums of 32 bits would take it.", func(v *vector, f []byte) {
			le.PutUint32(f[entry+32+12:], 1<<32-16)
			le.PutUint32(f[entry+32+16:], 32)
		}},
	}
	var vs []vector
	for _, b := range bad {
		v := outVector(b.name, b.about, twoEntries())
		b.spoil(&v, v.mem[v.addr:])
		vs = append(vs, v)
	}
	return vs
}
