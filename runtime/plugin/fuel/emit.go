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
	m                    *module
	fuel, depth, reserve uint32 // indexes of the globals
	mark                 uint32
	refill, climbed, ref uint32 // and of functions: that the dry call, those that have returned far, the host; or 0
	types                []funcType
	helpers              []helper
	longs                map[byte]uint32 // helpers for long instructions, by the opcode after 0xfc
	out                  []byte
	body                 []byte  // of the function in hand
	places               []int32 // and where the labels of its blocks are
	local                uint32  // of its fuel, in loops without calls
	cached               bool    // whether that is in use
	counted              bool    // whether the function in hand takes from the depth
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

// belowZero tests the i64 on the stack.
func (w *emitter) belowZero() {
	w.i64(0)
	w.bytes(0x53) // i64.lt_s
}

// check tests in the place where it stands.
func (w *emitter) check() {
	w.getFuel()
	w.belowZero()
	w.bytes(0x04, 0x40) // if
	w.call(w.refill)
	w.bytes(0x0b)
}

// charge takes what is due; the next test sees whether it was there.
func (w *emitter) charge(n int64) {
	if n != 0 {
		w.getFuel()
		w.i64(n + checkCost)
		w.bytes(0x7d) // i64.sub
		w.setFuel()
	}
}

// checkCost is what a check charges for itself.
const checkCost = 4

// enter is what a function begins with. One test covers fuel and depth: their signs are or-ed.
func (w *emitter) enter(charge, frame int64) {
	if frame > 0 {
		w.take(w.depth, frame)
	}
	w.load()
	w.bytes(0x03, 0x40, 0x02, 0x40) // loop block
	w.getFuel()
	if frame > 0 {
		w.global(globalGet, w.depth)
		w.bytes(0x84) // i64.or
	}
	w.belowZero()
	w.bytes(0x0d, 0) // br_if
	w.charge(charge)
}

// again ends what enter or loop began, after the block that is left in want of fuel or stack: to the beginning again.
func (w *emitter) again() {
	w.call(w.refill)
	w.bytes(0x0c, 0, 0x0b, 0x00) // br end unreachable
}

// loop opens a loop that has a check at its head. op is the instruction, whole.
func (w *emitter) loop(k *block, op []byte, charge int64) {
	w.bytes(0x02)
	w.bytes(op[1:]...)
	for range k.exits {
		w.bytes(0x02, 0x40)
	}
	w.bytes(0x03, 0x40, 0x02, 0x40)
	w.bytes(op...)
	w.getFuel()
	w.belowZero()
	w.bytes(0x0d, 1)
	w.charge(charge)
}

// endLoop closes it.
func (w *emitter) endLoop(b *body, k *block, id int32) {
	w.bytes(0x0b) // end
	if k.region == id {
		w.save()
	}
	w.bytes(0x0c) // br
	w.u32(uint32(2 + len(k.exits)))
	w.bytes(0x0b) // end
	w.renew(b, k.live&k.wrote)
	w.again()
	for i := len(k.exits) - 1; i >= 0; i-- {
		w.bytes(0x0b) // end
		w.save()
		w.bytes(0x0c) // br
		w.u32(uint32(w.places[k.parent] + 1 + int32(i) - w.places[k.exits[i]]))
	}
	if k.region == id {
		w.cached = false
	}
	w.bytes(0x0b)
}

// leave gives back what a function took from the depth.
func (w *emitter) leave(n *node) {
	w.global(globalGet, w.depth)
	w.i64(n.frame)
	w.bytes(0x7c) // i64.add
	w.global(globalSet, w.depth)
	if !n.climbs {
		return
	}
	w.global(globalGet, w.mark)
	w.global(globalGet, w.depth)
	w.bytes(0x53, 0x04, 0x40, 0x10) // i64.lt_s if call
	w.u32(w.climbed)
	w.bytes(0x0b)
}

// function writes own function i: b is its scan with the charges worked out.
func (w *emitter) function(b *body, i int, entry int64) {
	n, t, r := &w.m.nodes[i], w.m.typeOf(i), w.m.bodies[i]
	w.body = w.body[:0]
	w.locals(b, w.m.wasm, r.at)
	w.counted = n.tree == 0
	headed := !n.covered && b.headed(entry)
	w.place(b, !n.covered && !headed)
	w.cached = b.blocks[0].region == 0
	switch {
	case n.covered, headed && !w.counted:
		w.writeCode(b, len(r.b))
	case headed:
		w.take(w.depth, n.frame)
		w.global(globalGet, w.depth)
		w.belowZero()
		w.bytes(0x04, 0x40, 0x00, 0x0b) // if unreachable end
		w.bytes(0x02)
		w.blockType(t)
		w.writeCode(b, len(r.b))
		w.leave(n)
		w.bytes(0x0b)
	default:
		frame := int64(0)
		if w.counted {
			frame = n.frame
		}
		w.enter(entry, frame)
		w.bytes(0x02) // block: so that a branch out of the function leads to where the depth is given back
		w.blockType(t)
		w.writeCode(b, len(r.b))
		w.save()
		if w.counted {
			w.leave(n)
		}
		w.bytes(0x0f, 0x0b) // return end
		w.again()
		w.bytes(0x0b)
	}
	w.out = binary.AppendUvarint(w.out, uint64(len(w.body)))
	w.out = append(w.out, w.body...)
}

// writeCode writes a function's code up to its end.
func (w *emitter) writeCode(b *body, end int) {
	r, from := w.m.wasm, b.code
	for i := range b.events {
		e := &b.events[i]
		w.body = append(w.body, r[from:e.at]...)
		w.event(b, e, r[e.at:e.end])
		from = e.end
	}
	w.body = append(w.body, r[from:end]...)
}

// event writes one event. op is its instruction, whole.
func (w *emitter) event(b *body, e *event, op []byte) {
	k := &b.blocks[0]
	if e.op != 0x0e {
		k = &b.blocks[e.block]
	}
	switch {
	case e.bulk:
		w.length(b, e.op)
		w.bytes(op...)
	case e.op == 0x10, e.op == 0x11: // call call_indirect
		w.site(e)
		w.bytes(op...)
	case e.op == 0x0f && (w.counted || w.cached): // return
		w.exit(b, e, 0)
		w.bytes(0x0c)
		w.label(b, e, 0)
	case e.op == 0x0c, e.op == 0x0d: // br br_if
		w.exit(b, e, e.block)
		w.bytes(e.op)
		w.label(b, e, e.block)
	case e.op == 0x0e: // br_table
		w.exit(b, e, b.labels[e.block:e.block+e.labels]...)
		w.bytes(e.op)
		w.u32(uint32(e.labels - 1))
		for _, id := range b.labels[e.block : e.block+e.labels] {
			w.label(b, e, id)
		}
	case e.op == 0x03 && k.wrapped(): // loop
		if k.region == e.block {
			w.cached = true
			w.load()
		}
		w.loop(k, op, e.charge)
		return
	case e.op == 0x03 && k.targeted:
		w.bytes(op...)
		w.check()
	case e.op == 0x0b && k.wrapped():
		w.endLoop(b, k, e.block)
	default:
		w.bytes(op...)
	}
	w.charge(e.charge)
}

// site charges for a call where it stands.
func (w *emitter) site(e *event) {
	if e.site > 0 {
		w.check()
		w.charge(e.site - checkCost)
	}
	if e.deep {
		w.take(w.depth, w.m.deepest)
		w.global(globalGet, w.depth)
		w.belowZero()
		w.bytes(0x04, 0x40) // if
		w.call(w.refill)
		w.bytes(0x0b)
	}
	if e.last {
		w.save()
	}
}

// place works out where each block's label is among all that are open.
func (w *emitter) place(b *body, whole bool) {
	w.places = w.places[:0]
	b.regions(whole)
	for i := range b.blocks {
		k := &b.blocks[i]
		switch {
		case i > 0 && k.wrapped():
			w.places = append(w.places, w.places[k.parent]+4+int32(len(k.exits)))
		case i > 0:
			w.places = append(w.places, w.places[k.parent]+1)
		default:
			w.places = append(w.places, 0)
		}
	}
}

// locals writes the declarations of the locals, with one more for the length of bulk instructions: it comes after all
// others.
func (w *emitter) locals(b *body, wasm []byte, start int) {
	var more []byte
	n := uint32(0)
	if b.bulks {
		more = append(more, 1, typeI32)
		n++
	}
	if w.local = uint32(b.locals) + n; b.tight {
		more = append(more, 1, typeI64)
		n++
	}
	r := reader{b: wasm[:b.code], at: start}
	w.u32(r.u32() + n)
	w.body = append(w.body, wasm[r.at:b.code]...)
	w.body = append(w.body, more...)
}

// length charges for the length that is on top of the stack, and leaves it there.
func (w *emitter) length(b *body, op byte) {
	w.bytes(0x22) // local.tee
	w.u32(uint32(b.locals))
	w.getFuel()
	w.bytes(0x20) // local.get
	w.u32(uint32(b.locals))
	w.bytes(0xad) // i64.extend_i32_u: what is charged is below 2^42
	switch shift := lengthShift[op]; {
	case shift > 0:
		w.i64(int64(shift))
		w.bytes(0x88) // i64.shr_u
	case shift < 0:
		w.i64(int64(-shift))
		w.bytes(0x86) // i64.shl
	}
	w.bytes(0x7d) // i64.sub
	w.setFuel()
	if splits[op] == "" {
		w.check()
		return
	}
	w.getFuel()
	w.belowZero()
	w.bytes(0x04) // if
	w.body = appendSigned(w.body, int64(w.typeIndex(threeI32, threeI32)))
	w.call(w.long(op))
	w.bytes(0x0b)
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
	w.body = appendSigned(w.body, int64(w.typeIndex("", string(t.results))))
}

// typeIndex returns the index of a type, which is appended unless the module has it.
func (w *emitter) typeIndex(params, results string) int {
	for i := range w.types {
		if u := &w.types[i]; string(u.params) == params && string(u.results) == results {
			return i
		}
	}
	w.types = append(w.types, funcType{[]byte(params), []byte(results)})
	return len(w.types) - 1
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
