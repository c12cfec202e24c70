package fuel

// An op says what follows an opcode, and what one execution of it costs.
type op struct {
	imm    imm
	weight uint8
}

// imm is the kind of an opcode's immediates.
type imm uint8

const (
	immUnknown imm = iota
	immNone
	immControl // told apart by the opcode: they end or begin a straight stretch of code
	immCall
	immCallIndirect
	immLocalGet
	immLocalSet
	immGlobal
	immTable
	immMemory // alignment, offset
	immMemorySize
	immMemoryGrow
	immI32
	immI64
	imm4
	imm8
	imm16
	immSelect
	immRefNull
	immRefFunc
	immData
	immElem
	immMemoryInit
	immMemoryCopy
	immMemoryFill
	immTableInit
	immTableCopy
	immTableGrow
	immTableFill
	immLane
	immMemoryLane
	immPrefix
)

// run is opcodes first to last, alike.
type run struct {
	first, last byte
	op
}

// A weight of 1 is what the common instructions take, or less. The others are set so that no hostile module of
// TestHostile, which prints the time that a fuel takes, stands far out. A load takes 0.3 ns where the first cache has it
// and 100 where none has and the next address hangs on it: its weight is between.
var plainRuns = []run{
	{0x00, 0x00, op{immControl, 1}}, // unreachable
	{0x01, 0x01, op{immNone, 0}},    // nop
	{0x02, 0x03, op{immControl, 0}}, // block loop
	{0x04, 0x04, op{immControl, 1}}, // if
	{0x05, 0x05, op{immControl, 0}}, // else
	{0x0b, 0x0b, op{immControl, 0}}, // end
	{0x0c, 0x0d, op{immControl, 1}}, // br br_if
	{0x0e, 0x0e, op{immControl, 4}}, // br_table
	{0x0f, 0x0f, op{immControl, 1}}, // return
	{0x10, 0x10, op{immCall, 6}},
	{0x11, 0x11, op{immCallIndirect, 10}},
	{0x1a, 0x1b, op{immNone, 1}}, // drop select
	{0x1c, 0x1c, op{immSelect, 1}},
	{0x20, 0x20, op{immLocalGet, 1}},
	{0x21, 0x22, op{immLocalSet, 1}}, // local.set local.tee
	{0x23, 0x24, op{immGlobal, 1}},
	{0x25, 0x26, op{immTable, 3}},  // table.get table.set
	{0x28, 0x35, op{immMemory, 4}}, // loads
	{0x36, 0x3e, op{immMemory, 2}}, // stores
	{0x3f, 0x3f, op{immMemorySize, 1}},
	{0x40, 0x40, op{immMemoryGrow, 200}},
	{0x41, 0x41, op{immI32, 1}},
	{0x42, 0x42, op{immI64, 1}},
	{0x43, 0x43, op{imm4, 1}},
	{0x44, 0x44, op{imm8, 1}},
	{0x45, 0x6c, op{immNone, 1}},
	{0x6d, 0x70, op{immNone, 12}}, // i32.div_s i32.div_u i32.rem_s i32.rem_u
	{0x71, 0x7e, op{immNone, 1}},
	{0x7f, 0x82, op{immNone, 20}}, // i64.div_s i64.div_u i64.rem_s i64.rem_u
	{0x83, 0x90, op{immNone, 1}},
	{0x91, 0x91, op{immNone, 6}}, // f32.sqrt
	{0x92, 0x94, op{immNone, 1}},
	{0x95, 0x97, op{immNone, 4}}, // f32.div f32.min f32.max
	{0x98, 0x9e, op{immNone, 1}},
	{0x9f, 0x9f, op{immNone, 8}}, // f64.sqrt
	{0xa0, 0xa2, op{immNone, 1}},
	{0xa3, 0xa5, op{immNone, 4}}, // f64.div f64.min f64.max
	{0xa6, 0xa7, op{immNone, 1}},
	{0xa8, 0xab, op{immNone, 4}}, // i32.trunc of floats
	{0xac, 0xad, op{immNone, 1}},
	{0xae, 0xb1, op{immNone, 4}}, // i64.trunc of floats
	{0xb2, 0xbb, op{immNone, 2}},
	{0xbc, 0xc4, op{immNone, 1}},
	{0xd0, 0xd0, op{immRefNull, 1}},
	{0xd1, 0xd1, op{immNone, 1}},
	{0xd2, 0xd2, op{immRefFunc, 100}}, // wazero leaves the compiled code for it
	{0xfc, 0xfd, op{immPrefix, 0}},
}

// bulkRuns follow 0xfc. What depends on their length is charged apart: see bulk.
var bulkRuns = []run{
	{0x00, 0x07, op{immNone, 6}}, // saturating truncations
	{0x08, 0x08, op{immMemoryInit, 20}},
	{0x09, 0x09, op{immData, 4}},
	{0x0a, 0x0a, op{immMemoryCopy, 20}},
	{0x0b, 0x0b, op{immMemoryFill, 20}},
	{0x0c, 0x0c, op{immTableInit, 30}},
	{0x0d, 0x0d, op{immElem, 4}},
	{0x0e, 0x0e, op{immTableCopy, 30}},
	{0x0f, 0x0f, op{immTableGrow, 200}},
	{0x10, 0x10, op{immTable, 2}},
	{0x11, 0x11, op{immTableFill, 100}},
}

// vectorRuns follow 0xfd.
var vectorRuns = []run{
	{0x00, 0x0a, op{immMemory, 4}}, // loads
	{0x0b, 0x0b, op{immMemory, 2}},
	{0x0c, 0x0c, op{imm16, 1}},
	{0x0d, 0x0d, op{imm16, 4}},
	{0x0e, 0x14, op{immNone, 2}},
	{0x15, 0x22, op{immLane, 2}},
	{0x23, 0x53, op{immNone, 2}},
	{0x54, 0x5b, op{immMemoryLane, 4}},
	{0x5c, 0x5d, op{immMemory, 4}},
	{0x5e, 0x99, op{immNone, 3}},
	{0x9b, 0xa1, op{immNone, 3}},
	{0xa3, 0xa4, op{immNone, 3}},
	{0xa7, 0xae, op{immNone, 3}},
	{0xb1, 0xb1, op{immNone, 2}},
	{0xb5, 0xba, op{immNone, 3}},
	{0xbc, 0xc1, op{immNone, 3}},
	{0xc3, 0xc4, op{immNone, 3}},
	{0xc7, 0xce, op{immNone, 3}},
	{0xd1, 0xd1, op{immNone, 2}},
	{0xd5, 0xe1, op{immNone, 4}},
	{0xe3, 0xed, op{immNone, 6}},
	{0xef, 0xff, op{immNone, 6}},
}

var (
	plain  = table(plainRuns)
	bulk   = table(bulkRuns)
	vector = table(vectorRuns)
)

func table(runs []run) (t [256]op) {
	for _, r := range runs {
		for c := int(r.first); c <= int(r.last); c++ {
			t[c] = r.op
		}
	}
	return t
}

// refused names the opcodes of proposals that foldrun does not run, for the error.
var refused = map[byte]string{
	0x06: "exceptions (try)", 0x07: "exceptions (catch)", 0x08: "exceptions (throw)", 0x09: "exceptions (rethrow)",
	0x0a: "exceptions (throw_ref)", 0x18: "exceptions (delegate)", 0x19: "exceptions (catch_all)", 0x1f: "exceptions (try_table)",
	0x12: "tail calls (return_call)", 0x13: "tail calls (return_call_indirect)",
	0x14: "typed function references (call_ref)", 0x15: "typed function references (return_call_ref)",
	0xd3: "garbage collection (ref.eq)", 0xd4: "typed function references (ref.as_non_null)",
	0xd5: "typed function references (br_on_null)", 0xd6: "typed function references (br_on_non_null)",
	0xfb: "garbage collection", 0xfe: "threads",
}
