// Package fuel rewrites a wasm module so that it can never run longer, recurse deeper or copy more than it has fuel
// and stack for. What a module computes stays the same, and the same call on the same instance uses the same fuel on
// every machine: "this record is too dear" is a verdict that replicas agree on, as no clock could make them.
//
//	metered, err := fuel.Meter(wasm, fuel.Limits{})
//
// The host compiles what Meter returns instead of the module. Before each call into an instance it sets the globals that
// the meter exports, and afterwards reads them:
//
//	fuel.Set(min(n, slice)), reserve.Set(n - that), depth.Set(stack)    before each call: of any export, _initialize included
//	left = fuel.Get() + reserve.Get()
//	n - left                          what the call used
//	left < 0                          the fuel ran out, even where the call returned: what was charged last is tested next
//	err != nil and depth.Get() < 0    the stack ran out
//	err != nil otherwise              the module trapped by itself
//
// The exports are looked up once for each instance, as api.MutableGlobal. After a trap the instance is
// dropped: its memory is half done, and the depth still counts the calls that were cut off. The start section runs
// before the host can set anything, on Limits.Start.
//
// # What is charged
//
//	fuel     i64, mutable, exported    less the cost of what comes, at each check; below zero: the next slice
//	reserve  i64, mutable, exported    where slices come from; nothing left there either: trap
//	depth    i64, mutable, exported    less the frame's size at a function's entry, given back at its end; below zero: trap
//	mark     i64, mutable              the depth at which a return yields; see below
//
// Every instruction has a weight, about what it takes: 1 for the common ones, 0 for those that make no code (block,
// loop, end, nop), 2 for a store, 4 for a load, 20 for a division, 100 for one that leaves the compiled code (opcodes.go). A call costs its params
// and results too, and the end of a block the locals that may have to be moved because ways meet there: one
// instruction can move hundreds of values. A check charges 4 more for itself.
//
// Checks stand at the entry of most functions, at the head of each loop, and on the dearer of two ways that part where they
// differ much (cost.go). Each charges, before any of it runs, the dearest way from there to the next checks. The checks
// at entries and heads test, too, whether what was charged so far was there; the others only charge, and what they charge
// is tested next. So a function may run once more after its fuel is gone, which bounds it as well.
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
// function passes a loop's head, a cycle through calls passes a function's entry that has a check, whose charge holds at least the
// weight of the branch or call that closes the cycle. Hence fuel falls on every cycle, and every run ends.
//
// Where two ways part and one is dearer by slack or more, the fork charges the cheaper and a check on the dearer way
// the difference. That is the same induction, with the check's charge added at the place where it is due. It only makes
// the count nearer to what runs. TestWalk takes random ways and holds both sides of the sum against each other.
//
// Fuel cannot wrap: it starts below 2^63, a check takes less than 2^43, and after a test below zero nothing runs.
//
// # Why slices?
//
// Compiled code cannot be preempted. A garbage collection that begins waits for it, and the whole process with it. So
// fuel is granted in slices of DefaultSlice, and where one is used up the guest yields: it leaves the compiled code for
// Go and comes back. No function of the host is needed for that, whose import would shift every function's index: to grow
// the memory by nothing does it. A module without a memory does not yield. A listener on YieldFunction is called there, too:
// package plugin has the guest sleep in it. How large a slice is changes neither what a
// module computes, nor the fuel that it uses, nor where it runs dry; TestSlices holds that, and TestYield that a
// collection ends while a guest runs that would run for hours.
//
// The time between two yields is that of a slice and of one function's body: loads that wait for each other and miss
// every cache take 100 ns, and so 25 for one fuel. That makes 6 ms for the slice, and 8 more for a body of nothing but
// loads (BenchmarkStall of package plugin). Three things would run for longer on what was charged before:
//
//   - A long memory.fill or memory.copy: 64 MiB take tens of milliseconds. One that is longer than eight bytes for each
//     fuel of a slice is run piece by piece, 256 KiB each, by a function that the meter appends. memory.init is bounded by
//     the module's own bytes.
//   - What follows a call is charged at the function's entry, on the way down. A deep recursion would run all of it on the
//     way up. So a function's end, where the depth is given back, yields when half a MiB was given back since the last.
//   - Pages of memory that are touched for the first time: more than a microsecond each, on a fuel or two. That is the
//     host's to prevent, who gives the memory.
//
// # Why is a loop in another loop?
//
// A check must come back to where it stood. With the call inside the loop, wazero stores each local that the loop changes
// to the stack in each turn, for the sake of a call that is almost never made: 12 to 20 % in all. So the loop is left for
// the call, and entered again with other values, which are equal:
//
//	block (result ...)           ;; to here when the loop has ended
//	  loop                       ;; to here with the next slice
//	    block                    ;; to here in want of fuel
//	      loop (result ...)
//	        br_if 1 when fuel < 0
//	        fuel -= charge
//	        ... the body
//	      end
//	      br 2
//	    end
//	    x = x + 0                ;; for each local that the loop writes and that is live at its head
//	    call refill              ;; traps when nothing is left
//	    br 0
//	  end
//	  unreachable
//	end
//
// Of the local's two values only the second is there across the call, and is stored (live.go). A loop that takes values from the stack could not be entered again: there the call stands inside.
//
// # Where is the fuel in a local?
//
// In the outermost loops that call nothing, and in functions that have such a loop and call nothing (region.go). A global
// is loaded and stored by each check, and the next one waits for that. Where the region is left, and before refill is
// called, the local goes to the global. So after a trap within, the exports do not say what the turns since have used;
// but they say whether the fuel ran out.
//
// # Why is the dearest way charged, and not each basic block?
//
// Checking each block makes branchy modules 1.4 times slower, and checking only entries and loop heads made a record
// seem 5 to 12 times dearer than it is, at 1.1. With differences charged apart from 256 fuel on (slack), the time is
// nearly that of the latter and the count two to five times what runs. TestWalk and BenchmarkOverhead print both. A
// check of each loop's turn that took 1 whatever the turn does would be no quicker; and a 32 KB body would run thousands
// of times longer on the same fuel than a tight loop.
//
// # What does a function look like?
//
// A check is five machine instructions and a branch that is never taken. Where the depth has to be given back, a return
// becomes a branch to there.
//
//	depth -= frame
//	loop                         ;; to here with the next slice
//	  block                      ;; to here in want of fuel or stack
//	    br_if 0 when fuel or depth is below zero
//	    fuel -= charge
//	    block (result ...)       ;; to here instead of out of the function
//	      ... the body
//	    end
//	    depth += frame, yield when that is above mark
//	    return
//	  end
//	  call refill
//	  br 0
//	end
//	unreachable
//
// The depth is taken, and given back, only by a function that is not bounded; see below.
//
// # Which functions have no check at their entry?
//
// A function that loops call again and again would pay for its check each time: 15 % in Rust and AssemblyScript, whose scanners
// are such functions (graph.go).
//
//   - One is bounded if it is on no cycle of calls, calls nothing by a table, and needs no more than Limits.FrameBytes of stack with
//     all that it calls. It takes nothing from the depth: at most one chain of such functions is on the stack, at its end. A call
//     that an unreachable follows, as compilers write for a panic, does not count: there the depth is taken, as much as the
//     longest such chain needs, and not given back.
//   - A bounded function that is called by its callers only (it is not exported, in a table, or the start), and costs no more
//     than slack on the dearest way to its loops or end, is covered: each caller charges that with the call, and it
//     has no check. One that has no loop either leaves the fuel in its caller's local. Where the calls in one body cost more
//     than coveredCosts, each is tested and charged where it stands: else all of them would run without a yield.
//   - A function that begins with a loop is charged by the check of the loop's head, a little more in each turn. That is every
//     function of Go's. If it takes from the depth, that is tested at its entry, which traps by itself.
//
// The end of a function tests whether much stack was given back only where at least one does on each cycle of calls, and on each
// chain that needs more than Limits.FrameBytes.
//
// # Why is depth in bytes?
//
// wazero puts guests' frames on Go's heap, doubling as they grow, to 400 MB: a frame with a thousand live values costs a
// thousand times more than one without. So a call is charged for the places that its frame can need: one for each
// param, local and value that its code computes, and for each local wherever ways meet, since wazero gives no place to
// two values. That is as much as hostile code can use up (measured: 16 MiB of depth make at most 22 MiB of stack and
// outgrown stacks) and about ten times what usual code does: the dearest example, of Go, needs less than 256 KiB of it.
//
// # Why does Meter check every index?
//
// What it appends must not be there for the module. A module without globals that writes global 0 is invalid; with the
// fuel appended as global 0 it would be valid, and refuel itself. So every index in the code and in the sections is held
// against the module as it was: types, functions, tables, memories, globals, locals, labels, data and element segments.
// Types of operands are wazero's to check; nothing that is inserted changes them. Everything new is appended, at the end
// of its index space: four globals, some exports, some functions and their types, for some functions a local, for
// functions of several results a type.
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
// load costs 4 whether it takes a third of a nanosecond or a hundred. Both are bounded by what a host function does at most, and
// by the memory that a module has. Data and element segments and initial values are constant expressions: they cost
// what their bytes cost.
package fuel
