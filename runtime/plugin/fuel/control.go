package fuel

import "math/bits"

// control reads an instruction that begins, ends or leaves a block.
func (b *body) control(m *module, r *reader, at int, c byte) {
	weight := int64(plain[c].weight)
	switch c {
	case 0x02, 0x03, 0x04: // block loop if
		b.begin(m, r, at, c)
	case 0x05: // else
		top := &b.blocks[b.open[len(b.open)-1]]
		if top.op != 0x04 || top.hasElse {
			r.failAt(at, "an else without its if")
			return
		}
		top.hasElse = true
		b.event(at, r.at, c, b.open[len(b.open)-1])
	case 0x0b: // end
		b.close(at, r.at)
	case 0x0c, 0x0d: // br br_if
		b.run += weight
		id := b.label(r)
		b.event(at, r.at, c, id)
	case 0x0e: // br_table
		n := r.count("labels") + 1
		first := int32(len(b.labels))
		for i := 0; i < n && r.err == nil; i++ {
			b.labels = append(b.labels, b.label(r))
		}
		b.run += weight
		b.event(at, r.at, c, first).labels = int32(len(b.labels)) - first
	case 0x0f: // return
		b.run += weight + int64(b.blocks[0].arity)/movesPerFuel
		b.event(at, r.at, c, 0)
	default: // unreachable
		b.run += weight
		b.event(at, r.at, c, 0)
	}
}

// begin opens a block. A plain block is no event: it makes no code.
func (b *body) begin(m *module, r *reader, at int, c byte) {
	params, results := m.blockType(r)
	arity := results
	if c == 0x03 {
		arity = params
	}
	b.run += int64(plain[c].weight)
	if c == 0x03 {
		b.slots.loops++
	}
	id := b.push(c, params, arity)
	if c != 0x02 {
		b.event(at, r.at, c, id)
	}
}

// blockType reads the type of a block and returns how many values it takes and leaves.
func (m *module) blockType(r *reader) (params, results int) {
	at := r.at
	switch v := r.signed(33); {
	case r.err != nil:
	case v >= int64(len(m.types)):
		r.failAt(at, "type %d, the module has %d", v, len(m.types))
	case v >= 0:
		return len(m.types[v].params), len(m.types[v].results)
	case v == -64:
	default:
		p := reader{b: []byte{byte(v) & 0x7f}}
		if p.valueType(); v < -64 || p.err != nil {
			r.failAt(at, "unknown block type %d", v)
		}
		return 0, 1
	}
	return 0, 0
}

// label reads a label and returns the block that it names.
func (b *body) label(r *reader) int32 {
	at := r.at
	n := r.u32()
	if uint64(n) >= uint64(len(b.open)) {
		r.failAt(at, "label %d, %d blocks are open", n, len(b.open))
		return 0
	}
	id := b.open[len(b.open)-1-int(n)]
	b.blocks[id].targeted = true
	return id
}

// close ends the innermost block. Where ways through the code meet, every local that was set on one of them is a value
// to be moved to where the others have it: a place in the frame, and work.
func (b *body) close(at, end int) {
	id := b.open[len(b.open)-1]
	b.open = b.open[:len(b.open)-1]
	k := &b.blocks[id]
	if k.targeted || k.op == 0x04 {
		moved := min(b.sets-k.setsAt, b.locals) + k.arity
		k.merge = int64(moved) / movesPerFuel
		b.values += moved
	}
	if k.op == 0x03 {
		b.endOfLoop(k)
	}
	if k.parent >= 0 {
		b.blocks[k.parent].wrote |= k.wrote
		b.blocks[k.parent].calls = b.blocks[k.parent].calls || k.calls
	}
	b.event(at, end, 0x0b, id)
}

func (b *body) endOfLoop(k *block) {
	b.slots.loops--
	if !k.wrapped() {
		return
	}
	b.loops = true
	b.tight = b.tight || !k.calls
	b.values += bits.OnesCount64(k.wrote) // renewed where it is left for the next slice
}

// movesPerFuel is how many values are moved, where ways meet, for one fuel.
const movesPerFuel = 2
