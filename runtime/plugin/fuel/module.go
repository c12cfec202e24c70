package fuel

import (
	"strings"
)

// Sections, by id.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	sections
)

// order is where each section stands in a module: the data count comes before the code.
var order = [sections]int{secType: 1, secImport: 2, secFunction: 3, secTable: 4, secMemory: 5, secGlobal: 6, secExport: 7,
	secStart: 8, secElement: 9, secDataCount: 10, secCode: 11, secData: 12}

// funcType is a function's type.
type funcType struct {
	params, results []byte // value types
}

// module is what the index spaces of the original module hold. Indexes in code are checked against it, never against
// what the meter appends.
type module struct {
	limits   Limits
	wasm     []byte
	section  [sections]reader // payloads; b is nil where the module has no such section
	names    [][]byte         // custom sections "name", whole
	types    []funcType
	funcs    []uint32 // types of the functions, imported ones first
	imported struct{ funcs, tables, memories, globals int }
	tables   []tableType
	memories int
	globals  int
	elems    int
	datas    int // segments, by the data count section; -1 without it
	refer    uint32
	named    bool // refer is the function that limits.Refer names
	referred map[uint32]bool
	bodies   []reader // of the own functions
	nodes    []node   // the same; nil until they are known
	deepest  int64    // bytes that a call of a bounded function needs at most
}

// tableType is a table that the module defines.
type tableType struct {
	kind     byte
	min, max uint32
}

// decode reads everything but the code.
func decode(wasm []byte, l Limits) (*module, error) {
	m := &module{limits: l, wasm: wasm, datas: -1, referred: map[uint32]bool{}}
	r := reader{b: wasm}
	m.split(&r)
	if r.err != nil {
		return nil, &Error{Function: -1, Offset: r.bad, Err: r.err}
	}
	for _, s := range []struct {
		id   int
		read func(*reader)
	}{
		{secType, m.readTypes}, {secImport, m.readImports}, {secFunction, m.readFunctions}, {secTable, m.readTables},
		{secMemory, m.readMemories}, {secGlobal, m.readGlobals}, {secExport, m.readExports}, {secStart, m.readStart},
		{secElement, m.readElements}, {secDataCount, m.readDataCount}, {secData, m.readDatas},
	} {
		r := m.section[s.id]
		if r.b == nil {
			continue
		}
		s.read(&r)
		if r.more() {
			r.fail("%d bytes after the end of the section", len(r.b)-r.at)
		}
		if r.err != nil {
			return nil, &Error{Function: -1, Offset: r.bad, Err: r.err}
		}
	}
	return m, nil
}

// split finds the sections.
func (m *module) split(r *reader) {
	if len(r.b) < 8 || string(r.b[:8]) != "\x00asm\x01\x00\x00\x00" {
		r.fail("not a core wasm module of version 1")
		return
	}
	r.at = 8
	last := 0
	for r.more() {
		at := r.at
		id := r.byte()
		p := r.part(r.u32())
		switch {
		case r.err != nil:
		case id == secCustom:
			name := p.name()
			if p.err != nil {
				r.failAt(p.bad, "custom section: %v", p.err)
			} else if name == "name" {
				m.names = append(m.names, r.b[at:r.at])
			}
		case id == 13:
			r.failAt(at, "exceptions (a tag section), which foldrun does not run")
		case id >= sections:
			r.failAt(at, "unknown section %d", id)
		case order[id] <= last:
			r.failAt(at, "section %d is out of order or there twice", id)
		default:
			last = order[id]
			m.section[id] = p
		}
	}
}

func (m *module) readTypes(r *reader) {
	n := r.count("types")
	m.types = make([]funcType, 0, n)
	for ; n > 0 && r.err == nil; n-- {
		if c := r.byte(); c != 0x60 {
			r.failAt(r.at-1, "%s", unknownType(c))
		}
		m.types = append(m.types, funcType{m.readValueTypes(r), m.readValueTypes(r)})
	}
}

func (m *module) readValueTypes(r *reader) []byte {
	n, at := r.count("values"), r.at
	if n > m.limits.Values {
		r.fail("a type of %d values, the limit is %d", n, m.limits.Values)
	}
	for i := 0; i < n && r.err == nil; i++ {
		r.valueType()
	}
	return r.b[at:r.at]
}

func (m *module) readImports(r *reader) {
	for n := r.count("imports"); n > 0 && r.err == nil; n-- {
		at := r.at
		from, name := r.name(), r.name()
		if strings.HasPrefix(from, Reserved) || strings.HasPrefix(name, Reserved) {
			r.failAt(at, "it imports %q.%q: names that begin with %s are the meter's", from, name, Reserved)
		}
		switch kind := r.byte(); kind {
		case 0:
			m.funcs = append(m.funcs, r.index(len(m.types), "type"))
			m.imported.funcs++
		case 1:
			m.readTable(r)
			m.imported.tables++
		case 2:
			m.readMemory(r)
			m.imported.memories++
		case 3:
			r.valueType()
			m.readMutable(r)
			m.imported.globals++
		case 4:
			r.failAt(r.at-1, "exceptions (an imported tag), which foldrun does not run")
		default:
			r.failAt(r.at-1, "unknown kind of import %d", kind)
		}
	}
	m.memories, m.globals = m.imported.memories, m.imported.globals
	m.checkMemories(r)
	m.checkTables(r)
}

func (m *module) readFunctions(r *reader) {
	n := r.count("functions")
	if n > m.limits.Functions {
		r.fail("%d functions, the limit is %d", n, m.limits.Functions)
		return
	}
	for ; n > 0 && r.err == nil; n-- {
		m.funcs = append(m.funcs, r.index(len(m.types), "type"))
	}
}

func (m *module) checkTables(r *reader) {
	if n := m.imported.tables + len(m.tables); n > m.limits.Tables {
		r.fail("%d tables, the limit is %d", n, m.limits.Tables)
	}
}

func (m *module) readTables(r *reader) {
	for n := r.count("tables"); n > 0 && r.err == nil; n-- {
		m.tables = append(m.tables, m.readTable(r))
		m.checkTables(r)
	}
}

func (m *module) readTable(r *reader) tableType {
	t := tableType{kind: r.refType()}
	at := r.at
	flags := r.byte()
	if flags > 1 {
		r.failAt(at, "table limits %#x: shared and 64-bit tables are not run", flags)
	}
	t.min, t.max = r.u32(), 1<<32-1
	if flags == 1 {
		t.max = r.u32()
	}
	switch {
	case t.max < t.min:
		r.failAt(at, "a table of at least %d and at most %d elements", t.min, t.max)
	case uint64(t.min) > uint64(m.limits.TableElements):
		r.failAt(at, "a table of %d elements, the limit is %d", t.min, m.limits.TableElements)
	}
	return t
}

func (m *module) checkMemories(r *reader) {
	if m.memories > 1 {
		r.fail("several memories, which foldrun does not run")
	}
}

func (m *module) readMemories(r *reader) {
	for n := r.count("memories"); n > 0 && r.err == nil; n-- {
		m.readMemory(r)
		m.memories++
		m.checkMemories(r)
	}
}

func (m *module) readMemory(r *reader) {
	at := r.at
	flags := r.byte()
	if flags > 1 {
		r.failAt(at, "memory limits %#x: threads (shared memory) and memory64 are not run", flags)
	}
	if r.u32(); flags == 1 {
		r.u32()
	}
}

func (m *module) readMutable(r *reader) {
	if c := r.byte(); c > 1 {
		r.failAt(r.at-1, "a global's mutability is %#x", c)
	}
}

func (m *module) readGlobals(r *reader) {
	for n := r.count("globals"); n > 0 && r.err == nil; n-- {
		r.valueType()
		m.readMutable(r)
		m.readConst(r)
		m.globals++
	}
}

// readConst reads a constant expression: one instruction and end. Nothing in it can loop or call.
func (m *module) readConst(r *reader) {
	at := r.at
	switch c := r.byte(); c {
	case 0x41:
		r.signed(32)
	case 0x42:
		r.signed(64)
	case 0x43:
		r.skip(4)
	case 0x44:
		r.skip(8)
	case 0x23:
		r.index(m.imported.globals, "imported global")
	case 0xd0:
		r.refType()
	case 0xd2:
		m.refers(r.index(len(m.funcs), "function"))
	case 0xfd:
		if s := r.byte(); s != 0x0c {
			r.failAt(at, "vector instruction %#x in a constant expression", s)
		}
		r.skip(16)
	default:
		r.failAt(at, "opcode %#x in a constant expression", c)
	}
	if c := r.byte(); c != 0x0b {
		r.failAt(at, "a constant expression of more than one instruction")
	}
}

func (m *module) readExports(r *reader) {
	for n := r.count("exports"); n > 0 && r.err == nil; n-- {
		at := r.at
		name := r.name()
		if strings.HasPrefix(name, Reserved) {
			r.failAt(at, "it exports %q: names that begin with %s are the meter's", name, Reserved)
		}
		switch kind := r.byte(); kind {
		case 0:
			i := r.index(len(m.funcs), "function")
			m.refers(i)
			if m.limits.Refer != "" && name == m.limits.Refer {
				m.refer, m.named = i, true
			}
		case 1:
			r.index(m.imported.tables+len(m.tables), "table")
		case 2:
			r.index(m.memories, "memory")
		case 3:
			r.index(m.globals, "global")
		default:
			r.failAt(r.at-1, "unknown kind of export %d", kind)
		}
	}
}

func (m *module) readStart(r *reader) { m.refers(r.index(len(m.funcs), "function")) }

// refers says that a function may be called by others than its callers.
func (m *module) refers(function uint32) { m.referred[function] = true }

func (m *module) readElements(r *reader) {
	m.elems = r.count("element segments")
	for n := m.elems; n > 0 && r.err == nil; n-- {
		at := r.at
		flags := r.u32()
		if flags > 7 {
			r.failAt(at, "an element segment of kind %d", flags)
		}
		table := uint32(0)
		if flags&3 == 2 {
			table = r.u32()
		}
		if flags&1 == 0 {
			if uint64(table) >= uint64(m.imported.tables+len(m.tables)) {
				r.failAt(at, "table %d, the module has %d", table, m.imported.tables+len(m.tables))
			}
			m.readConst(r)
		}
		if flags&3 != 0 {
			if flags&4 == 0 {
				r.zero("element kind")
			} else {
				r.refType()
			}
		}
		for k := r.count("elements"); k > 0 && r.err == nil; k-- {
			if flags&4 == 0 {
				m.refers(r.index(len(m.funcs), "function"))
			} else {
				m.readConst(r)
			}
		}
	}
}

func (m *module) readDataCount(r *reader) { m.datas = int(r.u32()) }

func (m *module) readDatas(r *reader) {
	at := r.at
	n := r.count("data segments")
	if m.datas >= 0 && n != m.datas {
		r.failAt(at, "%d data segments, the data count section says %d", n, m.datas)
	}
	for ; n > 0 && r.err == nil; n-- {
		at := r.at
		flags := r.u32()
		if flags > 2 {
			r.failAt(at, "a data segment of kind %d", flags)
		}
		if flags == 2 {
			r.index(m.memories, "memory")
		}
		if flags != 1 {
			if m.memories == 0 {
				r.failAt(at, "a data segment, and no memory")
			}
			m.readConst(r)
		}
		r.part(r.u32())
	}
}
