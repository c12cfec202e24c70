package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzReadParts: a file that is damaged, or was never a module, ends no inspection and makes none long.
func FuzzReadParts(f *testing.F) {
	paths, err := filepath.Glob("../../testdata/modules/*.wasm")
	if err != nil || len(paths) == 0 {
		f.Fatal("no modules", err)
	}
	for _, path := range paths {
		wasm, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wasm)
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		p := readParts(wasm)
		if n := len(p.Exports) + len(p.Imports) + len(p.Sections); n > len(wasm) {
			t.Errorf("%d parts of %d bytes", n, len(wasm))
		}
	})
}

// TestReadParts reads a module that has one of each kind.
func TestReadParts(t *testing.T) {
	const wasm = "\x00asm\x01\x00\x00\x00" +
		"\x01\x06\x01\x60\x02\x7f\x7e\x00" + // types: (i32, i64) -> ()
		"\x02\x1e\x04" + "\x01a\x01f\x00\x00" + "\x01a\x01t\x01\x70\x01\x02\x03" + "\x01a\x01m\x02\x00\x02" + "\x01a\x01g\x03\x7f\x01" +
		"\x03\x02\x01\x00" + // functions: one of type 0
		"\x05\x03\x01\x00\x03" + // memory: 3 pages
		"\x07\x15\x05" + "\x01i\x00\x00" + "\x01f\x00\x01" + "\x01t\x01\x00" + "\x01m\x02\x00" + "\x01g\x03\x00"
	p := readParts([]byte(wasm))
	got := strings.Join(append(p.Imports, p.Exports...), "; ")
	const want = "a.f (i32, i64) -> (); a.t table; a.m memory; a.g global i32; " +
		"i (i32, i64) -> (); f (i32, i64) -> (); t table; m memory; g global"
	if got != want || p.Memory != 3*wasmPage || len(p.Sections) != 5 {
		t.Errorf("got  %s, memory %d, sections %v\nwant %s", got, p.Memory, p.Sections, want)
	}
}
