package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// wasmParts is what the sections of a module say of it, read without a compiler: of a module that foldrun refuses, the
// list of its exports is what its author has to see. What cannot be read is left out.
type wasmParts struct {
	Memory   uint64        `json:"memory"` // bytes at the start
	Sections []wasmSection `json:"sections"`
	Exports  []string      `json:"exports"` // "name type"; a function's type is "(i32) -> i64"
	Imports  []string      `json:"imports"` // "module.name type"
}

type wasmSection struct {
	Name string `json:"name"`
	Size int    `json:"size"` // bytes, the section's head included
}

var sectionNames = []string{"custom", "types", "imports", "functions", "tables", "memory", "globals", "exports", "start",
	"elements", "code", "data", "data count", "tags"}

const (
	sectionTypes     = 1
	sectionImports   = 2
	sectionFunctions = 3
	sectionMemory    = 5
	sectionExports   = 7

	wasmHead = 8 // bytes of magic and version
	wasmPage = 64 << 10
)

// What an import or an export is.
const (
	kindFunction = iota
	kindTable
	kindMemory
	kindGlobal
	kindTag
)

// readParts walks the sections in their order: imports come before functions, both before exports.
func readParts(wasm []byte) wasmParts {
	p := wasmParts{Sections: []wasmSection{}, Exports: []string{}, Imports: []string{}}
	var types []string     // of the module, as text
	var functions []uint32 // their types; the imported ones first
	r := wasmReader{b: wasm}
	if string(r.take(wasmHead)) != "\x00asm\x01\x00\x00\x00" {
		return p
	}
	for len(r.b) > 0 && !r.bad {
		before := len(r.b)
		id := r.byte()
		body := wasmReader{b: r.take(r.u32())}
		if r.bad {
			break
		}
		s := wasmSection{Name: fmt.Sprintf("section %d", id), Size: before - len(r.b)}
		if int(id) < len(sectionNames) {
			s.Name = sectionNames[id]
		}
		switch id {
		case 0:
			s.Name += " " + body.name()
		case sectionTypes:
			body.each(func() { types = append(types, body.function()) })
		case sectionImports:
			body.each(func() {
				text, function := body.imported(types)
				if p.Imports = append(p.Imports, text); function >= 0 {
					functions = append(functions, uint32(function))
				}
			})
		case sectionFunctions:
			body.each(func() { functions = append(functions, body.u32()) })
		case sectionMemory:
			body.each(func() { p.Memory = uint64(body.limits()) * wasmPage })
		case sectionExports:
			body.each(func() { p.Exports = append(p.Exports, body.exported(types, functions)) })
		}
		p.Sections = append(p.Sections, s)
	}
	return p
}

// wasmReader reads forward. After something that it does not know, bad is set and it reads nothing more.
type wasmReader struct {
	b   []byte
	bad bool
}

func (r *wasmReader) take(n uint32) []byte {
	if r.bad || uint64(n) > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *wasmReader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *wasmReader) u32() uint32 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<32-1 {
		r.bad = true
		return 0
	}
	r.take(uint32(n))
	return uint32(v)
}

func (r *wasmReader) name() string { return strings.Trim(fmt.Sprintf("%+q", r.take(r.u32())), `"`) }

// each calls read for each element of a list, which must take all of the section.
func (r *wasmReader) each(read func()) {
	for n := r.u32(); n > 0 && !r.bad; n-- {
		read()
	}
}

func (r *wasmReader) valueType() string {
	b := r.byte()
	if name, ok := map[byte]string{0x7f: "i32", 0x7e: "i64", 0x7d: "f32", 0x7c: "f64", 0x7b: "v128", 0x70: "funcref", 0x6f: "externref"}[b]; ok {
		return name
	}
	return fmt.Sprintf("%#x", b)
}

// function reads a function's type.
func (r *wasmReader) function() string {
	if r.byte() != 0x60 {
		r.bad = true
		return "?"
	}
	return r.valueTypes() + " -> " + r.valueTypes()
}

func (r *wasmReader) valueTypes() string {
	var all []string
	r.each(func() { all = append(all, r.valueType()) })
	return "(" + strings.Join(all, ", ") + ")"
}

// limits reads the size of a memory or a table, and returns the least.
func (r *wasmReader) limits() uint32 {
	hasMost := r.byte()&1 != 0
	least := r.u32()
	if hasMost {
		r.u32()
	}
	return least
}

// imported returns an import as text, and the type of a function; -1 when it is none.
func (r *wasmReader) imported(types []string) (text string, function int) {
	text = r.name() + "." + r.name() + " "
	switch r.byte() {
	case kindFunction:
		i := r.u32()
		return text + typeOf(types, i), int(i)
	case kindTable:
		r.valueType()
		r.limits()
		return text + "table", -1
	case kindMemory:
		r.limits()
		return text + "memory", -1
	case kindGlobal:
		t := r.valueType()
		r.byte()
		return text + "global " + t, -1
	case kindTag:
		r.byte()
		r.u32()
		return text + "tag", -1
	}
	r.bad = true
	return text + "?", -1
}

func (r *wasmReader) exported(types []string, functions []uint32) string {
	text := r.name() + " "
	kind, i := r.byte(), r.u32()
	switch kind {
	case kindFunction:
		if int(i) < len(functions) {
			return text + typeOf(types, functions[i])
		}
		return text + "?"
	case kindTable:
		return text + "table"
	case kindMemory:
		return text + "memory"
	case kindGlobal:
		return text + "global"
	case kindTag:
		return text + "tag"
	}
	return text + "?"
}

func typeOf(types []string, i uint32) string {
	if int(i) < len(types) {
		return types[i]
	}
	return "?"
}
