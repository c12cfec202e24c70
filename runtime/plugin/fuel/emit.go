package fuel

import "encoding/binary"

// lengthShift says how a bulk instruction is charged by its length: a right shift, or a left one below zero. By the
// opcode after 0xfc; memory.grow has its own.
var lengthShift = map[byte]int{
	0x40: -10, // memory.grow: pages
	0x08: 3,   // memory.init: bytes
	0x0a: 3,   // memory.copy
	0x0b: 3,   // memory.fill
	0x0c: 0,   // table.init: elements
	0x0e: 0,   // table.copy
	0x0f: 0,   // table.grow
	0x11: 0,   // table.fill
}

// emitter writes metered code.
type emitter struct {
	m           *module
	fuel, depth uint32 // indexes of the two globals
	types       []funcType
	out         []byte
	body        []byte // of the function in hand
}

func (w *emitter) bytes(b ...byte) { w.body = append(w.body, b...) }
func (w *emitter) u32(v uint32)    { w.body = binary.AppendUvarint(w.body, uint64(v)) }

func (w *emitter) i64(v int64) { // i64.const
	w.body = append(w.body, 0x42)
	w.body = appendSigned(w.body, v)
}

func appendSigned(b []byte, v int64) []byte {
	for ; v < -64 || v > 63; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v)&0x7f)
}

func (w *emitter) global(op byte, index uint32) {
	w.bytes(op)
	w.u32(index)
}

const (
	globalGet = 0x23
	globalSet = 0x24
)

// take subtracts n from a global.
func (w *emitter) take(global uint32, n int64) {
	w.global(globalGet, global)
	w.i64(n)
	w.bytes(0x7d) // i64.sub
	w.global(globalSet, global)
}

// trapBelowZero ends a check: the operand on the stack is an i64. trap is the label of the block that ends in a trap.
func (w *emitter) trapBelowZero(trap int32) {
	w.i64(0)
	w.bytes(0x53, 0x0d) // i64.lt_s br_if
	w.u32(uint32(trap))
}

func (w *emitter) check(charge int64, trap int32) {
	if charge == 0 {
		return
	}
	w.take(w.fuel, charge+checkCost)
	w.global(globalGet, w.fuel)
	w.trapBelowZero(trap)
}

// checkCost is what a check charges for itself.
const checkCost = 4

// enter is what a function begins with. One test covers fuel and depth: their signs are or-ed.
func (w *emitter) enter(charge, frame int64) {
	if frame == 0 {
		w.check(charge, 0)
		return
	}
	w.take(w.depth, frame)
	w.global(globalGet, w.depth)
	if charge > 0 {
		w.take(w.fuel, charge+checkCost)
		w.global(globalGet, w.fuel)
		w.bytes(0x84) // i64.or
	}
	w.trapBelowZero(0)
}

func (w *emitter) leave(frame int64) {
	w.global(globalGet, w.depth)
	w.i64(frame)
	w.bytes(0x7c) // i64.add
	w.global(globalSet, w.depth)
}

// function writes one function: t its type, b its scan with the charges worked out, r its code.
func (w *emitter) function(t *funcType, b *body, r []byte, start, end int, entry int64) {
	w.body = w.body[:0]
	w.locals(b, r, start)
	frame := int64(0)
	if b.calls {
		frame = b.frame()
	}
	w.bytes(0x02, 0x40)
	w.enter(entry, frame)
	w.bytes(0x02) // block: what was a branch out of the function now leads to its end
	w.blockType(t)
	from := b.code
	for i := range b.events {
		e := &b.events[i]
		switch {
		case e.bulk:
			w.body = append(w.body, r[from:e.at]...)
			w.length(b, lengthShift[e.op], e.depth)
			from = e.at
		case e.op == 0x0f && b.calls:
			w.body = append(w.body, r[from:e.at]...)
			w.bytes(0x0c) // br
			w.u32(uint32(e.labels))
			from = e.end
		}
		if e.charge != 0 {
			w.body = append(w.body, r[from:e.end]...)
			w.check(e.charge, e.depth)
			from = e.end
		}
	}
	w.body = append(w.body, r[from:end]...)
	if b.calls {
		w.leave(frame)
	}
	w.bytes(0x0f, 0x0b, 0x00, 0x0b)
	w.out = binary.AppendUvarint(w.out, uint64(len(w.body)))
	w.out = append(w.out, w.body...)
}

// locals writes the declarations of the locals, with one more for the length of bulk instructions: it comes after all
// others.
func (w *emitter) locals(b *body, wasm []byte, start int) {
	if !b.bulks {
		w.body = append(w.body, wasm[start:b.code]...)
		return
	}
	r := reader{b: wasm[:b.code], at: start}
	w.u32(r.u32() + 1)
	w.body = append(w.body, wasm[r.at:b.code]...)
	w.bytes(1, typeI32)
}

// length charges for the length that is on top of the stack, and leaves it there.
func (w *emitter) length(b *body, shift int, trap int32) {
	w.bytes(0x22) // local.tee
	w.u32(uint32(b.locals))
	w.global(globalGet, w.fuel)
	w.bytes(0x20) // local.get
	w.u32(uint32(b.locals))
	w.bytes(0xad) // i64.extend_i32_u: what is charged is below 2^42
	switch {
	case shift > 0:
		w.i64(int64(shift))
		w.bytes(0x88) // i64.shr_u
	case shift < 0:
		w.i64(int64(-shift))
		w.bytes(0x86) // i64.shl
	}
	w.bytes(0x7d) // i64.sub
	w.global(globalSet, w.fuel)
	w.global(globalGet, w.fuel)
	w.trapBelowZero(trap)
}

// blockType writes the type of a block that leaves what a function returns. For several values that is a type without
// params, which is appended unless there is one.
func (w *emitter) blockType(t *funcType) {
	switch len(t.results) {
	case 0:
		w.bytes(0x40)
		return
	case 1:
		w.bytes(t.results[0])
		return
	}
	i := 0
	for ; i < len(w.types); i++ {
		if u := &w.types[i]; len(u.params) == 0 && string(u.results) == string(t.results) {
			break
		}
	}
	if i == len(w.types) {
		w.types = append(w.types, funcType{results: t.results})
	}
	w.body = appendSigned(w.body, int64(i))
}

// frame is the bytes that a call of the function is taken to need on the stack: a place for every value, since wazero
// never uses one for two.
func (b *body) frame() int64 {
	size := int64(8)
	if b.wide {
		size = 16
	}
	return frameBase + size*int64(b.locals+b.values)
}

const frameBase = 64
