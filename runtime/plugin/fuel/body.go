package fuel

// An event is an instruction of a body that ends a straight stretch, or that the meter rewrites. What lies between two
// events is executed whole or, after a trap, not to its end.
type event struct {
	at, end  int    // the instruction's bytes
	op       byte   // its opcode; for bulk instructions the one after 0xfc, with eventBulk
	bulk     bool   // charged by length
	last     bool   // a call that does not come back
	deep     bool   // it takes from the depth what bounded functions have used
	site     int64  // a call that is charged where it stands
	block    int32  // the block that it opens, closes or branches to; for br_table the first of its labels
	labels   int32  // br_table: how many
	straight int64  // cost of the instructions since the event before
	in       int32  // the innermost block that is open before it
	charge   int64  // what is charged after the event
	read     uint64 // slots that are read since the event before, and not written before that
	wrote    uint64 // slots that are written since the event before
}

// A block is a block, loop, if or, as block 0, the function itself.
type block struct {
	op       byte
	parent   int32
	hasElse  bool
	targeted bool    // some branch names it
	checked  bool    // there is a check after its end
	arity    int     // values that a branch to it carries
	params   int     // values that it takes from the stack
	setsAt   int     // local.sets before it
	merge    int64   // what it costs to arrive at its label: values that may have to be moved
	atLabel  int64   // cost from its label on to the next checks
	atElse   int64   // if: cost from its else on
	elseAt   int     // and the event of that else
	calls    bool    // there is a call in it
	region   int32   // the loop or function around it that has its fuel in a local, or none
	exits    []int32 // of such a loop: the blocks to which a br_if or br_table within leaves it
	wrote    uint64  // slots that are written within it
	live     uint64  // slots that are live at its label
	liveElse uint64  // if: at its else
}

// body is the scan of one function. Its slices are used again for the next.
type body struct {
	events                   []event
	blocks                   []block
	open                     []int32 // blocks that are open, outermost first
	labels                   []int32 // of br_table
	locals                   int     // params included
	sets                     int     // local.set and local.tee so far
	values                   int     // values that may need a place in the frame
	wide                     bool    // some are 16 bytes
	calls                    bool    // of what may change the fuel, and comes back
	direct                   []call  // of own functions
	first                    int     // where the first call is; 0 without
	called                   int64   // what calls of covered functions cost
	sited, bounded, indirect bool    // see node
	rank                     int     // see node
	marks                    int     // blocks that are checked
	bulks                    bool
	code                     int    // where the instructions begin
	run                      int64  // cost since the last event
	loops                    bool   // some loop has a check that is left for the next slice
	kinds                    []byte // types of the locals
	slots                    slots
	tight                    bool // one of them has no call in it
}

// scan reads the body that r holds.
func (b *body) scan(m *module, t *funcType, r *reader) {
	b.slots.reset()
	*b = body{events: b.events[:0], blocks: b.blocks[:0], open: b.open[:0], labels: b.labels[:0], locals: len(t.params),
		kinds: append(b.kinds[:0], t.params...), slots: b.slots, direct: b.direct[:0], sited: b.sited, bounded: b.bounded, rank: b.rank}
	b.readLocals(m, r)
	b.code = r.at
	b.wide = b.wide || hasVector(t.params) || hasVector(t.results)
	b.push(0x02, 0, len(t.results))
	for r.err == nil && len(b.open) > 0 {
		b.instruction(m, t, r)
	}
	if r.more() {
		r.fail("%d bytes after the function's end", len(r.b)-r.at)
	}
}

func (b *body) readLocals(m *module, r *reader) {
	for n := r.count("groups of locals"); n > 0 && r.err == nil; n-- {
		at := r.at
		k := r.u32()
		if uint64(b.locals)+uint64(k) > uint64(m.limits.Locals) {
			r.failAt(at, "more than %d locals", m.limits.Locals)
			return
		}
		b.locals += int(k)
		kind := r.valueType()
		if kind == typeV128 {
			b.wide = true
		}
		for range k {
			b.kinds = append(b.kinds, kind)
		}
	}
}

func hasVector(types []byte) bool {
	for _, t := range types {
		if t == typeV128 {
			return true
		}
	}
	return false
}

func (b *body) push(op byte, params, arity int) int32 {
	id, parent := int32(len(b.blocks)), int32(-1)
	if id > 0 {
		parent = b.open[len(b.open)-1]
	}
	b.blocks = append(b.blocks, block{op: op, parent: parent, params: params, arity: arity, setsAt: b.sets})
	b.open = append(b.open, id)
	return id
}

func (b *body) event(at, end int, op byte, block int32) *event {
	in := int32(0)
	if len(b.open) > 0 {
		in = b.open[len(b.open)-1]
	}
	b.events = append(b.events, event{at: at, end: end, op: op, block: block, straight: b.run, in: in,
		read: b.slots.read, wrote: b.slots.wrote})
	b.run, b.slots.read, b.slots.wrote = 0, 0, 0
	return &b.events[len(b.events)-1]
}

// instruction reads one instruction. Those of the common kinds only add to the cost of the straight stretch.
func (b *body) instruction(m *module, t *funcType, r *reader) {
	at := r.at
	c := r.byte()
	o := plain[c]
	switch o.imm {
	case immNone:
		b.values++
	case immLocalGet:
		b.get(r.index(b.locals, "local"))
	case immLocalSet:
		b.set(r.index(b.locals, "local"))
		b.sets++
	case immGlobal:
		r.index(m.globals, "global")
		b.values++
	case immMemory:
		b.memory(m, r)
	case immI32:
		r.signed(32)
	case immI64:
		r.signed(64)
	case imm4:
		r.skip(4)
	case imm8:
		r.skip(8)
	case immControl:
		b.control(m, r, at, c)
		return
	case immCall, immCallIndirect:
		b.call(m, r, at, o)
		return
	case immPrefix:
		b.prefixed(m, r, at, c)
		return
	case immMemorySize, immMemoryGrow:
		b.needMemory(m, r, at)
		r.zero("memory index")
		b.values++
		if o.imm == immMemoryGrow {
			b.lengthy(at, r.at, c)
		}
	case immUnknown:
		b.unknown(r, at, c)
	default:
		b.reference(m, r, o)
	}
	b.run += int64(o.weight)
}

func (b *body) unknown(r *reader, at int, c byte) {
	if name := refused[c]; name != "" {
		r.failAt(at, "opcode %#x: %s, which foldrun does not run", c, name)
		return
	}
	r.failAt(at, "unknown opcode %#x", c)
}

// reference reads the immediates of the instructions on references.
func (b *body) reference(m *module, r *reader, o op) {
	b.values++
	switch o.imm {
	case immTable:
		m.readTableIndex(r)
	case immRefNull:
		r.refType()
	case immRefFunc:
		m.refers(r.index(len(m.funcs), "function"))
	case immSelect:
		if at := r.at; r.byte() != 1 {
			r.failAt(at, "a select of several values")
		}
		r.valueType()
	}
}

func (m *module) readTableIndex(r *reader) { r.index(m.imported.tables+len(m.tables), "table") }

func (b *body) needMemory(m *module, r *reader, at int) {
	if m.memories == 0 {
		r.failAt(at, "an instruction on memory, and no memory")
	}
}

func (b *body) memory(m *module, r *reader) {
	at := r.at
	b.needMemory(m, r, at)
	if align := r.u32(); align >= 0x40 {
		r.failAt(at, "an alignment of 2^%d: multi-memory is not run", align)
	}
	r.u32()
	b.values++
}

// call charges for the values that are moved too, since one instruction may take and give hundreds.
func (b *body) call(m *module, r *reader, at int, o op) {
	var t *funcType
	own := int64(none)
	if o.imm == immCall {
		i := r.index(len(m.funcs), "function")
		if r.err != nil {
			return
		}
		t = &m.types[m.funcs[i]]
		if own = int64(i) - int64(m.imported.funcs); own < 0 {
			b.run += hostCall
		}
	} else {
		i := r.index(len(m.types), "type")
		m.readTableIndex(r)
		if r.err != nil {
			return
		}
		t = &m.types[i]
	}
	if b.first == 0 {
		b.first = at
	}
	b.values += len(t.params) + len(t.results)
	b.run += int64(o.weight) + int64(len(t.params)+len(t.results))
	switch {
	case o.imm == immCallIndirect:
		b.tableCall(m, r, at)
	case own >= 0:
		b.ownCall(m, r, at, uint32(own))
	default: // host functions take fuel
		b.calledAt(true)
	}
}

// stays reports whether what follows the event in the code follows it in every run.
func (e *event) stays() bool { return e.bulk || e.op == 0x10 || e.op == 0x11 }

// hostCall is what a call of an imported function costs more than one of the module's own.
const hostCall = 100

// lengthy makes an event of an instruction whose last operand is a length.
func (b *body) lengthy(at, end int, op byte) {
	b.event(at, end, op, 0).bulk = true
	b.bulks = true
}

// prefixed reads an instruction of two opcodes. The second is a LEB128, but of what follows 0xfd wazero looks at the
// first byte only. So there only the shortest form is accepted: any other could be one instruction here and another
// there, with code that nobody metered where the other's immediates are.
func (b *body) prefixed(m *module, r *reader, at int, prefix byte) {
	var o op
	var second uint32
	if prefix == 0xfd {
		second = uint32(r.byte())
		o = vector[second]
		b.wide = true
		if second >= 0x80 {
			if high := r.byte(); high != 1 {
				r.failAt(at, "opcode 0xfd %#x %#x: relaxed vectors and padded opcodes are not run", second, high)
			}
		}
	} else if second = r.u32(); second < uint32(len(bulk)) {
		o = bulk[second]
	}
	b.values++
	switch o.imm {
	case immNone:
	case immMemory:
		b.memory(m, r)
	case immMemoryLane:
		b.memory(m, r)
		r.byte()
	case immLane:
		r.byte()
	case imm16:
		r.skip(16)
	case immUnknown:
		r.failAt(at, "unknown opcode %#x %#x", prefix, second)
	default:
		b.bulkImmediates(m, r, at, o, byte(second))
	}
	b.run += int64(o.weight)
}

func (b *body) bulkImmediates(m *module, r *reader, at int, o op, second byte) {
	switch o.imm {
	case immMemoryInit, immMemoryCopy, immMemoryFill:
		b.needMemory(m, r, at)
	}
	switch o.imm {
	case immData:
		m.readData(r)
		return
	case immElem:
		r.index(m.elems, "element segment")
		return
	case immTable:
		m.readTableIndex(r)
		return
	case immMemoryInit:
		m.readData(r)
		r.zero("memory index")
	case immMemoryCopy:
		r.zero("memory index")
		r.zero("memory index")
	case immMemoryFill:
		r.zero("memory index")
	case immTableInit:
		r.index(m.elems, "element segment")
		m.readTableIndex(r)
	case immTableCopy:
		m.readTableIndex(r)
		m.readTableIndex(r)
	case immTableGrow, immTableFill:
		m.readTableIndex(r)
	}
	b.lengthy(at, r.at, second)
}

func (m *module) readData(r *reader) {
	if m.datas < 0 {
		r.fail("an instruction on a data segment, and no data count section")
	}
	r.index(m.datas, "data segment")
}

// wrapped reports whether the block is a loop with a check at its head that is left and entered again. One that takes
// values could not be entered again: its check stands inside.
func (k *block) wrapped() bool { return k.op == 0x03 && k.targeted && k.params == 0 }
