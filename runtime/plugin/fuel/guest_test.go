package fuel_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin/fuel"
	"github.com/foldrun/foldrun/testdata/cities"
)

const root = "../../.."

// plenty is more fuel than any test uses up without meaning to.
const plenty = 1 << 60

var ctx = context.Background()

// realModules are modules as toolchains make them, by name.
func realModules(t testing.TB) map[string][]byte {
	t.Helper()
	modules := map[string][]byte{"go": goGuest(t)}
	for _, x := range []struct{ pattern, as string }{
		{"plugins/examples/*/*.wasm", ""}, {"testdata/modules/*.wasm", ""}, {"plugins/examples/assemblyscript/*/*.wasm", "assemblyscript/"},
		{"plugins/examples/rust/*/*.wasm", "rust/"}, {"plugins/examples/zig/*/*.wasm", "zig/"}, // where they are built
	} {
		found, err := filepath.Glob(filepath.Join(root, x.pattern))
		if err != nil || len(found) == 0 && x.as != "rust/" && x.as != "zig/" {
			t.Fatalf("%s: no modules: %v", x.pattern, err)
		}
		for _, name := range found {
			modules[x.as+strings.TrimSuffix(filepath.Base(name), ".wasm")] = read(t, name)
		}
	}
	return modules
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var buildGo = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "goguest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/goguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(text))
	}
	return os.ReadFile(out)
})

func goGuest(t testing.TB) []byte {
	t.Helper()
	b, err := buildGo()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func meter(t testing.TB, wasm []byte) []byte {
	t.Helper()
	out, err := fuel.Meter(wasm, fuel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// engine compiles one module, and starts guests of it.
type engine struct {
	t        testing.TB
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

func compile(t testing.TB, wasm []byte, config wazero.RuntimeConfig) *engine {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(ctx, config)
	t.Cleanup(func() { r.Close(ctx) })
	none := func(context.Context, api.Module, []uint64) {}
	i32 := api.ValueTypeI32
	if _, err := r.NewHostModuleBuilder(abi.ImportModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(none), []api.ValueType{i32, i32, i32}, nil).Export(abi.ImportLog).Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewHostModuleBuilder(abi.ImportEnv).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(none), []api.ValueType{i32, i32, i32, i32}, nil).Export(abi.ImportAbort).Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	c, err := r.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	return &engine{t, r, c}
}

// guest is an instance of a module that speaks foldrun's ABI.
type guest struct {
	t                 testing.TB
	api.Module        // metered or not
	fuel, reserve     api.MutableGlobal
	depth             api.MutableGlobal
	buffer, transform api.Function
	arena, room       uint32
	stack             [2]uint64
	slice             int64 // of fuel, that a call begins with
	out               abi.Out
}

func (e *engine) start() *guest {
	e.t.Helper()
	m, err := e.runtime.InstantiateModule(ctx, e.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		e.t.Fatal(err)
	}
	g := &guest{t: e.t, Module: m, slice: fuel.DefaultSlice, buffer: m.ExportedFunction(abi.ExportBuffer), transform: m.ExportedFunction(abi.ExportTransform)}
	g.fuel, _ = m.ExportedGlobal(fuel.FuelGlobal).(api.MutableGlobal)
	g.reserve, _ = m.ExportedGlobal(fuel.ReserveGlobal).(api.MutableGlobal)
	g.depth, _ = m.ExportedGlobal(fuel.DepthGlobal).(api.MutableGlobal)
	g.refuel(plenty)
	if f := m.ExportedFunction(abi.ExportInitialize); f != nil {
		if _, err := f.Call(ctx); err != nil {
			e.t.Fatal(err)
		}
	}
	return g
}

func (g *guest) refuel(n uint64) {
	if g.fuel != nil {
		g.fuel.Set(uint64(g.slice))
		g.reserve.Set(n - uint64(g.slice))
	}
}

// call transforms records and returns the fuel that it used.
func (g *guest) call(u *abi.Updates, recs []int32) int64 {
	if n := uint32(abi.InSize(u, recs)); n > g.room {
		g.stack[0] = uint64(n)
		if err := g.buffer.CallWithStack(ctx, g.stack[:]); err != nil {
			g.t.Fatal(err)
		}
		g.arena, g.room = uint32(g.stack[0]), n
	}
	view, _ := g.Memory().Read(g.arena, g.room)
	n := abi.EncodeIn(view, u, recs)
	g.refuel(plenty)
	g.stack[0], g.stack[1] = uint64(g.arena), uint64(n)
	if err := g.transform.CallWithStack(ctx, g.stack[:]); err != nil {
		g.t.Fatal(err)
	}
	addr, length := abi.Unpack(g.stack[0])
	mem, _ := g.Memory().Read(0, g.Memory().Size())
	if err := g.out.Decode(mem, addr, length, len(recs)); err != nil {
		g.t.Fatal(err)
	}
	if g.fuel == nil {
		return 0
	}
	return plenty - int64(g.fuel.Get()) - int64(g.reserve.Get())
}

// answer is what the last call answered, as bytes.
func (g *guest) answer() (b []byte) {
	for i := range g.out.Results() {
		r := g.out.Result(i)
		b = append(append(b, byte(r.Status), byte(r.Code), byte(r.Entries)), r.Message...)
	}
	for j := range g.out.Entries() {
		e := g.out.Entry(j)
		b = append(append(append(b, byte(e.Index), byte(e.TTL)), e.Key...), e.Value...)
	}
	return b
}

// someCities returns the first n cities, and commands of the model module in between.
func someCities(t testing.TB, n int, models bool) *abi.Updates {
	t.Helper()
	u := &abi.Updates{}
	done := errors.New("enough")
	commands := []string{"", "Fx", "E\x05why", "Dsame", "N100", "Kkey", "V", "L5:aone=1;btwo=2", "aone=1;btwo", "zunknown"}
	err := cities.Each(func(key string, value []byte) error {
		i := len(u.Records)
		if i == n {
			return done
		}
		if models && i%2 == 1 {
			value = []byte(commands[i/2%len(commands)])
		}
		k := u.AppendString(key)
		u.Records = append(u.Records, abi.Update{Seq: uint64(i + 1), Time: 1e18, Key: k, Subject: k, Value: u.Append(value), Op: abi.OpPut})
		return nil
	})
	if err != nil && err != done {
		t.Fatal(err)
	}
	return u
}

func names[V any](m map[string]V) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// frames cuts n records into calls of size records.
func frames(n, size int) (all [][]int32) {
	for i := range n {
		if i%size == 0 {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], int32(i))
	}
	return all
}
