package abi

import "encoding/binary"

// The two frames of a call. ABI.md has the offset tables and the reasons.
//
//	in frame    header 32   records x 64   headers x 16   heap       offsets from the frame's start
//	out frame   header 32   results x 16   entries x 32              addresses in guest memory
const (
	InMagic  = "FRI1"
	OutMagic = "FRO1"

	InHeaderSize   = 32
	InRecordSize   = 64
	InNameSize     = 16 // one header value of a message
	OutHeaderSize  = 32
	OutResultSize  = 16
	OutEntrySize   = 32
	FrameAlignment = 8 // of the arena, of an out frame, of every table

	// A frame holds at most this many records and bytes, or one record of any size.
	MaxFrameRecords = 256
	MaxFrameBytes   = 64 << 10

	// NoProgress is what the host puts into the progress field of an in frame, and what it finds there if the
	// guest left no hint.
	NoProgress = 0xffffffff
)

// progressAt is where a guest stores the index of the record in hand. It stays there in all of ABI v1.
const progressAt = 24

var (
	inMagic  = binary.LittleEndian.Uint32([]byte(InMagic))
	outMagic = binary.LittleEndian.Uint32([]byte(OutMagic))
)

// inside reports whether a span lies in a space of size bytes. A span of length 0 is empty wherever it points: a
// guest's empty slice may have any address.
func inside(at, length uint32, size uint64) bool {
	return length == 0 || uint64(at)+uint64(length) <= size
}

func validOp(op Op) bool { return op >= OpPut && op <= OpPurge }
