// Package fuel rewrites a wasm module so that it can never run longer, recurse deeper or copy more than it has fuel
// and stack for. What a module computes stays the same, and the same call on the same instance uses the same fuel on
// every machine: "this record is too dear" is a verdict that replicas agree on, as no clock could make them.
//
//	metered, err := fuel.Meter(wasm, fuel.Limits{})
//
// The host compiles what Meter returns instead of the module. Before each call into an instance it sets the two globals
// that the meter exports, and afterwards reads them:
//
//	fuel.Set(n), depth.Set(stack)     before each call: of any export, _initialize included
//	n - fuel.Get()                    what the call used
//	err != nil and fuel.Get() < 0     the fuel ran out
//	err != nil and depth.Get() < 0    the stack ran out
//	err != nil otherwise              the module trapped by itself
//
// The exports are looked up once for each instance, as api.MutableGlobal. After a trap the instance is
// dropped: its memory is half done, and the depth still counts the calls that were cut off. The start section runs
// before the host can set anything, on Limits.Start.
//
// # What is charged
//
//	fuel    i64, mutable, exported    less the cost of what comes, at each check; below zero: trap
//	depth   i64, mutable, exported    less the frame's size at a function's entry, given back at its end; below zero: trap
//
// Every instruction has a weight, about what it takes: 1 for the common ones, 0 for those that make no code (block,
// loop, end, nop), 20 for a division, 100 for one that leaves the compiled code (opcodes.go). A call costs its params
// and results too, and the end of a block the locals that may have to be moved because ways meet there: one
// instruction can move hundreds of values. A check charges 4 more for itself.
//
// Checks stand at a function's entry, at the head of each loop, and on the dearer of two ways that part where they
// differ much (cost.go). Each charges, before any of it runs, the dearest way from there to the next checks.
// Instructions whose work depends on an operand are charged for it just before they run: memory.fill, copy and init one
// fuel for 8 bytes, table.fill, copy, init and grow one for an element, memory.grow 1024 for a page, whether it
// succeeds or not.
//
// # Why does no way run uncharged?
//
// Number the points of a function's body. cost(p) is the most that runs from p on before the next check or the
// function's end. A pass from the end to the beginning finds it: of a plain instruction, its weight and the cost of
// what follows; of a fork, the largest; of a branch, that of its target. The target is either a block's end, which
// stands further on and is known already, or a loop's head, which has a check, so the cost is 0. So the pass needs no
// second look, and each check charges cost(p) of its place. By induction over a run: what was charged since the last
// check, less what has run since, is at least cost of where the run is; and so never negative. A cycle within a
// function passes a loop's head, a cycle through calls passes a function's entry, whose charge holds at least the
// weight of the branch or call that closes the cycle. Hence fuel falls on every cycle, and every run ends.
//
// Where two ways part and one is dearer by slack or more, the fork charges the cheaper and a check on the dearer way
// the difference. That is the same induction, with the check's charge added at the place where it is due. It only makes
// the count nearer to what runs. TestWalk takes random ways and holds both sides of the sum against each other.
//
// Fuel cannot wrap: it starts below 2^63, a check takes less than 2^43, and after the first below zero nothing runs.
//
// # Why is the dearest way charged, and not each basic block?
//
// Checking each block makes branchy modules 1.4 times slower, and checking only entries and loop heads made a record
// seem 5 to 12 times dearer than it is, at 1.1. With differences charged apart from 256 fuel on (slack), the time is
// nearly that of the latter and the count two to five times what runs. TestWalk and BenchmarkOverhead print both. A
// check of each loop's turn that took 1 whatever the turn does would be no quicker; and a 32 KB body would run thousands
// of times longer on the same fuel than a tight loop.
//
// # Why one trap for each function?
//
// Inline, "if unreachable end" is some fifty bytes of machine code that every check jumps over. So a function's body is
// put into a block whose end is unreachable, and a check is five machine instructions and a branch to it that is never
// taken. Inside, another block takes the place of the function's own label, so that no branch needs another index; a
// return becomes a branch to it where the depth has to be given back.
//
//	block                      ;; to here in want of fuel or stack
//	  depth -= frame, fuel -= charge, br_if 0 when one is below zero
//	  block (result ...)       ;; to here instead of out of the function
//	    ... the body
//	  end
//	  depth += frame
//	  return
//	end
//	unreachable
//
// # Why is depth in bytes?
//
// wazero puts guests' frames on Go's heap, doubling as they grow, to 400 MB: a frame with a thousand live values costs a
// thousand times more than one without. So a call is charged for the places that its frame can need: one for each
// param, local and value that its code computes, and for each local wherever ways meet, since wazero gives no place to
// two values. That is as much as hostile code can use up (measured: 16 MiB of depth make at most 22 MiB of stack and
// outgrown stacks) and about ten times what usual code does: the dearest example, of Go, needs less than 256 KiB of it. A
// function that calls nothing is not counted: one of them at most is on the stack, and Limits.FrameBytes bounds it.
//
// # Why does Meter check every index?
//
// What it appends must not be there for the module. A module without globals that writes global 0 is invalid; with the
// fuel appended as global 0 it would be valid, and refuel itself. So every index in the code and in the sections is held
// against the module as it was: types, functions, tables, memories, globals, locals, labels, data and element segments.
// Types of operands are wazero's to check; nothing that is inserted changes them. Everything new is appended, at the end
// of its index space: two globals, two exports, for some functions a local, for functions of several results a type.
//
// The decoder refuses what it does not know by name, and every second way to write an opcode: two decoders that
// disagree about where an instruction ends would let one hide code in the other's immediates. wazero looks at one byte
// only of a vector opcode, so 0xfd 0x8c 0x00 is v128.const by the specification and i16x8.shr_s to wazero.
//
// # Why are there limits on frames?
//
// What wazero takes to compile a function grows with the same number of places: 3 KB of code, 300 locals set in 300
// nested blocks, took a second. A function, and a module in all, may have only so many for their bytes.
//
// # What is not charged
//
// The work of host functions: one call costs 100, however many bytes it is told to read or write. Caches that miss: a
// load costs 1 whether it takes a nanosecond or a hundred. Both are bounded by what a host function does at most, and
// by the memory that a module has. Data and element segments and initial values are constant expressions: they cost
// what their bytes cost.
package fuel
