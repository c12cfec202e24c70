package fuel

import "encoding/binary"

// A helper is a function that the meter appends to a module.
type helper struct {
	kind uint32 // its type
	body []byte // locals and code
}

// threeI32 is what the memory instructions take: two operands and a length.
const threeI32 = "\x7f\x7f\x7f"

// splits names the instructions of which a long one is run piece by piece, memory.copy and memory.fill: by how they are
// to be written after 0xfc. memory.init is bounded by the module's own bytes.
var splits = map[byte]string{0x0a: "\x0a\x00\x00", 0x0b: "\x0b\x00"}

// piece is how many bytes a long instruction touches between two yields. Whatever is longer than eight bytes for each
// fuel of a slice is long: its charge is more than a slice, however much of one is left.
const piece = 256 << 10

// addHelper appends a function and returns its index.
func (w *emitter) addHelper(params, results string, write func()) uint32 {
	body := w.body
	w.body = nil
	write()
	w.helpers = append(w.helpers, helper{uint32(w.typeIndex(params, results)), w.body})
	w.body = body
	return uint32(len(w.m.funcs) + len(w.helpers) - 1)
}

// yield leaves the compiled code for Go and comes back: there a garbage collection that waits can stop the world, and
// the scheduler can run another goroutine. To grow the memory by nothing is the instruction that does that and nothing
// else.
func (w *emitter) yield() {
	if w.m.memories > 0 {
		w.bytes(0x41, 0, 0x40, 0, 0x1a) // i32.const 0 memory.grow drop
	}
}

// addRefill appends the function that the dry call: it moves a slice from the reserve to the fuel and yields. Where
// there is no fuel in either, or no stack, it traps.
//
//	local 0 i64: what is moved
func (w *emitter) addRefill() {
	w.refill = w.addHelper("", "", func() {
		w.bytes(1, 1, typeI64)
		w.global(globalGet, w.depth)
		w.global(globalGet, w.fuel)
		w.global(globalGet, w.reserve)
		w.bytes(0x7c, 0x84) // i64.add i64.or: the sign of either
		w.i64(0)
		w.bytes(0x53, 0x04, 0x40, 0x00, 0x0b) // i64.lt_s if unreachable end
		w.i64(int64(w.m.limits.Slice))
		w.global(globalGet, w.fuel)
		w.bytes(0x7d, 0x21, 0) // i64.sub local.set: so that a slice is there
		w.global(globalGet, w.reserve)
		w.global(globalGet, w.reserve)
		w.bytes(0x20, 0)
		w.global(globalGet, w.reserve)
		w.bytes(0x20, 0, 0x54, 0x1b, 0x22, 0, 0x7d) // i64.lt_u select local.tee i64.sub: or all that is left
		w.global(globalSet, w.reserve)
		w.global(globalGet, w.fuel)
		w.bytes(0x20, 0, 0x7c)
		w.global(globalSet, w.fuel)
		w.bytes(0x10) // call
		w.u32(w.climbed)
		w.bytes(0x0b)
	})
}

// climb is how many bytes of stack may be given back between two yields.
const climb = 512 << 10

// addClimbed appends the function that is called by who has returned far: it yields, and sets the mark anew. What comes
// after a call was charged at the function's entry, on the way down; a deep recursion runs all of it on the way up.
func (w *emitter) addClimbed() {
	w.climbed = w.addHelper("", "", func() {
		w.bytes(0)
		w.global(globalGet, w.depth)
		w.i64(climb)
		w.bytes(0x7c) // i64.add
		w.global(globalSet, w.mark)
		w.yield()
		w.bytes(0x0b)
	})
}

// addRef appends the function that returns a reference to the one that the host has named.
func (w *emitter) addRef() {
	if !w.m.named {
		return
	}
	w.ref = w.addHelper("", "\x70", func() {
		w.bytes(0, 0xd2) // ref.func
		w.u32(w.m.refer)
		w.bytes(0x0b)
	})
}

// long returns the function that takes the operands of a dry memory instruction, refills, runs the instruction on piece
// after piece and returns the operands of the last. It leaves alone what is out of bounds: that is to trap before
// anything is written.
//
//	params 0, 1, 2: where to, what with or where from, how many bytes
func (w *emitter) long(op byte) uint32 {
	if w.longs[op] != 0 {
		return w.longs[op]
	}
	w.longs[op] = w.addHelper(threeI32, threeI32, func() {
		w.bytes(0, 0x10)
		w.u32(w.refill)
		w.bytes(0x02, 0x40)
		w.leaveOutOfBounds(0)
		if op == 0x0a {
			w.leaveOutOfBounds(1)
		}
		w.bytes(0x03, 0x40, 0x20, 2) // loop: while more than a piece is left
		w.pieceSize()
		w.bytes(0x4d, 0x0d, 1) // i32.le_u br_if
		if op == 0x0a {
			w.copyPiece()
		} else {
			w.bytes(0x20, 0, 0x20, 1)
			w.pieceSize()
			w.bulk(op)
			w.move(0, 0x6a)
		}
		w.move(2, 0x6b)
		w.yield()
		w.bytes(0x0c, 0, 0x0b, 0x0b, 0x20, 0, 0x20, 1, 0x20, 2, 0x0b)
	})
	return w.longs[op]
}

// leaveOutOfBounds leaves the block when the length from operand i on is beyond the memory.
func (w *emitter) leaveOutOfBounds(i byte) {
	w.bytes(0x20, i, 0xad, 0x20, 2, 0xad, 0x7c) // i64.add of both
	w.bytes(0x3f, 0, 0xad)                      // memory.size
	w.i64(16)
	w.bytes(0x86, 0x56, 0x0d, 0) // i64.shl i64.gt_u br_if
}

// copyPiece copies the first piece forwards or the last piece backwards, as spans that overlap ask for.
func (w *emitter) copyPiece() {
	w.bytes(0x20, 0, 0x20, 1, 0x4d, 0x04, 0x40, 0x20, 0, 0x20, 1) // i32.le_u if
	w.pieceSize()
	w.bulk(0x0a)
	w.move(0, 0x6a)
	w.move(1, 0x6a)
	w.bytes(0x05) // else
	for i := range byte(2) {
		w.bytes(0x20, i, 0x20, 2, 0x6a)
		w.pieceSize()
		w.bytes(0x6b)
	}
	w.pieceSize()
	w.bulk(0x0a)
	w.bytes(0x0b)
}

func (w *emitter) pieceSize() {
	w.bytes(0x41)
	w.body = appendSigned(w.body, piece)
}

func (w *emitter) bulk(op byte) { w.body = append(append(w.body, 0xfc), splits[op]...) }

// move adds a piece to local i, or by i32.sub takes one from it.
func (w *emitter) move(i, op byte) {
	w.bytes(0x20, i)
	w.pieceSize()
	w.bytes(op, 0x21, i)
}

// appendHelpers appends the bodies of the helpers to the code.
func (w *emitter) appendHelpers() {
	for _, h := range w.helpers {
		w.out = append(binary.AppendUvarint(w.out, uint64(len(h.body))), h.body...)
	}
}
