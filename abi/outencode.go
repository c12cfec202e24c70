package abi

import "encoding/binary"

// A ResultSpec is a Result with its entries, for EncodeOut.
type ResultSpec struct {
	Status  Status
	Code    uint16
	Message []byte
	Entries []EntrySpec
}

// An EntrySpec is an Entry for EncodeOut. KeyAt and ValueAt, if not empty, are spans of guest memory that stand for
// Key and Value: a guest may point at what it was given.
type EntrySpec struct {
	Index          uint16
	Key, Value     []byte
	KeyAt, ValueAt Span
	TTL            uint64
}

// EncodeOut appends an out frame and the bytes it points to, and returns the memory with the frame's address and
// length. It is what a guest's SDK does, for tests, vectors and tools. mem stands for guest memory from address base
// on; the frame is put at the next multiple of 8.
func EncodeOut(mem []byte, base uint32, results ...ResultSpec) (grown []byte, addr, length uint32) {
	for (base+uint32(len(mem)))%FrameAlignment != 0 {
		mem = append(mem, 0)
	}
	entries := 0
	for i := range results {
		entries += len(results[i].Entries)
	}
	at := len(mem)
	size := OutHeaderSize + OutResultSize*len(results) + OutEntrySize*entries
	w := outWriter{mem: append(mem, make([]byte, size)...), base: base}

	le := binary.LittleEndian
	h := w.mem[at:]
	copy(h, OutMagic)
	le.PutUint16(h[4:], OutHeaderSize)
	le.PutUint16(h[6:], OutResultSize)
	le.PutUint16(h[8:], OutEntrySize)
	le.PutUint32(h[12:], uint32(len(results)))
	le.PutUint32(h[16:], uint32(entries))

	result := at + OutHeaderSize
	entry := result + OutResultSize*len(results)
	for _, r := range results {
		w.result(result, r)
		result += OutResultSize
		for _, e := range r.Entries {
			w.entry(entry, e)
			entry += OutEntrySize
		}
	}
	return w.mem, base + uint32(at), uint32(size)
}

// An outWriter fills the tables at their places and appends the bytes they point to.
type outWriter struct {
	mem  []byte
	base uint32
}

func (w *outWriter) result(at int, r ResultSpec) {
	message := w.put(r.Message, Span{})
	b := w.mem[at:]
	b[0] = byte(r.Status)
	binary.LittleEndian.PutUint16(b[2:], r.Code)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(r.Entries)))
	putSpan(b[8:], message)
}

func (w *outWriter) entry(at int, e EntrySpec) {
	key := w.put(e.Key, e.KeyAt)
	value := w.put(e.Value, e.ValueAt)
	b := w.mem[at:]
	binary.LittleEndian.PutUint16(b[0:], e.Index)
	putSpan(b[4:], key)
	putSpan(b[12:], value)
	binary.LittleEndian.PutUint64(b[24:], e.TTL)
}

func (w *outWriter) put(b []byte, there Span) Span {
	if there.Len > 0 || len(b) == 0 {
		return there
	}
	s := Span{w.base + uint32(len(w.mem)), uint32(len(b))}
	w.mem = append(w.mem, b...)
	return s
}

func putSpan(b []byte, s Span) {
	binary.LittleEndian.PutUint32(b, s.Off)
	binary.LittleEndian.PutUint32(b[4:], s.Len)
}
