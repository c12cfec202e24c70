package fuel

import "math/bits"

// A slot stands for one of the locals that loops use, the first 64 of each function: sets of them are a word.
type slots struct {
	of     []uint8 // by local: one more than its slot, or 0
	locals []int32 // by slot
	read   uint64  // since the last event, and not written before that
	wrote  uint64  // since the last event
	loops  int     // that are open
}

func (s *slots) reset() {
	*s = slots{of: s.of[:0], locals: s.locals[:0]}
}

// bit returns the bit of a local's slot, or 0. A local gets a slot when a loop uses it.
func (s *slots) bit(local uint32) uint64 {
	if int(local) < len(s.of) && s.of[local] > 0 {
		return 1 << (s.of[local] - 1)
	}
	if s.loops == 0 || len(s.locals) == 64 {
		return 0
	}
	for len(s.of) <= int(local) {
		s.of = append(s.of, 0)
	}
	s.locals = append(s.locals, int32(local))
	s.of[local] = uint8(len(s.locals))
	return 1 << (len(s.locals) - 1)
}

func (b *body) get(local uint32) { b.slots.read |= b.slots.bit(local) &^ b.slots.wrote }

func (b *body) set(local uint32) {
	bit := b.slots.bit(local)
	b.slots.wrote |= bit
	b.blocks[b.open[len(b.open)-1]].wrote |= bit
}

// liveness works out which locals are live at the head of each loop: read from there on before they are written. A pass
// goes from the function's end to its beginning; what a branch to a loop's head needs is what the pass before has found
// there. Passes that are too few find too few, which costs time and nothing else.
func (b *body) liveness() {
	for changed, n := b.loops, 0; changed && n < passes; n++ {
		changed = b.livePass()
	}
}

func (b *body) livePass() (changed bool) {
	live := uint64(0)
	for i := len(b.events) - 1; i >= 0; i-- {
		e := &b.events[i]
		if !e.stays() {
			var more bool
			live, more = b.liveAt(e, live)
			changed = changed || more
		}
		live = e.read | live&^e.wrote
	}
	return changed
}

// liveAt returns what is live before an event, where live is what is live after it.
func (b *body) liveAt(e *event, live uint64) (before uint64, changed bool) {
	switch e.op {
	case 0x0e: // br_table
		live = 0
		for _, id := range b.labels[e.block : e.block+e.labels] {
			live |= b.blocks[id].live
		}
		return live, false
	case 0x0f, 0x00: // return unreachable
		return 0, false
	}
	k := &b.blocks[e.block]
	switch e.op {
	case 0x0b: // end
		if k.op != 0x03 {
			k.live = live
		}
	case 0x05: // else
		k.liveElse = live
		live = k.live
	case 0x04: // if
		if k.hasElse {
			live |= k.liveElse
		} else {
			live |= k.live
		}
	case 0x03: // loop
		changed = k.live != live
		k.live = live
	case 0x0d: // br_if
		live |= k.live
	case 0x0c: // br
		live = k.live
	}
	return live, changed
}

// renew gives locals anew the values that they have. For wazero these are other values, and so it is these that it
// stores for the call that comes, and not those of the loop, which it would store in each turn.
func (w *emitter) renew(b *body, slots uint64) {
	for ; slots != 0; slots &= slots - 1 {
		local := b.slots.locals[bits.TrailingZeros64(slots)]
		same := renewals[b.kinds[local]]
		if same == "" {
			continue
		}
		w.bytes(0x20) // local.get
		w.u32(uint32(local))
		w.body = append(w.body, same...)
		w.bytes(0x21) // local.set
		w.u32(uint32(local))
	}
}

// renewals is code that leaves the bits of a value as they are, by the value's type.
var renewals = map[byte]string{
	typeI32:  "\x41\x00\x6a",         // i32.const 0 i32.add
	typeI64:  "\x42\x00\x7c",         // i64.const 0 i64.add
	typeF32:  "\xbc\x41\x00\x6a\xbe", // i32.reinterpret_f32, the same, f32.reinterpret_i32
	typeF64:  "\xbd\x42\x00\x7c\xbf",
	typeV128: "\xfd\x4d\xfd\x4d", // v128.not, twice
}
