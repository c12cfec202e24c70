package plugin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
	"unicode/utf16"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
)

const (
	maxLogLine = 1 << 10 // bytes of a guest's log line that are kept
	maxMessage = 1 << 10 // bytes of why a record or a call failed that are kept
)

// checkImports refuses a module that asks for something that provide did not put there.
func (m *Module) checkImports() error {
	for _, f := range m.compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		var have api.FunctionDefinition
		if host := m.runtime.Module(module); host != nil {
			have = host.ExportedFunctionDefinitions()[name]
		}
		if have == nil {
			return hint.Error(fmt.Errorf("it imports %s.%s, which foldrun does not have", module, name),
				"build it for %s: %s.%s, %s.%s and the functions of %s are all that may be imported",
				abi.ExportMarker, abi.ImportModule, abi.ImportLog, abi.ImportEnv, abi.ImportAbort, abi.ImportWASI)
		}
		if !slices.Equal(f.ParamTypes(), have.ParamTypes()) || !slices.Equal(f.ResultTypes(), have.ResultTypes()) {
			return hint.Error(fmt.Errorf("it imports %s.%s with the type %s -> %s, not %s -> %s", module, name,
				types(f.ParamTypes()), types(f.ResultTypes()), types(have.ParamTypes()), types(have.ResultTypes())), "abi/ABI.md lists the imports with their types")
		}
	}
	if len(m.compiled.ImportedMemories()) > 0 {
		return hint.Error(errors.New("it imports its memory"), "link it so that it defines and exports %q", abi.ExportMemory)
	}
	return nil
}

// provide instantiates the modules that a guest may import from. Host functions are registered without reflection,
// which would cost ten times as much a call.
func (m *Module) provide(ctx context.Context) error {
	i32 := api.ValueTypeI32
	_, err := m.runtime.NewHostModuleBuilder(abi.ImportModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(m.log), []api.ValueType{i32, i32, i32}, nil).Export(abi.ImportLog).Instantiate(ctx)
	if err != nil {
		return err
	}
	_, err = m.runtime.NewHostModuleBuilder(abi.ImportEnv).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(abort), []api.ValueType{i32, i32, i32, i32}, nil).Export(abi.ImportAbort).Instantiate(ctx)
	if err != nil {
		return err
	}
	wasi := m.runtime.NewHostModuleBuilder(abi.ImportWASI)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(wasi)
	// What does as much work as the guest asks for is ours: it is charged.
	for name, f := range map[string]struct {
		do     api.GoModuleFunc
		params int
	}{"random_get": {randomGet, 2}, "fd_write": {m.fdWrite, 4}, "poll_oneoff": {pollOneoff, 4}} {
		wasi.NewFunctionBuilder().WithGoModuleFunction(f.do, slices.Repeat([]api.ValueType{i32}, f.params), []api.ValueType{i32}).Export(name)
	}
	_, err = wasi.Instantiate(ctx)
	return err
}

// log is foldrun_v1.log. level is 0 debug, 1 info, 2 warn, 3 error.
func (m *Module) log(ctx context.Context, guest api.Module, stack []uint64) {
	level := slog.LevelDebug + slog.Level(4*min(uint32(stack[0]), 3))
	if !m.mayLog(ctx, level) {
		return
	}
	if text, ok := guest.Memory().Read(uint32(stack[1]), min(uint32(stack[2]), maxLogLine)); ok {
		m.opt.Log.Log(ctx, level, "module", "module", m.manifest.Name, "text", string(text))
	}
}

// mayLog reports whether a line of the guest may be written. A guest that was refused one is refused all others of its
// call, which costs next to nothing.
func (m *Module) mayLog(ctx context.Context, level slog.Level) bool {
	in := caller(ctx)
	if in.muted || !m.opt.Log.Enabled(ctx, level) {
		return false
	}
	in.muted = !m.lines.allow(time.Now())
	return !in.muted
}

// abort is env.abort, which AssemblyScript calls for what a module throws: with a message, the source's file, a line and
// a column.
func abort(_ context.Context, guest api.Module, stack []uint64) {
	said := "the module aborted"
	if text := ascText(guest.Memory(), uint32(stack[0])); text != "" {
		said += ": " + text
	}
	if file := ascText(guest.Memory(), uint32(stack[1])); file != "" {
		said += fmt.Sprintf(", in %s:%d:%d", file, uint32(stack[2]), uint32(stack[3]))
	}
	panic(errors.New(said))
}

// ascText returns a string of AssemblyScript's, up to 256 characters: UTF-16, with the number of its bytes in the 4 before it.
// What is none may give anything.
func ascText(memory api.Memory, at uint32) string {
	if at < 4 {
		return ""
	}
	size, _ := memory.ReadUint32Le(at - 4)
	raw, ok := memory.Read(at, min(size, 512)&^1)
	if !ok {
		return ""
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}

// epoch is where a guest's clock stands, s since 1970: 2020-01-01T00:00:00Z.
const epoch = 1577836800

// uptime is where its monotonic clock stands, ns. Go's runtime does not start on a machine whose clock says 0.
const uptime = int64(time.Second)

// guestClock is a guest's clock.
type guestClock struct {
	slept   int64 // how far it is from where it stands still, ns: what the guest slept in the call in hand
	still   bool  // no sleep is allowed: the call holds many records
	refused bool  // one was asked for
}

// noRandom is in place of wazero's source of randomness, which takes 15 µs to make for each instance and which random_get
// here does not read.
type noRandom struct{}

func (noRandom) Read([]byte) (int, error) { return 0, io.EOF }

// guestConfig is what an instance starts with: no name, arguments, environment, files; a clock that stands still but
// for the guest's own sleeps, the same bytes as randomness, nothing on standard output.
func guestConfig(c *guestClock) wazero.ModuleConfig {
	return wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(noRandom{}).
		WithWalltime(func() (int64, int32) { return epoch + c.slept/1e9, int32(c.slept % 1e9) }, 1).
		WithNanotime(func() int64 { return uptime + c.slept }, 1)
}
