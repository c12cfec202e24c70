package abi

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// DecodeIn reads an in frame, for tools, tests and vectors: the host itself only writes them. It survives any bytes,
// checks every rule of ABI.md, and copies: the result does not share memory with frame.
func DecodeIn(frame []byte) (*Updates, error) {
	d, err := openIn(frame)
	if err != nil {
		return nil, fmt.Errorf("abi: in frame: %w", err)
	}
	u := &Updates{
		Bytes:   bytes.Clone(frame), // so the frame's offsets are the slab's
		Records: make([]Update, d.records),
		Headers: make([]Header, d.names),
	}
	first := uint32(0)
	for i := range u.Records {
		if u.Records[i], err = d.record(i, first); err != nil {
			return nil, fmt.Errorf("abi: in frame: record %d: %w", i, err)
		}
		first += u.Records[i].Headers
	}
	if int(first) != d.names {
		return nil, fmt.Errorf("abi: in frame: its records have %d headers, its header says %d", first, d.names)
	}
	for i := range u.Headers {
		if u.Headers[i], err = d.name(i); err != nil {
			return nil, fmt.Errorf("abi: in frame: header %d: %w", i, err)
		}
	}
	return u, nil
}

// An inFrame is an in frame whose tables are known to lie in it.
type inFrame struct {
	frame          []byte
	header, stride int
	records        int
	names, namesAt int
}

func openIn(frame []byte) (*inFrame, error) {
	if len(frame) < InHeaderSize {
		return nil, fmt.Errorf("%d bytes, fewer than the %d of its header", len(frame), InHeaderSize)
	}
	le := binary.LittleEndian
	if le.Uint32(frame) != inMagic {
		return nil, fmt.Errorf("begins with %q, not with %q", frame[:4], InMagic)
	}
	header, stride := uint64(le.Uint16(frame[4:])), uint64(le.Uint16(frame[6:]))
	records, names := uint64(le.Uint32(frame[8:])), uint64(le.Uint32(frame[12:]))
	namesAt, size := uint64(le.Uint32(frame[16:])), uint64(le.Uint32(frame[20:]))
	switch {
	case header < InHeaderSize || header%8 != 0:
		return nil, fmt.Errorf("header size %d is not a multiple of 8 from %d on", header, InHeaderSize)
	case stride < InRecordSize || stride%8 != 0:
		return nil, fmt.Errorf("record size %d is not a multiple of 8 from %d on", stride, InRecordSize)
	case size != uint64(len(frame)):
		return nil, fmt.Errorf("says it has %d bytes, has %d", size, len(frame))
	case le.Uint32(frame[28:]) != 0:
		return nil, fmt.Errorf("unknown flags %#x: must be 0 in ABI v%d", le.Uint32(frame[28:]), Version)
	case records > MaxFrameRecords:
		return nil, fmt.Errorf("%d records, more than %d", records, MaxFrameRecords)
	case records > 1 && size > MaxFrameBytes:
		return nil, fmt.Errorf("%d records in %d bytes, more than %d: only a record alone may be larger", records, size, MaxFrameBytes)
	case namesAt%8 != 0 || namesAt < header+stride*records:
		return nil, fmt.Errorf("headers at %d: not a multiple of 8 after the records, which end at %d", namesAt, header+stride*records)
	case namesAt+InNameSize*names > size:
		return nil, fmt.Errorf("%d headers at %d leave the frame of %d bytes", names, namesAt, size)
	}
	return &inFrame{frame, int(header), int(stride), int(records), int(names), int(namesAt)}, nil
}

// record reads record i, whose headers must begin at first: those of a record follow those of the one before it.
func (d *inFrame) record(i int, first uint32) (r Update, err error) {
	b := d.frame[d.header+d.stride*i:][:InRecordSize]
	le := binary.LittleEndian
	r.Seq = le.Uint64(b[0:])
	r.Time = int64(le.Uint64(b[8:]))
	r.Header, r.Headers = le.Uint32(b[40:]), le.Uint32(b[44:])
	r.Op = Op(b[48])
	if !validOp(r.Op) {
		return r, fmt.Errorf("op is %d, not 1 put, 2 delete or 3 purge", r.Op)
	}
	if at := nonzero(b[49:]); at >= 0 {
		return r, fmt.Errorf("reserved byte %d is %d, not 0", 49+at, b[49+at])
	}
	if r.Header != first || uint64(first)+uint64(r.Headers) > uint64(d.names) {
		return r, fmt.Errorf("headers %d+%d: must follow those of the record before, from %d, and end by %d", r.Header, r.Headers, first, d.names)
	}
	if r.Key, err = d.span("key", b[16:]); err != nil {
		return r, err
	}
	if r.Value, err = d.span("value", b[24:]); err != nil {
		return r, err
	}
	if r.Op != OpPut && r.Value.Len > 0 {
		return r, fmt.Errorf("a delete or purge with a value of %d bytes: it must be empty", r.Value.Len)
	}
	r.Subject, err = d.span("subject", b[32:])
	return r, err
}

func (d *inFrame) name(i int) (h Header, err error) {
	b := d.frame[d.namesAt+InNameSize*i:][:InNameSize]
	if h.Name, err = d.span("name", b); err != nil {
		return h, err
	}
	h.Value, err = d.span("value", b[8:])
	return h, err
}

// span reads an offset and a length. An empty span gets offset 0, whatever it had.
func (d *inFrame) span(what string, b []byte) (Span, error) {
	s := Span{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
	if !inside(s.Off, s.Len, uint64(len(d.frame))) {
		return Span{}, fmt.Errorf("%s of %d bytes at %d leaves the frame of %d bytes", what, s.Len, s.Off, len(d.frame))
	}
	if s.Len == 0 {
		return Span{}, nil
	}
	return s, nil
}

// nonzero returns the index of the first byte that is not 0, or -1.
func nonzero(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return -1
}
