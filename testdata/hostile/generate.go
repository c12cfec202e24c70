//go:build ignore

// Command generate writes the hostile modules as text into the directory that it is given; or, with -manifest before it,
// gives a manifest to each module that was made of them. build.sh runs it. All but those that are not to
// be loaded at all are one honest module, which yields (main, key, value) for each record, with one thing changed. What
// is changed happens only where a record's value begins with "!", unless its comment says otherwise.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/foldrun/foldrun/abi"
)

// A change makes a hostile module of the honest one.
type change struct {
	name, comment string
	imports       string            // before everything else
	more          string            // further fields of the module
	evil          string            // run in place of the record's entry; $rec is where the record is, $i its index
	lie           string            // run when the out frame at 4096 is complete; $n records, $entry the end of the frame
	answer        string            // in place of what foldrun_transform returns
	replace       map[string]string // of the honest module's text
}

func main() {
	do, dir := change.write, os.Args[len(os.Args)-1]
	if os.Args[1] == "-manifest" {
		do = change.manifest
	}
	for _, c := range changes() {
		if err := do(c, filepath.Join(dir, c.name)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func (c change) write(path string) error { return os.WriteFile(path+".wat", []byte(c.text()), 0o644) }

func (c change) manifest(path string) error {
	wasm, err := os.ReadFile(path + ".wasm")
	if err != nil {
		return err
	}
	if wasm, err = abi.AppendManifest(wasm, abi.Manifest{Name: c.name}); err != nil {
		return err
	}
	return os.WriteFile(path+".wasm", wasm, 0o644)
}

func (c change) text() string {
	answer := c.answer
	if answer == "" {
		answer = "(local.get $out)"
	}
	text := strings.NewReplacer("IMPORTS", c.imports, "MORE", c.more, "EVIL", c.evil, "LIE", c.lie, "ANSWER", answer).Replace(honest)
	for old, with := range c.replace {
		if strings.Count(text, old) != 1 {
			panic(fmt.Sprintf("%s: %q is %d times in the honest module", c.name, old, strings.Count(text, old)))
		}
		text = strings.ReplaceAll(text, old, with)
	}
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return fmt.Sprintf(";; %s: %s\n%s\n", c.name, c.comment, strings.Join(lines, "\n"))
}

// The out frame is at 4096, the arena of 160 KiB at 65536.
const honest = `(module
  IMPORTS
  (memory (export "memory") 4)
  (global $result (mut i32) (i32.const 0))
  (global $entry (mut i32) (i32.const 0))
  (global $entries (mut i32) (i32.const 0))
  (global $bad (mut i32) (i32.const 0))
  (func (export "foldrun_abi_v1"))
  (func (export "foldrun_buffer") (param $min i32) (result i32)
    (select (i32.const 0) (i32.const 65536) (i32.gt_u (local.get $min) (i32.const 163840))))
  MORE
  (func $emit (param $key i32) (param $keylen i32) (param $value i32) (param $valuelen i32)
    (memory.fill (global.get $entry) (i32.const 0) (i32.const 32))
    (i32.store offset=4 (global.get $entry) (local.get $key))
    (i32.store offset=8 (global.get $entry) (local.get $keylen))
    (i32.store offset=12 (global.get $entry) (local.get $value))
    (i32.store offset=16 (global.get $entry) (local.get $valuelen))
    (i32.store offset=4 (global.get $result) (i32.add (i32.load offset=4 (global.get $result)) (i32.const 1)))
    (global.set $entry (i32.add (global.get $entry) (i32.const 32)))
    (global.set $entries (i32.add (global.get $entries) (i32.const 1))))
  (func $evil (param $in i32) (param $rec i32) (param $i i32) (local $x i32) (local $y i32) (local $z i64)
    EVIL)
  (func $lie (param $n i32) (local $first i32)
    (local.set $first (i32.add (i32.const 4128) (i32.mul (local.get $n) (i32.const 16))))
    LIE)
  (func (export "foldrun_transform") (param $in i32) (param $len i32) (result i64)
    (local $n i32) (local $i i32) (local $rec i32) (local $key i32) (local $value i32) (local $out i64)
    (local.set $n (i32.load offset=8 (local.get $in)))
    (global.set $result (i32.const 4128))
    (global.set $entry (i32.add (i32.const 4128) (i32.mul (local.get $n) (i32.const 16))))
    (global.set $entries (i32.const 0))
    (global.set $bad (i32.const 0))
    (memory.fill (i32.const 4096) (i32.const 0) (i32.add (i32.const 32) (i32.mul (local.get $n) (i32.const 16))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $i) (local.get $n)))
        (local.set $rec (i32.add (local.get $in) (i32.add (i32.const 32) (i32.mul (local.get $i) (i32.const 64)))))
        (local.set $key (i32.add (local.get $in) (i32.load offset=16 (local.get $rec))))
        (local.set $value (i32.add (local.get $in) (i32.load offset=24 (local.get $rec))))
        (i32.store (global.get $result) (i32.const 1))
        (if (i32.and (i32.ne (i32.load offset=28 (local.get $rec)) (i32.const 0)) (i32.eq (i32.load8_u (local.get $value)) (i32.const 0x21)))
          (then
            (global.set $bad (i32.const 1))
            (call $evil (local.get $in) (local.get $rec) (local.get $i))))
        (call $emit (local.get $key) (i32.load offset=20 (local.get $rec)) (local.get $value) (i32.load offset=28 (local.get $rec)))
        (global.set $result (i32.add (global.get $result) (i32.const 16)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 4096) (i32.const 0x314f5246))
    (i32.store offset=4 (i32.const 4096) (i32.const 0x100020))
    (i32.store offset=8 (i32.const 4096) (i32.const 32))
    (i32.store offset=12 (i32.const 4096) (local.get $n))
    (i32.store offset=16 (i32.const 4096) (global.get $entries))
    (local.set $out (i64.or (i64.const 0x100000000000) (i64.extend_i32_u (i32.sub (global.get $entry) (i32.const 4096)))))
    (if (global.get $bad) (then (call $lie (local.get $n)) (return ANSWER)))
    (local.get $out)))`

// frameLies are changes of the out frame: one for each check of package abi.
var frameLies = []struct{ name, comment, lie, answer string }{
	{"frame-unaligned", "the frame's address is no multiple of 8", "", "(i64.add (local.get $out) (i64.const 0x100000000))"},
	{"frame-short", "a frame of 31 bytes", "", "(i64.const 0x10000000001f)"},
	{"frame-no-length", "a frame of no bytes", "", "(i64.const 0x100000000000)"},
	{"frame-outside", "the frame is beyond the memory", "", "(i64.const 0x7fffff0000000100)"},
	{"frame-half-outside", "the frame ends beyond the memory", "", "(i64.const 0x0003fff800000040)"},
	{"frame-negative", "the frame's length is -1", "", "(i64.const 0x00001000ffffffff)"},
	{"frame-wraps", "the frame's end wraps around 2^32", "", "(i64.const 0xfffffff800000020)"},
	{"frame-longer", "the frame is longer than its counts", "", "(i64.add (local.get $out) (i64.const 8))"},
	{"magic", "another magic number", "(i32.store (i32.const 4096) (i32.const 0x324f5246))", ""},
	{"header-size-0", "a header of no bytes", "(i32.store16 offset=4 (i32.const 4096) (i32.const 0))", ""},
	{"header-size-odd", "a header of 33 bytes", "(i32.store16 offset=4 (i32.const 4096) (i32.const 33))", ""},
	{"header-size-huge", "a header of 65528 bytes", "(i32.store16 offset=4 (i32.const 4096) (i32.const 65528))", ""},
	{"result-size-0", "results of no bytes", "(i32.store16 offset=6 (i32.const 4096) (i32.const 0))", ""},
	{"result-size-huge", "results of 65528 bytes", "(i32.store16 offset=6 (i32.const 4096) (i32.const 65528))", ""},
	{"entry-size-0", "entries of no bytes", "(i32.store16 offset=8 (i32.const 4096) (i32.const 0))", ""},
	{"entry-size-huge", "entries of 65528 bytes", "(i32.store16 offset=8 (i32.const 4096) (i32.const 65528))", ""},
	{"reserved-10", "reserved bytes of the header", "(i32.store16 offset=10 (i32.const 4096) (i32.const 1))", ""},
	{"reserved-24", "reserved bytes of the header", "(i64.store offset=24 (i32.const 4096) (i64.const 1))", ""},
	{"header-flags", "flags of the header", "(i32.store offset=20 (i32.const 4096) (i32.const 1))", ""},
	{"results-none", "no results", "(i32.store offset=12 (i32.const 4096) (i32.const 0))", ""},
	{"results-huge", "2^32-1 results", "(i32.store offset=12 (i32.const 4096) (i32.const -1))", ""},
	{"entries-huge", "2^32-1 entries", "(i32.store offset=16 (i32.const 4096) (i32.const -1))", ""},
	{"entries-wrap", "so many entries that their bytes wrap around 2^32", "(i32.store offset=16 (i32.const 4096) (i32.add (global.get $entries) (i32.const 0x8000000)))", ""},
	{"status-0", "status 0", "(i32.store8 (i32.const 4128) (i32.const 0))", ""},
	{"status-4", "status 4", "(i32.store8 (i32.const 4128) (i32.const 4))", ""},
	{"filtered-with-entries", "a record is filtered and has an entry", "(i32.store8 (i32.const 4128) (i32.const 2))", ""},
	{"error-with-entries", "a record is in error and has an entry", "(i32.store8 (i32.const 4128) (i32.const 3))", ""},
	{"result-reserved", "a reserved byte of a result", "(i32.store8 offset=1 (i32.const 4128) (i32.const 1))", ""},
	{"message-outside", "a message beyond the memory", "(i64.store offset=8 (i32.const 4128) (i64.const 0x107fffffff))", ""},
	{"message-wraps", "a message whose end wraps around 2^32", "(i64.store offset=8 (i32.const 4128) (i64.const 0x20fffffff0))", ""},
	{"counts-disagree", "a result with an entry more than there is", "(i32.store offset=4 (i32.const 4128) (i32.const 2))", ""},
	{"counts-wrap", "a result with 2^32-1 entries", "(i32.store offset=4 (i32.const 4128) (i32.const -1))", ""},
	{"entry-flags", "flags of an entry", "(i32.store16 offset=2 (local.get $first) (i32.const 1))", ""},
	{"entry-reserved", "reserved bytes of an entry", "(i32.store offset=20 (local.get $first) (i32.const 1))", ""},
	{"key-outside", "a key beyond the memory", "(i32.store offset=4 (local.get $first) (i32.const 0x7fffffff))", ""},
	{"key-negative", "a key of -1 bytes", "(i32.store offset=8 (local.get $first) (i32.const -1))", ""},
	{"key-wraps", "a key whose end wraps around 2^32", "(i64.store offset=4 align=4 (local.get $first) (i64.const 0x20fffffff0))", ""},
	{"value-outside", "a value beyond the memory", "(i32.store offset=12 (local.get $first) (i32.const 0x7fffffff))", ""},
	{"value-negative", "a value of -1 bytes", "(i32.store offset=16 (local.get $first) (i32.const -1))", ""},
	{"value-wraps", "a value whose end wraps around 2^32", "(i64.store offset=12 align=4 (local.get $first) (i64.const 0x20fffffff0))", ""},
}

const (
	wasi     = `(import "wasi_snapshot_preview1" `
	function = ` (func $host (param i32 i32 i32 i32) (result i32)))`
)

// burns take time or memory, but for the honest one.
var burns = []change{
	{name: "honest", comment: "nothing"},
	{name: "loop", comment: "an endless loop", evil: "(loop $l (br $l))"},
	{name: "recursion", comment: "an endless recursion", evil: "(call $deeper (i32.const 1))", more: "(func $deeper (param i32) (call $deeper (i32.add (local.get 0) (i32.const 1))))"},
	{name: "returns", comment: "a recursion almost as deep as it may be, and loads that miss every cache on the way back, for ever",
		evil: "(drop (memory.grow (i32.const 1020)))\n    (loop $l (local.set $x (call $deeper (i32.const 6000) (local.get $x))) (br $l))",
		more: "(func $deeper (param $n i32) (param $x i32) (result i32)\n    (if (local.get $n) (then (local.set $x (call $deeper (i32.sub (local.get $n) (i32.const 1)) (local.get $x)))))\n    " +
			repeat(30, "(local.set $x (i32.and (i32.const 0x3fbfffc) (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.add (i32.load (local.get $x)) (i32.const 1013904223)))))") + "\n    (local.get $x))"},
	{name: "misses", comment: "loads that wait for each other and miss every cache, for ever",
		evil: "(local.set $y (i32.mul (memory.grow (i32.const 1020)) (i32.const 65536)))\n    (call $chain)\n    (loop $l (local.set $x " + nested(400, "i32.load", "(local.get $x)") + ") (br $l))",
		more: `(func $chain (local $i i32)
    (loop $l
      (i32.store (i32.add (i32.const 0x100000) (i32.shl (local.get $i) (i32.const 6)))
        (i32.add (i32.const 0x100000) (i32.shl (i32.and (i32.add (i32.mul (local.get $i) (i32.const 1664525)) (i32.const 1013904223)) (i32.const 0x7ffff)) (i32.const 6))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 0x80000))))
    (i32.store (i32.const 0) (i32.const 0x100000)))`},
	{name: "pages", comment: "touches page after page of 63 MiB", evil: "(drop (memory.grow (i32.const 1020)))\n    (loop $l (i32.store8 (i32.add (i32.const 0x100000) (local.get $x)) (i32.const 1)) (local.set $x (i32.add (local.get $x) (i32.const 4096))) (br_if $l (i32.lt_u (local.get $x) (i32.const 0x3e00000))))"},
	{name: "memory-bomb", comment: "memory.grow until there is no more, and then goes on", evil: "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"},
	{name: "memory-storm", comment: "memory.grow for ever", evil: "(loop $l (drop (memory.grow (i32.const 1))) (br $l))"},
	{name: "fill-bomb", comment: "fills 63 MiB for ever", evil: "(drop (memory.grow (i32.const 1020)))\n    (loop $l (memory.fill (i32.const 0x100000) (i32.const 7) (i32.const 0x3f00000)) (br $l))"},
	{name: "copy-bomb", comment: "copies 31 MiB for ever", evil: "(drop (memory.grow (i32.const 1020)))\n    (loop $l (memory.copy (i32.const 0x100000) (i32.const 0x2000000) (i32.const 0x1f00000)) (br $l))"},
	{name: "nesting", comment: "2000 blocks, one in the other", evil: repeat(2000, "(block ") + "(unreachable)" + repeat(2000, ")")},
	{name: "br-table", comment: "a br_table of 20,000 labels, for ever", evil: "(loop $l (block $b (br_table" + repeat(20000, " $b") + " $l (local.get $x))) (br $l))"},
	{name: "table-huge", comment: "a table of ten million elements", more: "(table 10000000 funcref)"},
	{name: "table-grow", comment: "table.grow until there is no more, and then goes on", more: "(table $t 1 funcref)", evil: "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))"},
	{name: "tables", comment: "twenty tables", more: repeat(20, "(table 1 funcref) ")},
}

// traps end a call, or begin badly.
var traps = []change{
	{name: "trap", comment: "traps", evil: "unreachable"},
	{name: "trap-divide", comment: "divides by zero", evil: "(drop (i32.div_u (local.get $i) (i32.const 0)))"},
	{name: "trap-load", comment: "loads from beyond the memory", evil: "(drop (i32.load (i32.const -8)))"},
	{name: "trap-indirect", comment: "calls an element that is not there", more: "(table 1 funcref)", evil: "(call_indirect (i32.const 0))"},
	{name: "trap-buffer", comment: "foldrun_buffer traps, always", replace: map[string]string{"(select (i32.const 0) (i32.const 65536) (i32.gt_u (local.get $min) (i32.const 163840)))": "unreachable"}},
	{name: "trap-init", comment: "foldrun_init traps", more: `(func (export "foldrun_init") (param i32 i32) (result i32) unreachable)`},
	{name: "trap-initialize", comment: "_initialize traps", more: `(func (export "_initialize") unreachable)`},
	{name: "trap-error", comment: "the call fails, and foldrun_error traps", more: `(func (export "foldrun_error") (result i64) unreachable)`, answer: "(i64.const 0)"},
	{name: "trap-progress", comment: "says that the record before it is in hand, and traps", evil: "(i32.store offset=24 (local.get $in) (i32.sub (local.get $i) (i32.const 1))) unreachable"},
	{name: "trap-progress-huge", comment: "says that record 2^31-1 is in hand, and traps", evil: "(i32.store offset=24 (local.get $in) (i32.const 0x7fffffff)) unreachable"},
	{name: "error-loops", comment: "the call fails, and foldrun_error loops", more: `(func (export "foldrun_error") (result i64) (loop $l (br $l)) unreachable)`, answer: "(i64.const 0)"},
	{name: "error-lies", comment: "the call fails, and the reason is beyond the memory", more: `(func (export "foldrun_error") (result i64) (i64.const 0x7fffffff7fffffff))`, answer: "(i64.const 0)"},
	{name: "init-loops", comment: "foldrun_init loops", more: `(func (export "foldrun_init") (param i32 i32) (result i32) (loop $l (br $l)) unreachable)`},
	{name: "initialize-loops", comment: "_initialize loops", more: `(func (export "_initialize") (loop $l (br $l)))`},
	{name: "start-loops", comment: "the start function loops", more: "(func $start (loop $l (br $l)))\n  (start $start)"},
}

// binaries are not what foldrun loads.
var binaries = []change{
	{name: "export-missing", comment: "no foldrun_transform", replace: map[string]string{`(export "foldrun_transform")`: ""}},
	{name: "export-mistyped", comment: "foldrun_buffer takes nothing", replace: map[string]string{`(func (export "foldrun_buffer")`: "(func (export \"foldrun_buffer\") (result i32) (i32.const 0))\n  (func"}},
	{name: "memory-hidden", comment: "its memory is not exported", replace: map[string]string{`(memory (export "memory") 4)`: "(memory 4)"}},
	{name: "memory-above", comment: "a memory of 65 MiB to start with", replace: map[string]string{`(memory (export "memory") 4)`: `(memory (export "memory") 1040)`}},
	{name: "data-outside", comment: "a data segment beyond the memory", more: `(data (i32.const 262140) "beyond")`},
	{name: "import-unknown", comment: "imports what there is not", imports: `(import "wasi_snapshot_preview1" "sock_open" (func (param i32) (result i32)))`},
	{name: "import-mistyped", comment: "imports a function with another type", imports: `(import "wasi_snapshot_preview1" "fd_write" (func (param i32) (result i32)))`},
	{name: "import-memory", comment: "imports its memory", imports: `(import "env" "memory" (memory 4))`, replace: map[string]string{`(memory (export "memory") 4)`: `(export "memory" (memory 0))`}},
	{name: "import-meter", comment: "imports a global of the meter's name", imports: `(import "env" "__foldrun_fuel" (global $fuel (mut i64)))`},
}

// proposals are beyond the WebAssembly that foldrun runs, or write to what it adds.
var proposals = []change{
	{name: "refuel", comment: "writes the global after its last, where the meter puts the fuel", evil: "(global.set 4 (i64.const 0x7fffffffffffffff)) (loop $l (br $l))"},
	{name: "memory64", comment: "a memory of 64-bit addresses", replace: map[string]string{`(memory (export "memory") 4)`: `(memory (export "memory") i64 4)`}},
	{name: "memory-shared", comment: "a memory shared between threads", replace: map[string]string{`(memory (export "memory") 4)`: `(memory (export "memory") 4 4 shared)`}},
	{name: "memories", comment: "two memories", more: "(memory 1)"},
	{name: "atomics", comment: "an instruction of threads", evil: "(drop (i32.atomic.load (i32.const 0)))"},
	{name: "tail-call", comment: "a tail call", evil: "(return_call $tail)", more: "(func $tail)"},
	{name: "exception", comment: "an exception", evil: "(throw $e)", more: "(tag $e)"},
}

// hosts are asked too much of.
var hosts = []change{
	{name: "log-flood", comment: "logs 100,000 lines", imports: `(import "foldrun_v1" "log" (func $log (param i32 i32 i32)))`,
		evil: "(loop $l (call $log (i32.const 3) (i32.const 65536) (i32.const -1)) (call $log (i32.const 3) (i32.const 65536) (i32.const 64)) (local.set $x (i32.add (local.get $x) (i32.const 1))) (br_if $l (i32.lt_u (local.get $x) (i32.const 50000))))"},
	{name: "write-flood", comment: "fd_write of 8,000 spans that are all of its memory, for ever", imports: wasi + `"fd_write"` + function,
		evil: "(loop $f (i64.store (i32.add (i32.const 131072) (local.get $x)) (i64.const 0x4000000000000)) (local.set $x (i32.add (local.get $x) (i32.const 8))) (br_if $f (i32.lt_u (local.get $x) (i32.const 64000))))\n    (loop $l (drop (call $host (i32.const 1) (i32.const 131072) (i32.const 8000) (i32.const 16))) (br $l))"},
	{name: "write-lies", comment: "fd_write of 2^32-1 spans, and of spans beyond the memory, and goes on", imports: wasi + `"fd_write"` + function,
		evil: "(drop (call $host (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 16)))\n    (i64.store (i32.const 0) (i64.const -1))\n    (drop (call $host (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))\n    (drop (call $host (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1)))"},
	{name: "random-flood", comment: "random_get of all of its memory, for ever", imports: wasi + `"random_get" (func $host (param i32 i32) (result i32)))`,
		evil: "(loop $l (drop (call $host (i32.const 65536) (i32.const 196608))) (br $l))"},
	{name: "random-lies", comment: "random_get of -1 bytes", imports: wasi + `"random_get" (func $host (param i32 i32) (result i32)))`, evil: "(drop (call $host (i32.const 8) (i32.const -1)))"},
	{name: "sleep", comment: "sleeps for 146 years, a thousand times, and goes on", imports: wasi + `"poll_oneoff"` + function,
		evil: "(memory.fill (i32.const 128) (i32.const 0) (i32.const 48))\n    (i32.store (i32.const 144) (i32.const 1))\n    (i64.store (i32.const 152) (i64.const 0x3fffffffffffffff))\n    (loop $l (drop (call $host (i32.const 128) (i32.const 192) (i32.const 1) (i32.const 240))) (local.set $x (i32.add (local.get $x) (i32.const 1))) (br_if $l (i32.lt_u (local.get $x) (i32.const 1000))))"},
	{name: "poll-lies", comment: "poll_oneoff of -1 subscriptions, and of some beyond the memory, and goes on", imports: wasi + `"poll_oneoff"` + function,
		evil: "(drop (call $host (i32.const 128) (i32.const 192) (i32.const 0) (i32.const 240)))\n    (drop (call $host (i32.const 128) (i32.const 192) (i32.const 1025) (i32.const 240)))\n    (drop (call $host (i32.const -8) (i32.const 192) (i32.const 1) (i32.const 240)))"},
	{name: "poll-flood", comment: "poll_oneoff of -1 subscriptions for ever", imports: wasi + `"poll_oneoff"` + function,
		evil: "(loop $l (drop (call $host (i32.const 128) (i32.const 192) (i32.const -1) (i32.const 240))) (br $l))"},
	{name: "exit", comment: "proc_exit", imports: wasi + `"proc_exit" (func $host (param i32)))`, evil: "(call $host (i32.const 0))"},
	{name: "abort", comment: "env.abort with addresses that are not there", imports: `(import "env" "abort" (func $host (param i32 i32 i32 i32)))`, evil: "(call $host (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1))"},
}

// buffers are where they should not be.
var buffers = []change{
	{name: "buffer-unaligned", comment: "foldrun_buffer returns an address that is no multiple of 8, always", replace: map[string]string{"(i32.const 65536) (i32.gt_u": "(i32.const 65540) (i32.gt_u"}},
	{name: "buffer-outside", comment: "foldrun_buffer returns an address beyond the memory, always", replace: map[string]string{"(i32.const 65536) (i32.gt_u": "(i32.const 0x7ffffff8) (i32.gt_u"}},
	{name: "buffer-edge", comment: "foldrun_buffer returns an address with 8 bytes of memory behind it, always", replace: map[string]string{"(i32.const 65536) (i32.gt_u": "(i32.const 262136) (i32.gt_u"}},
	{name: "buffer-moves", comment: "foldrun_buffer returns another address each time, which it may", more: "(global $at (mut i32) (i32.const 65536))",
		replace: map[string]string{"(select (i32.const 0) (i32.const 65536) (i32.gt_u (local.get $min) (i32.const 163840)))": "(global.set $at (i32.xor (global.get $at) (i32.const 64)))\n    (global.get $at)"}},
	{name: "buffer-small", comment: "foldrun_buffer has room for 500 bytes", replace: map[string]string{"(i32.const 163840)": "(i32.const 500)"}},
}

// outputs are too large, odd, or not the same twice.
var outputs = []change{
	{name: "output-entries", comment: "10,000 entries of one record", evil: "(loop $l (call $emit (i32.const 65536) (i32.const 4) (local.get $x) (i32.const 4)) (local.set $x (i32.add (local.get $x) (i32.const 1))) (br_if $l (i32.lt_u (local.get $x) (i32.const 10000))))",
		replace: map[string]string{"(i32.const 65536) (i32.gt_u": "(i32.const 1048576) (i32.gt_u", `(memory (export "memory") 4)`: `(memory (export "memory") 32)`}},
	{name: "output-bytes", comment: "1000 entries that all name the same 200 KiB", evil: "(loop $l (call $emit (i32.const 65536) (i32.const 4) (i32.const 0) (i32.const 200000)) (local.set $x (i32.add (local.get $x) (i32.const 1))) (br_if $l (i32.lt_u (local.get $x) (i32.const 1000))))"},
	{name: "output-key", comment: "a key of 128 KiB", evil: "(call $emit (i32.const 0) (i32.const 131072) (i32.const 0) (i32.const 1))"},
	{name: "output-value", comment: "a value of all memory, 2 MiB", evil: "(drop (memory.grow (i32.const 28)))\n    (call $emit (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0x200000))"},
	{name: "output-index", comment: "an entry for index 65535", evil: "(i32.store16 (global.get $entry) (i32.const -1))\n    (call $emit (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))\n    (i32.store16 (i32.sub (global.get $entry) (i32.const 32)) (i32.const -1))"},
	{name: "overlap", comment: "key and value lie in the out frame's own tables and over each other, which they may", evil: "(call $emit (i32.const 4128) (i32.const 1) (i32.const 4128) (i32.const 2))"},
	{name: "state", comment: "yields how often it was called, which is a bug that no single run shows", more: "(global $calls (mut i32) (i32.const 0))",
		evil: "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))\n    (i32.store (i32.const 0) (global.get $calls))\n    (call $emit (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))"},
}

func changes() []change {
	all := slices.Concat(burns, traps, binaries, proposals, hosts, buffers, outputs)
	for _, l := range frameLies {
		all = append(all, change{name: l.name, comment: l.comment, lie: l.lie, answer: l.answer})
	}
	return all
}

func repeat(n int, s string) string { return strings.Repeat(s, n) }

// nested is an instruction of one operand, n times.
func nested(n int, op, operand string) string {
	return strings.Repeat("("+op+" ", n) + operand + strings.Repeat(")", n)
}
