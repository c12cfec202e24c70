package fuel

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the meter's. It belongs to the identity of whatever was computed by metered modules: another version may
// charge differently, and so give another verdict on a record that is near its limit.
//
// History: 1, the first. 2: fuel comes in slices, a test is made before what it is for is charged, loads cost 4 and stores 2.
// 3: a trap in a loop without calls is never taken for want of fuel, even where the last charge was not there.
// 4: callers charge for small functions, and a function that begins with a loop is charged there; bounded functions take nothing
// from the depth; foldrun_buffer and foldrun_error have a sixteenth of the stack.
const Version = 4

// What the meter appends to a module's exports: three mutable i64 globals, which the host sets before each call, and
// functions, where the module has any.
const (
	Reserved      = "__foldrun"         // no import or export of the module itself may begin with it
	FuelGlobal    = "__foldrun_fuel"    // what is left of the slice in hand
	ReserveGlobal = "__foldrun_reserve" // fuel beyond it; the sum is below zero after the trap that says it has run out
	DepthGlobal   = "__foldrun_depth"   // bytes of stack that are left; below zero after the trap that says so
	YieldFunction = "__foldrun_yield"   // () -> (), which a guest calls to yield: a listener on it is called then
	RefFunction   = "__foldrun_ref"     // () -> funcref, a reference to the function that Limits.Refer names
)

// DefaultSlice is the default of Limits.Slice.
const DefaultSlice = 250_000

// DefaultStack is the default of Limits.Stack.
const DefaultStack = 16 << 20

// Limits bound what is accepted. The zero value of a field is its default.
type Limits struct {
	ModuleBytes   int    // of the file; default 32 MiB
	FunctionBytes int    // of one function's body; default 256 KiB: compiling takes more than linear time
	FrameBytes    int    // that one call of a function may need on the stack, as it is reckoned; default 256 KiB
	Functions     int    // defined ones; default 100 000
	Locals        int    // of one function, params included; default 10 000
	Values        int    // params, or results, of one type; default 256
	Tables        int    // default 16
	TableElements int    // of each table: a smaller maximum is written into the module, so that it cannot grow beyond; default 131 072
	Stack         int64  // bytes of stack that a call may use: the first value of the depth global; default 16 MiB
	Start         int64  // fuel of the start section: the first values of fuel and reserve; default 10 million
	Slice         int    // fuel between two yields; default DefaultSlice
	Refer         string // an exported function that RefFunction refers to; where there is none, RefFunction is not there
}

func (l *Limits) defaults() {
	for _, f := range []struct {
		p *int
		v int
	}{
		{&l.ModuleBytes, 32 << 20}, {&l.FunctionBytes, 256 << 10}, {&l.FrameBytes, 256 << 10}, {&l.Functions, 100_000},
		{&l.Locals, 10_000}, {&l.Values, 256}, {&l.Tables, 16}, {&l.TableElements, 1 << 17}, {&l.Slice, DefaultSlice},
	} {
		if *f.p <= 0 {
			*f.p = f.v
		}
	}
	if l.Stack <= 0 {
		l.Stack = DefaultStack
	}
	if l.Start <= 0 {
		l.Start = 10_000_000
	}
}

// Error says why a module is refused, and where.
type Error struct {
	Function int // in the module's function index space; -1 outside of functions
	Offset   int // from the module's first byte
	Err      error
}

func (e *Error) Error() string {
	if e.Function < 0 {
		return fmt.Sprintf("fuel: byte %#x: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("fuel: function %d, byte %#x: %v", e.Function, e.Offset, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// slack is from what difference on two ways that fork are charged apart; see charge.
const slack = 256

// Meter returns the module with its checks. Its errors are *Error. What it returns is a function of wasm, l and
// Version. Custom sections are dropped but for the names: offsets into the code would be wrong.
func Meter(wasm []byte, l Limits) ([]byte, error) {
	l.defaults()
	if len(wasm) > l.ModuleBytes {
		return nil, &Error{Function: -1, Err: fmt.Errorf("a module of %d bytes, the limit is %d", len(wasm), l.ModuleBytes)}
	}
	m, err := decode(wasm, l)
	if err != nil {
		return nil, err
	}
	g := uint32(m.globals)
	w := &emitter{m: m, fuel: g, depth: g + 1, reserve: g + 2, mark: g + 3, types: m.types, longs: map[byte]uint32{}}
	if err := w.code(); err != nil {
		return nil, err
	}
	return w.assemble(), nil
}

// code meters the code section into w.out.
func (w *emitter) code() error {
	m := w.m
	if err := m.analyse(); err != nil {
		return err
	}
	if m.datas > 0 && m.section[secData].b == nil {
		return &Error{Function: -1, Err: errors.New("a data count section, and no data")}
	}
	if len(m.nodes) > 0 {
		size := len(m.section[secCode].b)
		w.out = make([]byte, 0, size+size/4)
		w.addClimbed()
		w.addRefill()
		w.addRef()
	}
	var b body
	for i := range m.nodes {
		entry := m.scanAgain(i, &b)
		w.function(&b, i, entry)
	}
	w.appendHelpers()
	return nil
}

// What wazero's compiler takes grows with the frames, which a small module can make large: 6 µs for each place was
// measured, where values of many locals are moved at the ends of many blocks. Modules of Go, Rust and C have 2 to 5
// bytes of frames for each byte of code.
const (
	framesPerByte = 16
	framesAlways  = 1 << 20
)

// assemble puts the sections together. Everything new comes after what was there, so every index stays what it was.
func (w *emitter) assemble() []byte {
	m := w.m
	l := &m.limits
	out := make([]byte, 0, len(m.wasm)+len(w.out)-len(m.section[secCode].b)+m.section[secCode].at+256)
	out = append(out, m.wasm[:8]...)
	for _, id := range []int{secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport, secStart, secElement, secDataCount, secCode, secData} {
		r := m.section[id]
		switch {
		case id == secGlobal:
			slice := min(l.Start, int64(l.Slice))
			out = appendSection(out, id, appended(r, 4, appendGlobals(slice, l.Stack, l.Start-slice, l.Stack)))
		case id == secExport:
			n, exports := w.exports()
			out = appendSection(out, id, appended(r, n, exports))
		case id == secType && len(w.types) > len(m.types):
			out = appendSection(out, id, appended(r, len(w.types)-len(m.types), appendTypes(w.types[len(m.types):])))
		case id == secFunction && len(w.helpers) > 0:
			var kinds []byte
			for _, h := range w.helpers {
				kinds = binary.AppendUvarint(kinds, uint64(h.kind))
			}
			out = appendSection(out, id, appended(r, len(w.helpers), kinds))
		case r.b == nil:
		case id == secTable:
			out = appendSection(out, id, m.cappedTables())
		case id == secCode:
			n := binary.AppendUvarint(nil, uint64(len(m.funcs)-m.imported.funcs+len(w.helpers)))
			out = appendSection(out, id, n, w.out)
		default:
			out = appendSection(out, id, r.b[r.at:])
		}
	}
	for _, s := range m.names {
		out = append(out, s...)
	}
	return out
}

// refuse returns an error in one of the module's own functions.
func (m *module) refuse(i, at int, format string, args ...any) error {
	return &Error{Function: m.imported.funcs + i, Offset: at, Err: fmt.Errorf(format, args...)}
}

func appendSection(out []byte, id int, payload ...[]byte) []byte {
	size := 0
	for _, p := range payload {
		size += len(p)
	}
	out = append(out, byte(id))
	out = binary.AppendUvarint(out, uint64(size))
	for _, p := range payload {
		out = append(out, p...)
	}
	return out
}

func appendTypes(types []funcType) (b []byte) {
	for _, t := range types {
		b = append(b, 0x60)
		b = append(binary.AppendUvarint(b, uint64(len(t.params))), t.params...)
		b = append(binary.AppendUvarint(b, uint64(len(t.results))), t.results...)
	}
	return b
}

// appended returns the vector that r holds, perhaps not there at all, with n more elements.
func appended(r reader, n int, more []byte) []byte {
	have := uint32(0)
	var rest []byte
	if r.b != nil {
		have = r.u32()
		rest = r.b[r.at:]
	}
	out := binary.AppendUvarint(make([]byte, 0, len(rest)+len(more)+5), uint64(have)+uint64(n))
	return append(append(out, rest...), more...)
}

func appendGlobals(first ...int64) (b []byte) {
	for _, v := range first {
		b = append(appendSigned(append(b, typeI64, 1, 0x42), v), 0x0b)
	}
	return b
}

// exports returns the exports that are appended, and their number.
func (w *emitter) exports() (n int, b []byte) {
	for _, e := range []struct {
		name  string
		kind  byte
		index uint32
	}{{FuelGlobal, 3, w.fuel}, {DepthGlobal, 3, w.depth}, {ReserveGlobal, 3, w.reserve}, {YieldFunction, 0, w.climbed}, {RefFunction, 0, w.ref}} {
		if e.kind == 0 && e.index == 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(e.name)))
		b = append(append(b, e.name...), e.kind)
		b = binary.AppendUvarint(b, uint64(e.index))
		n++
	}
	return n, b
}

// cappedTables returns the table section, with every maximum at most the limit.
func (m *module) cappedTables() []byte {
	out := binary.AppendUvarint(nil, uint64(len(m.tables)))
	for _, t := range m.tables {
		out = append(out, t.kind, 1)
		out = binary.AppendUvarint(out, uint64(t.min))
		out = binary.AppendUvarint(out, uint64(min(t.max, uint32(m.limits.TableElements))))
	}
	return out
}
