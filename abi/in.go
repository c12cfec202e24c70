package abi

import (
	"bytes"
	"encoding/binary"
)

// RecordSize returns the bytes that record rec of u takes in an in frame. A frame takes InHeaderSize and the sum of
// its records, so a frame can be filled record by record.
func RecordSize(u *Updates, rec int32) int {
	r := &u.Records[rec]
	n := InRecordSize + InNameSize*int(r.Headers) + int(r.Subject.Len)
	if r.Op == OpPut {
		n += int(r.Value.Len)
	}
	if !keyEndsSubject(u.Bytes, r) {
		n += int(r.Key.Len)
	}
	for _, h := range u.Headers[r.Header : r.Header+r.Headers] {
		n += int(h.Name.Len) + int(h.Value.Len)
	}
	return n
}

// InSize returns the bytes of the in frame that holds the records recs, which are indexes into u.Records.
func InSize(u *Updates, recs []int32) int {
	n := InHeaderSize
	for _, rec := range recs {
		n += RecordSize(u, rec)
	}
	return n
}

// EncodeIn writes the in frame of the records recs into dst and returns its length, which is InSize(u, recs). It
// writes every byte of the frame, since dst is guest memory that earlier calls have used, and none after it. dst must
// hold the frame, or EncodeIn panics; its address in guest memory is a multiple of 8. Nothing is allocated.
//
// The frame is a function of what the records hold, not of where the slab has it: a record alone has the same bytes
// on every host.
func EncodeIn(dst []byte, u *Updates, recs []int32) int {
	names := 0
	for _, rec := range recs {
		names += int(u.Records[rec].Headers)
	}
	namesAt := InHeaderSize + InRecordSize*len(recs)
	heapAt := namesAt + InNameSize*names

	w := heapWriter{dst: dst, slab: u.Bytes, at: heapAt, copied: heapAt}
	record := dst[InHeaderSize:namesAt]
	name := dst[namesAt:heapAt]
	first := uint32(0)
	for _, rec := range recs {
		r := &u.Records[rec]
		w.record((*[InRecordSize]byte)(record), r, first)
		for _, h := range u.Headers[r.Header : r.Header+r.Headers] {
			w.name((*[InNameSize]byte)(name), h)
			name = name[InNameSize:]
		}
		record = record[InRecordSize:]
		first += r.Headers
	}
	w.flush()

	h := (*[InHeaderSize]byte)(dst)
	le := binary.LittleEndian
	le.PutUint32(h[0:], inMagic)
	le.PutUint16(h[4:], InHeaderSize)
	le.PutUint16(h[6:], InRecordSize)
	le.PutUint32(h[8:], uint32(len(recs)))
	le.PutUint32(h[12:], uint32(names))
	le.PutUint32(h[16:], uint32(namesAt))
	le.PutUint32(h[20:], uint32(w.at))
	le.PutUint32(h[progressAt:], NoProgress)
	le.PutUint32(h[28:], 0)
	return w.at
}

// Progress returns the index of the record that the guest said it had in hand, or NoProgress. The guest may have
// written anything.
func Progress(frame []byte) uint32 {
	if len(frame) < InHeaderSize {
		return NoProgress
	}
	return binary.LittleEndian.Uint32(frame[progressAt:])
}

// keyEndsSubject reports whether the key is the tail of the subject, as a KV key and a subject key are: its bytes are
// then written once. Bytes are compared where the spans differ, so that the frame does not depend on the slab.
func keyEndsSubject(slab []byte, r *Update) bool {
	if r.Key.Len > r.Subject.Len {
		return false
	}
	end := r.Subject.Off + r.Subject.Len
	if r.Key.Len == 0 || r.Key.Off+r.Key.Len == end {
		return true
	}
	return bytes.Equal(slab[r.Key.Off:r.Key.Off+r.Key.Len], slab[end-r.Key.Len:end])
}

// A heapWriter fills the heap of an in frame. Spans that are neighbours in the slab and in the frame are gathered and
// copied together: a slab that has its messages in the frame's order becomes the heap in one copy.
type heapWriter struct {
	dst, slab []byte
	at        int    // where the next span goes
	copied    int    // dst has the heap up to here
	from, to  uint32 // the gathered spans of the slab, not yet copied
}

func (w *heapWriter) record(b *[InRecordSize]byte, r *Update, first uint32) {
	subject := w.put(r.Subject)
	key := subject + r.Subject.Len - r.Key.Len
	if r.Key.Len == 0 {
		key = 0
	} else if !keyEndsSubject(w.slab, r) {
		key = w.put(r.Key)
	}
	value, valueLen := uint32(0), uint32(0)
	if r.Op == OpPut {
		value, valueLen = w.put(r.Value), r.Value.Len
	}

	le := binary.LittleEndian
	le.PutUint64(b[0:], r.Seq)
	le.PutUint64(b[8:], uint64(r.Time))
	le.PutUint32(b[16:], key)
	le.PutUint32(b[20:], r.Key.Len)
	le.PutUint32(b[24:], value)
	le.PutUint32(b[28:], valueLen)
	le.PutUint32(b[32:], subject)
	le.PutUint32(b[36:], r.Subject.Len)
	le.PutUint32(b[40:], first)
	le.PutUint32(b[44:], r.Headers)
	le.PutUint64(b[48:], uint64(r.Op)) // and the first reserved bytes
	le.PutUint64(b[56:], 0)
}

func (w *heapWriter) name(b *[InNameSize]byte, h Header) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], w.put(h.Name))
	le.PutUint32(b[4:], h.Name.Len)
	le.PutUint32(b[8:], w.put(h.Value))
	le.PutUint32(b[12:], h.Value.Len)
}

// put gives s the next place of the heap and returns its offset in the frame; an empty span has none, and offset 0.
func (w *heapWriter) put(s Span) uint32 {
	if s.Len == 0 {
		return 0
	}
	if s.Off != w.to {
		w.flush()
		w.from = s.Off
	}
	w.to = s.Off + s.Len
	at := w.at
	w.at += int(s.Len)
	return uint32(at)
}

func (w *heapWriter) flush() {
	copy(w.dst[w.copied:w.at], w.slab[w.from:w.to])
	w.copied = w.at
	w.from = w.to
}
