package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// instance is one running copy of a module. It is for one goroutine.
type instance struct {
	module    *Module
	ctx       context.Context // of all calls: it holds the instance, for the host functions
	clock     guestClock
	guest     api.Module
	memory    api.Memory
	buffer    api.Function
	transform api.Function
	fuel      api.MutableGlobal // what is left of the slice of fuel in hand
	reserve   api.MutableGlobal // and beyond it; with both below 0 the call ended for want of it
	depth     api.MutableGlobal // what is left of its stack
	arena     uint32            // address of the input arena
	room      uint32            // bytes of it
	calls     int               // transforms so far: 0 is a fresh instance
	used      int64             // fuel of the last transform
	turn      turn
	muted     bool // no more log lines in this call
	stack     [4]uint64
}

// callError is why one call failed: no verdict on any record, unless it held one alone on a fresh instance.
type callError struct {
	code string // stable: trap, out_of_fuel, stack_overflow, arena_too_small, call_failed, bad_frame
	text string
}

func (e *callError) Error() string { return e.code + ": " + e.text }

// errSleeps says that a record would have moved the clock of its neighbours.
var errSleeps = &callError{"sleeps", "it sleeps in a frame of many records"}

// errArena says that the guest has no room for a frame of this size.
var errArena = &callError{"arena_too_small", "foldrun_buffer has no room for it"}

// startHint is the mend of a module that fails before its first record.
const startHint = "try the module where it was built, with this config and these limits: nothing else differs there"

// start makes a fresh instance. Its errors are the module's, not a record's.
func (m *Module) start(ctx context.Context) (*instance, error) {
	if err := m.Compile(ctx); err != nil {
		return nil, fmt.Errorf("plugin: module %s: %w", m.manifest.Name, err)
	}
	ctx = experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(allocate))
	in := &instance{module: m}
	ctx = context.WithValue(ctx, instanceKey{}, in)
	guest, err := m.runtime.InstantiateModule(ctx, m.compiled, guestConfig(&in.clock))
	if err != nil {
		return nil, hint.Error(fmt.Errorf("plugin: module %s does not start: %w", m.manifest.Name, trapText(err)), "%s", startHint)
	}
	in.ctx, in.guest, in.memory = context.WithoutCancel(ctx), guest, guest.Memory()
	in.buffer, in.transform = guest.ExportedFunction(abi.ExportBuffer), guest.ExportedFunction(abi.ExportTransform)
	in.bind(guest)
	if err := in.initialize(ctx); err != nil {
		in.close(ctx)
		return nil, fmt.Errorf("plugin: module %s does not start: %w", m.manifest.Name, err)
	}
	return in, nil
}

func (in *instance) close(ctx context.Context) { in.guest.Close(ctx) }

// initialize runs the reactor's start and gives the module its config.
func (in *instance) initialize(ctx context.Context) error {
	if f := in.guest.ExportedFunction(abi.ExportInitialize); f != nil {
		if err := in.invoke(f, 1, starting); err != nil {
			return hint.Error(fmt.Errorf("%s: %s", abi.ExportInitialize, err.text), "%s", startHint)
		}
	}
	f := in.guest.ExportedFunction(abi.ExportInit)
	if f == nil {
		return nil
	}
	config := in.module.opt.Config
	view, err := in.input(ctx, len(config))
	if err != nil {
		return hint.Error(fmt.Errorf("its config of %d bytes: %w", len(config), err), "%s", startHint)
	}
	copy(view, config)
	in.stack[0], in.stack[1] = uint64(in.arena), uint64(len(config))
	if err := in.invoke(f, 2, starting); err != nil {
		return hint.Error(fmt.Errorf("%s: %s", abi.ExportInit, err.text), "%s", startHint)
	}
	if code := uint32(in.stack[0]); code != 0 {
		return hint.Error(fmt.Errorf("%s refuses the config with code %d: %s", abi.ExportInit, code, in.lastError(ctx)),
			"mend [fold.NAME.config]")
	}
	return nil
}

// startFuel is what a fresh instance may use to start, and in its first call on top of what a record may: runtimes and
// libraries make their tables then. Go's runtime uses 5 million to start.
const startFuel = 20_000_000

// frameFuel is what a call that gives no verdict may use, if a record may not use less: a record that is endless is to be
// found without much ado, and Go's collection of garbage, which comes in the middle of some call, is to fit.
const frameFuel = 60_000_000

// allowance is what a call may use: fuel, and bytes of stack.
type allowance struct{ fuel, stack int64 }

var (
	starting = allowance{startFuel, fuel.DefaultStack}
	side     = allowance{startFuel, fuel.DefaultStack / 16} // of foldrun_buffer and foldrun_error
)

const codeOverflow = "stack_overflow"

// invoke calls a function of the guest with the first n values of the stack. The clock stands where
// it stood in every other call. Its error is a *callError.
func (in *instance) invoke(f api.Function, n int, may allowance) *callError {
	in.clock.slept, in.clock.refused, in.muted = 0, false, false
	slice := min(may.fuel, fuel.DefaultSlice)
	in.fuel.Set(uint64(slice))
	in.reserve.Set(uint64(may.fuel - slice))
	in.depth.Set(uint64(may.stack))
	in.turn.begin()
	err := f.CallWithStack(in.ctx, in.stack[:n])
	in.turn.end()
	switch {
	case in.left() < 0: // the last charge may have come after the last test
		return &callError{"out_of_fuel", fmt.Sprintf("it needs more than %d fuel", may.fuel)}
	case err == nil:
		return nil
	case int64(in.depth.Get()) < 0:
		return &callError{codeOverflow, fmt.Sprintf("its calls nest deeper than %d MiB of stack", may.stack>>20)}
	case in.clock.refused:
		return errSleeps
	}
	return &callError{"trap", trapText(err).Error()}
}

// left returns what is left of the fuel of the last call.
func (in *instance) left() int64 { return int64(in.fuel.Get()) + int64(in.reserve.Get()) }

// burn charges a host function that works for the guest. It traps when nothing is left.
func (in *instance) burn(guest api.Module, n uint64) {
	if in.fuel == nil { // its start section runs
		in.bind(guest)
	}
	in.fuel.Set(in.fuel.Get() - min(n, 1<<40))
	if in.left() < 0 {
		panic(errOutOfFuel)
	}
}

var errOutOfFuel = errors.New("out of fuel")

// bind looks up the meter's globals.
func (in *instance) bind(guest api.Module) {
	global := func(name string) api.MutableGlobal { return guest.ExportedGlobal(name).(api.MutableGlobal) }
	in.fuel, in.reserve, in.depth = global(fuel.FuelGlobal), global(fuel.ReserveGlobal), global(fuel.DepthGlobal)
}

// caller returns the instance that calls a host function.
func caller(ctx context.Context) *instance { return ctx.Value(instanceKey{}).(*instance) }

// input returns a view of n bytes of the arena, asking the guest for a larger one if it must.
func (in *instance) input(ctx context.Context, n int) ([]byte, error) {
	if uint64(n) > uint64(in.room) {
		in.room = 0
		in.stack[0] = uint64(n)
		if err := in.invoke(in.buffer, 1, side); err != nil {
			return nil, &callError{err.code, abi.ExportBuffer + ": " + err.text}
		}
		at := uint32(in.stack[0])
		if at == 0 {
			return nil, errArena
		}
		if at%abi.FrameAlignment != 0 || uint64(at)+uint64(n) > uint64(in.memory.Size()) {
			return nil, &callError{"bad_frame", fmt.Sprintf("%s(%d) returned %d, which is not 8-aligned or leaves no room in memory", abi.ExportBuffer, n, at)}
		}
		in.arena, in.room = at, uint32(n)
	}
	view, ok := in.memory.Read(in.arena, uint32(n))
	if !ok {
		return nil, &callError{"bad_frame", "the arena has left the guest's memory"}
	}
	return view, nil
}

// call transforms the records recs of u and leaves the answer in out: a view of guest memory until the next call.
// After an error the instance is to be closed; progress is then the guest's hint, or abi.NoProgress.
func (in *instance) call(ctx context.Context, u *abi.Updates, recs []int32, out *abi.Out) (progress uint32, err error) {
	progress = abi.NoProgress
	view, err := in.input(ctx, abi.InSize(u, recs))
	if err != nil {
		return progress, err
	}
	given := in.module.opt.FuelPerRecord
	switch {
	case in.calls == 0 && len(recs) == 1:
		given += startFuel
	default:
		given = min(given, frameFuel)
	}
	in.calls++
	in.clock.still = len(recs) > 1
	n := abi.EncodeIn(view, u, recs)
	in.stack[0], in.stack[1] = uint64(in.arena), uint64(n)
	failed := in.invokeTransform(given)
	in.clock.still = false
	in.used = given - in.left()
	if failed != nil {
		if !in.guest.IsClosed() { // proc_exit closes it, and its memory is gone with it
			progress = abi.Progress(view)
		}
		return progress, failed
	}
	addr, length := abi.Unpack(in.stack[0])
	if addr == 0 && length == 0 {
		return progress, &callError{"call_failed", in.lastError(ctx)}
	}
	mem, _ := in.memory.Read(0, in.memory.Size())
	if err := out.Decode(mem, addr, length, len(recs)); err != nil {
		return progress, &callError{"bad_frame", err.Error()}
	}
	return progress, nil
}

// lastError returns the text that the guest gives for its last failure.
func (in *instance) lastError(ctx context.Context) string {
	f := in.guest.ExportedFunction(abi.ExportError)
	if f == nil {
		return "the module gives no reason"
	}
	if err := in.invoke(f, 1, side); err != nil {
		return "the module trapped when asked for the reason"
	}
	addr, length := abi.Unpack(in.stack[0])
	text, ok := in.memory.Read(addr, min(length, maxMessage))
	if !ok || length == 0 {
		return "the module gives no reason"
	}
	return message(text)
}

// message is a guest's text as it is kept: bounded, since a small frame can name much memory many times.
func message(text []byte) string {
	return strings.ToValidUTF8(string(text[:min(len(text), maxMessage)]), "�")
}

// trapText is the first line of what wazero says of a trap: the rest is a stack trace, which differs between builds.
func trapText(err error) error {
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("the module exited with code %d", exit.ExitCode())
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(strings.TrimSuffix(text, " (recovered by wazero)"))
}
