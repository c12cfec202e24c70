package fuel_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

var specStride = flag.Int("spec-stride", 1, "run every n-th file of the WebAssembly specification's tests")

// specDir finds the specification's tests in wazero's module archive.
func specDir(t *testing.T) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest")
	if _, missing := os.Stat(filepath.Join(dir, "v2/testdata")); err != nil || missing != nil {
		t.Skipf("wazero's module archive is not here, or holds no specification tests: %v %v", err, missing)
	}
	return dir
}

// counts of what a run did.
type specCounts struct {
	modules, returns, traps, refusedByMeter, refusedByEngine, exhausted, unlinked int
}

// TestSpec runs the WebAssembly specification's tests on each module as it is and metered. It was not written with the
// meter in mind.
func TestSpec(t *testing.T) {
	dir := specDir(t)
	var files []string
	for _, version := range []string{"v1", "v2"} {
		found, _ := filepath.Glob(filepath.Join(dir, version, "testdata/*.json"))
		files = append(files, found...)
	}
	spectest := read(t, filepath.Join(dir, "testdata/spectest.wasm"))
	var mu sync.Mutex
	var total specCounts
	ran := 0
	t.Run("files", func(t *testing.T) {
		for i := 0; i < len(files); i += *specStride {
			ran++
			name := filepath.Join(filepath.Base(filepath.Dir(filepath.Dir(files[i]))), filepath.Base(files[i]))
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := runSpec(t, files[i], spectest)
				mu.Lock()
				defer mu.Unlock()
				total.modules += c.modules
				total.returns += c.returns
				total.traps += c.traps
				total.refusedByMeter += c.refusedByMeter
				total.refusedByEngine += c.refusedByEngine
				total.exhausted += c.exhausted
				total.unlinked += c.unlinked
			})
		}
	})
	t.Logf("%d files: %d valid modules, %d returns and %d traps equal, %d exhausted, %d that do not link; of the invalid ones %d refused by the meter and %d, metered, by wazero",
		ran, total.modules, total.returns, total.traps, total.exhausted, total.unlinked, total.refusedByMeter, total.refusedByEngine)
	if *specStride == 1 && (total.modules < 2000 || total.returns < 40000 || total.traps < 2000 || total.refusedByMeter+total.refusedByEngine < 2000) {
		t.Error("suspiciously few: is the corpus whole?")
	}
}

type specFile struct {
	Commands []specCommand `json:"commands"`
}

type specCommand struct {
	Type       string `json:"type"`
	Line       int    `json:"line"`
	Name       string `json:"name"`
	Filename   string `json:"filename"`
	As         string `json:"as"`
	ModuleType string `json:"module_type"`
	Action     struct {
		Type   string      `json:"type"`
		Field  string      `json:"field"`
		Module string      `json:"module"`
		Args   []specValue `json:"args"`
	} `json:"action"`
}

type specValue struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

// words returns a value as it is passed to wazero.
func (v specValue) words() []uint64 {
	if v.Type != "v128" {
		s, _ := v.Value.(string)
		if v.Type == "externref" && s != "null" {
			n, _ := strconv.ParseUint(s, 10, 64)
			return []uint64{n + 1}
		}
		return []uint64{number(s, bits(v.Type))}
	}
	lanes := v.Value.([]any)
	var words [2]uint64
	for i, l := range lanes {
		n := bits(v.Lane)
		words[i*n/64] |= number(l.(string), n) << (i * n % 64)
	}
	return words[:]
}

func bits(valueType string) int {
	n, err := strconv.Atoi(strings.TrimLeft(valueType, "if"))
	if err != nil {
		return 64
	}
	return n
}

func number(s string, bits int) uint64 {
	switch {
	case s == "" || s == "null":
		return 0
	case strings.HasPrefix(s, "nan") && bits == 32:
		return uint64(math.Float32bits(float32(math.NaN())))
	case strings.HasPrefix(s, "nan"):
		return math.Float64bits(math.NaN())
	case strings.HasPrefix(s, "-"):
		n, _ := strconv.ParseInt(s, 10, 64)
		return uint64(n) << (64 - bits) >> (64 - bits)
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// side is one of the two worlds: the modules as they are, or metered.
type side struct {
	runtime wazero.Runtime
	named   map[string]api.Module
	last    api.Module
	slice   int64 // of fuel, that a call begins with
}

func newSide(t *testing.T, spectest []byte, features api.CoreFeatures) *side {
	s := &side{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features)), named: map[string]api.Module{}, slice: fuel.DefaultSlice}
	t.Cleanup(func() { s.runtime.Close(ctx) })
	if _, err := s.runtime.InstantiateWithConfig(ctx, spectest, wazero.NewModuleConfig()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *side) module(name string) api.Module {
	if name == "" {
		return s.last
	}
	return s.named[name]
}

// start instantiates a module and returns whether it compiled, and why it did not start.
func (s *side) start(wasm []byte, c specCommand, as string) (bool, error) {
	compiled, err := s.runtime.CompileModule(ctx, wasm)
	if err != nil {
		return false, err
	}
	m, err := s.runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(as).WithStartFunctions())
	if err != nil {
		return true, err
	}
	s.last = m
	if c.Name != "" {
		s.named[c.Name] = m
	}
	return true, nil
}

func (s *side) act(c specCommand) ([]uint64, error) {
	m := s.module(c.Action.Module)
	if m == nil {
		return nil, fmt.Errorf("no module %q", c.Action.Module)
	}
	if c.Action.Type == "get" {
		return []uint64{m.ExportedGlobal(c.Action.Field).Get()}, nil
	}
	refillFrom(m, s.slice, plenty, plenty)
	return m.ExportedFunction(c.Action.Field).Call(ctx, c.args()...)
}

func (c specCommand) args() (args []uint64) {
	for _, a := range c.Action.Args {
		args = append(args, a.words()...)
	}
	return args
}

// refill sets fuel and depth of a metered module.
func refill(m api.Module, fuelLeft, depthLeft int64) {
	refillFrom(m, min(fuelLeft, fuel.DefaultSlice), fuelLeft, depthLeft)
}

func refillFrom(m api.Module, slice, fuelLeft, depthLeft int64) {
	for name, n := range map[string]int64{fuel.FuelGlobal: slice, fuel.ReserveGlobal: fuelLeft - slice, fuel.DepthGlobal: depthLeft} {
		if g, ok := m.ExportedGlobal(name).(api.MutableGlobal); ok {
			g.Set(uint64(n))
		}
	}
}

func left(m api.Module) (fuelLeft, depthLeft int64) {
	get := func(name string) int64 { return int64(m.ExportedGlobal(name).Get()) }
	return get(fuel.FuelGlobal) + get(fuel.ReserveGlobal), get(fuel.DepthGlobal)
}

var specLimits = fuel.Limits{Start: plenty, Stack: plenty, TableElements: 1 << 25, Locals: 100_000, FrameBytes: 1 << 30, FunctionBytes: 16 << 20}

func runSpec(t *testing.T, file string, spectest []byte) (n specCounts) {
	var f specFile
	if err := json.Unmarshal(read(t, file), &f); err != nil {
		t.Fatal(err)
	}
	features := api.CoreFeaturesV2
	if strings.Contains(file, "/v1/") {
		features = api.CoreFeaturesV1 // what is invalid there may be valid now
	}
	a, b := newSide(t, spectest, features), newSide(t, spectest, features)
	dry := newSide(t, spectest, features) // metered, with a new slice at every check
	dry.slice = -1
	dryLimits := specLimits
	dryLimits.Slice = 1
	for i, c := range f.Commands {
		what := fmt.Sprintf("line %d, %s", c.Line, c.Type)
		if c.ModuleType == "text" {
			continue
		}
		switch c.Type {
		case "module":
			wasm := read(t, filepath.Join(filepath.Dir(file), c.Filename))
			as := ""
			if i+1 < len(f.Commands) && f.Commands[i+1].Type == "register" {
				as = f.Commands[i+1].As
			}
			compiled, err := a.start(wasm, c, as)
			metered, refusal := fuel.Meter(wasm, specLimits)
			if !compiled {
				t.Errorf("%s: wazero refuses a valid module: %v", what, err)
				continue
			}
			if refusal != nil {
				t.Errorf("%s: %s: %v", what, c.Filename, refusal)
				continue
			}
			if ok, err2 := b.start(metered, c, as); !ok || (err == nil) != (err2 == nil) {
				t.Errorf("%s: %s: %v, metered %v", what, c.Filename, err, err2)
			}
			if metered, err3 := fuel.Meter(wasm, dryLimits); err3 != nil {
				t.Errorf("%s: %s: %v in small slices", what, c.Filename, err3)
			} else if ok, err3 := dry.start(metered, c, as); !ok || (err == nil) != (err3 == nil) {
				t.Errorf("%s: %s: %v, in small slices %v", what, c.Filename, err, err3)
			}
			n.modules++
		case "action", "assert_return":
			want, err := a.act(c)
			got, err2 := b.act(c)
			if err != nil || err2 != nil || !same(a, c, want, got) {
				t.Errorf("%s %s(%v): %x %v, metered %x %v", what, c.Action.Field, c.Action.Args, want, err, got, err2)
			}
			if got, err3 := dry.act(c); err3 != nil || !same(a, c, want, got) || used(b, c) != used(dry, c) {
				t.Errorf("%s %s(%v): %x for %d fuel, in small slices %x %v for %d", what, c.Action.Field, c.Action.Args, want, used(b, c), got, err3, used(dry, c))
			}
			n.returns++
		case "assert_trap":
			_, err := a.act(c)
			_, err2 := b.act(c)
			_, err3 := dry.act(c)
			if firstLine(err) != firstLine(err2) || firstLine(err) != firstLine(err3) || err == nil {
				t.Errorf("%s %s: %v, metered %v, in small slices %v", what, c.Action.Field, err, err2, err3)
			}
			n.traps++
		case "assert_exhaustion":
			m := b.module(c.Action.Module)
			refill(m, plenty, 1<<20)
			_, err := m.ExportedFunction(c.Action.Field).Call(ctx, c.args()...)
			if _, depth := left(m); err == nil || depth >= 0 {
				t.Errorf("%s: %v with %d bytes of stack left", what, err, depth)
			}
			n.exhausted++
		case "assert_invalid", "assert_malformed":
			wasm := read(t, filepath.Join(filepath.Dir(file), c.Filename))
			metered, err := fuel.Meter(wasm, specLimits)
			if err != nil {
				n.refusedByMeter++
				continue
			}
			n.refusedByEngine++
			// wazero finds some of these only when it links them.
			_, err1 := a.runtime.CompileModule(ctx, wasm)
			_, err2 := b.runtime.CompileModule(ctx, metered)
			_, err3 := b.runtime.Instantiate(ctx, metered)
			if (err1 == nil) != (err2 == nil) || err3 == nil {
				t.Errorf("%s: %s: metering makes it valid: %v, metered %v, %v", what, c.Filename, err1, err2, err3)
			}
		case "assert_unlinkable", "assert_uninstantiable":
			wasm := read(t, filepath.Join(filepath.Dir(file), c.Filename))
			metered, err := fuel.Meter(wasm, specLimits)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			_, err1 := a.runtime.Instantiate(ctx, wasm)
			_, err2 := b.runtime.Instantiate(ctx, metered)
			_, err3 := dry.runtime.Instantiate(ctx, metered)
			if (err1 == nil) != (err2 == nil) || (err1 == nil) != (err3 == nil) {
				t.Errorf("%s: %v, metered %v, %v", what, err1, err2, err3)
			}
			n.unlinked++
		}
	}
	return n
}

// used returns the fuel that the last call of a module used.
func used(s *side, c specCommand) int64 {
	m := s.module(c.Action.Module)
	if m.ExportedGlobal(fuel.FuelGlobal) == nil { // it is not metered: the host's own
		return 0
	}
	fuelLeft, _ := left(m)
	return plenty - fuelLeft
}

func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// same compares results; any NaN equals any other.
func same(s *side, c specCommand, a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	var types []api.ValueType
	if f := s.module(c.Action.Module).ExportedFunction(c.Action.Field); f != nil {
		types = f.Definition().ResultTypes()
	}
	for i := range a {
		switch {
		case a[i] == b[i]:
		case len(types) == len(a) && types[i] == api.ValueTypeF32 && isNaN32(a[i]) && isNaN32(b[i]):
		case len(types) == len(a) && types[i] == api.ValueTypeF64 && isNaN64(a[i]) && isNaN64(b[i]):
		case len(types) == len(a) && (types[i] == api.ValueTypeExternref || types[i] == 0x70): // addresses
			if (a[i] == 0) != (b[i] == 0) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func isNaN32(v uint64) bool { f := math.Float32frombits(uint32(v)); return f != f }
func isNaN64(v uint64) bool { f := math.Float64frombits(v); return f != f }
