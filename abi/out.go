package abi

import (
	"encoding/binary"
	"fmt"
)

// Status says what became of a record.
type Status uint8

const (
	StatusOK       Status = 1 // it yields its entries, perhaps none
	StatusFiltered Status = 2 // it yields nothing, and that is as it should be
	StatusError    Status = 3 // it could not be transformed: Code and Message say why
)

func (s Status) String() string {
	switch s {
	case StatusOK:
		return "ok"
	case StatusFiltered:
		return "filtered"
	case StatusError:
		return "error"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// A Result is the answer to one record. Message is a view of guest memory.
type Result struct {
	Status  Status
	Code    uint16 // the module's own
	Entries uint32 // they follow those of the result before it
	Message []byte // nil if empty
}

// An Entry is one (index, key, value) that a record yields. Key and Value are views of guest memory, nil if empty.
type Entry struct {
	Index uint16 // ordinal in the manifest's indexes; Decode does not know how many there are
	Key   []byte
	Value []byte
	TTL   uint64 // ns from the record's time; 0: none
}

// An Out is a checked view of an out frame in guest memory: valid until the next call into the guest, or until its
// memory grows. Its zero value is empty; it can be decoded into again and again, and allocates nothing.
type Out struct {
	mem                       []byte
	results, entries          []byte // the two tables
	resultStride, entryStride int
	resultCount, entryCount   int
}

// Decode makes o the view of the out frame of length bytes at addr in mem, the guest's whole memory. The frame must
// answer a call of records records. All that is reachable through o is checked here, once; after an error o is empty.
func (o *Out) Decode(mem []byte, addr, length uint32, records int) error {
	*o = Out{}
	v := Out{mem: mem}
	if err := v.open(addr, length, records); err != nil {
		return fmt.Errorf("abi: out frame: %w", err)
	}
	if err := v.checkResults(); err != nil {
		return fmt.Errorf("abi: out frame: %w", err)
	}
	if err := v.checkEntries(); err != nil {
		return fmt.Errorf("abi: out frame: %w", err)
	}
	*o = v
	return nil
}

// Results returns the number of results, which is the number of records of the call.
func (o *Out) Results() int { return o.resultCount }

// Entries returns the number of entries of all results together.
func (o *Out) Entries() int { return o.entryCount }

// Result returns result i.
func (o *Out) Result(i int) Result {
	b := (*[OutResultSize]byte)(o.results[i*o.resultStride:])
	le := binary.LittleEndian
	return Result{
		Status:  Status(b[0]),
		Code:    le.Uint16(b[2:]),
		Entries: le.Uint32(b[4:]),
		Message: o.view(le.Uint32(b[8:]), le.Uint32(b[12:])),
	}
}

// Entry returns entry j, counted over all results.
func (o *Out) Entry(j int) Entry {
	b := (*[OutEntrySize]byte)(o.entries[j*o.entryStride:])
	le := binary.LittleEndian
	return Entry{
		Index: le.Uint16(b[0:]),
		Key:   o.view(le.Uint32(b[4:]), le.Uint32(b[8:])),
		Value: o.view(le.Uint32(b[12:]), le.Uint32(b[16:])),
		TTL:   le.Uint64(b[24:]),
	}
}

// view returns a span that Decode has checked. Its capacity ends with it: no append reaches guest memory.
func (o *Out) view(addr, length uint32) []byte {
	if length == 0 {
		return nil
	}
	end := uint64(addr) + uint64(length)
	return o.mem[addr:end:end]
}

// open checks the header and finds the tables. Sizes are added as uint64: no sum of these fields overflows it.
func (o *Out) open(addr, length uint32, records int) error {
	size := uint64(len(o.mem))
	switch {
	case addr%FrameAlignment != 0:
		return fmt.Errorf("address %d is not a multiple of %d: align the buffer that holds it", addr, FrameAlignment)
	case length < OutHeaderSize:
		return fmt.Errorf("%d bytes, fewer than the %d of its header", length, OutHeaderSize)
	case !inside(addr, length, size):
		return fmt.Errorf("%d bytes at %d leave the guest's memory of %d bytes", length, addr, size)
	}
	frame := o.mem[addr : uint64(addr)+uint64(length)]
	le := binary.LittleEndian
	if le.Uint32(frame) != outMagic {
		return fmt.Errorf("begins with %q, not with %q", frame[:4], OutMagic)
	}
	header, result, entry := uint64(le.Uint16(frame[4:])), uint64(le.Uint16(frame[6:])), uint64(le.Uint16(frame[8:]))
	results, entries := uint64(le.Uint32(frame[12:])), uint64(le.Uint32(frame[16:]))
	want := header + result*results + entry*entries
	switch {
	case header < OutHeaderSize || header%8 != 0:
		return fmt.Errorf("header size %d is not a multiple of 8 from %d on", header, OutHeaderSize)
	case result < OutResultSize || result%8 != 0:
		return fmt.Errorf("result size %d is not a multiple of 8 from %d on", result, OutResultSize)
	case entry < OutEntrySize || entry%8 != 0:
		return fmt.Errorf("entry size %d is not a multiple of 8 from %d on", entry, OutEntrySize)
	case le.Uint32(frame[20:]) != 0:
		return fmt.Errorf("unknown flags %#x: must be 0 in ABI v%d", le.Uint32(frame[20:]), Version)
	case le.Uint16(frame[10:]) != 0 || le.Uint64(frame[24:]) != 0:
		return fmt.Errorf("reserved bytes of its header (10, 24) are not 0: clear the buffer before filling it")
	case records < 0 || results != uint64(records):
		return fmt.Errorf("%d results for %d records: there must be one for each", results, records)
	case want != uint64(length):
		return fmt.Errorf("is %d bytes long, but its counts (%d results, %d entries) make %d", length, results, entries, want)
	}
	o.results = frame[header : header+result*results]
	o.entries = frame[header+result*results:]
	o.resultStride, o.entryStride = int(result), int(entry)
	o.resultCount, o.entryCount = int(results), int(entries)
	return nil
}

func (o *Out) checkResults() error {
	size := uint64(len(o.mem))
	sum := uint64(0)
	le := binary.LittleEndian
	for i, at := 0, 0; i < o.resultCount; i, at = i+1, at+o.resultStride {
		b := (*[OutResultSize]byte)(o.results[at:])
		status, entries := Status(b[0]), le.Uint32(b[4:])
		bad := status < StatusOK || status > StatusError || status != StatusOK && entries != 0
		if bad || b[1] != 0 || !inside(le.Uint32(b[8:]), le.Uint32(b[12:]), size) {
			return fmt.Errorf("result %d: %w", i, resultError(b, size))
		}
		sum += uint64(entries)
	}
	if sum != uint64(o.entryCount) {
		return fmt.Errorf("its results have %d entries, its header says %d", sum, o.entryCount)
	}
	return nil
}

func (o *Out) checkEntries() error {
	size := uint64(len(o.mem))
	le := binary.LittleEndian
	for j, at := 0, 0; j < o.entryCount; j, at = j+1, at+o.entryStride {
		b := (*[OutEntrySize]byte)(o.entries[at:])
		clear := le.Uint16(b[2:]) == 0 && le.Uint32(b[20:]) == 0
		if !clear || !inside(le.Uint32(b[4:]), le.Uint32(b[8:]), size) || !inside(le.Uint32(b[12:]), le.Uint32(b[16:]), size) {
			return fmt.Errorf("entry %d: %w", j, entryError(b, size))
		}
	}
	return nil
}

// resultError says what is wrong with a result that failed its check.
func resultError(b *[OutResultSize]byte, size uint64) error {
	le := binary.LittleEndian
	status, entries := Status(b[0]), le.Uint32(b[4:])
	switch {
	case status < StatusOK || status > StatusError:
		return fmt.Errorf("status is %d, not 1 ok, 2 filtered or 3 error", b[0])
	case status != StatusOK && entries != 0:
		return fmt.Errorf("status %s with %d entries: it must have none", status, entries)
	case b[1] != 0:
		return fmt.Errorf("reserved byte 1 is %d, not 0: clear the buffer before filling it", b[1])
	}
	return spanError("message", le.Uint32(b[8:]), le.Uint32(b[12:]), size)
}

// entryError says what is wrong with an entry that failed its check.
func entryError(b *[OutEntrySize]byte, size uint64) error {
	le := binary.LittleEndian
	switch {
	case le.Uint16(b[2:]) != 0:
		return fmt.Errorf("unknown flags %#x: must be 0 in ABI v%d", le.Uint16(b[2:]), Version)
	case le.Uint32(b[20:]) != 0:
		return fmt.Errorf("reserved bytes at 20 are not 0: clear the buffer before filling it")
	case !inside(le.Uint32(b[4:]), le.Uint32(b[8:]), size):
		return spanError("key", le.Uint32(b[4:]), le.Uint32(b[8:]), size)
	}
	return spanError("value", le.Uint32(b[12:]), le.Uint32(b[16:]), size)
}

func spanError(what string, addr, length uint32, size uint64) error {
	return fmt.Errorf("%s of %d bytes at address %d leaves the guest's memory of %d bytes", what, length, addr, size)
}
