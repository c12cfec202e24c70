package fuel_test

import (
	"encoding/binary"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// hostileFuel is what each hostile call gets.
const hostileFuel = 10_000_000

// hostile modules, by name: those of testdata and those that take more bytes than one would write.
func hostile(t testing.TB) map[string][]byte {
	all := map[string][]byte{
		"long-body":        longBody(typeI64, "\x20\x00\x42\x03\x7e\x21\x00"),          // x = 3x
		"long-body-vector": longBody(typeV128, "\x20\x00\x20\x00\xfd\xd5\x01\x21\x00"), // x = x * x, of i64x2
		"merge-storm":      mergeStorm(150, 150),
		"frame-recursion":  frameRecursion(400),
	}
	found, err := filepath.Glob("testdata/hostile/*.wasm")
	if err != nil || len(found) == 0 {
		t.Fatalf("no hostile modules: %v", err)
	}
	for _, name := range found {
		all[strings.TrimSuffix(filepath.Base(name), ".wasm")] = read(t, name)
	}
	return all
}

// TestHostile runs every hostile module on the same fuel: it traps, for want of fuel or stack, and what it took of CPU
// time and memory is printed.
func TestHostile(t *testing.T) {
	all := hostile(t)
	for _, name := range names(all) {
		t.Run(name, func(t *testing.T) {
			metered, err := fuel.Meter(all[name], fuel.Limits{Start: hostileFuel})
			if err != nil {
				t.Fatal(err)
			}
			r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(1024))
			defer r.Close(ctx)
			begun := time.Now()
			compiled, err := r.CompileModule(ctx, metered)
			if err != nil {
				t.Fatal(err)
			}
			compiling := time.Since(begun)
			begun = time.Now()
			m, err := r.InstantiateModule(experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(reserve)), compiled, wazero.NewModuleConfig())
			if name == "start-loop" {
				if err == nil || !strings.Contains(err.Error(), "unreachable") {
					t.Fatalf("a start function that loops: %v", err)
				}
				t.Logf("start section trapped after %v", time.Since(begun))
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if refill(m, hostileFuel, 16<<20); name == "table-grow-huge" {
				refill(m, plenty, 16<<20)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			since := cpu()
			_, err = m.ExportedFunction("run").Call(ctx)
			took := cpu() - since
			runtime.ReadMemStats(&after)
			fuelLeft, depthLeft := left(m)
			used := hostileFuel - fuelLeft
			t.Logf("%-20s compiled in %8v; trapped after %8v, %8d fuel, %6.2f ns a fuel; %5.1f MiB allocated, %d bytes of stack left",
				name, compiling.Round(10*time.Microsecond), took.Round(10*time.Microsecond), used, float64(took.Nanoseconds())/float64(used),
				float64(after.TotalAlloc-before.TotalAlloc)/(1<<20), depthLeft)
			if err == nil || !strings.Contains(err.Error(), "unreachable") {
				t.Fatalf("it ended with %v", err)
			}
			if name != "table-grow-huge" && fuelLeft >= 0 && depthLeft >= 0 {
				t.Error("neither fuel nor stack ran out")
			}
			if after.TotalAlloc-before.TotalAlloc > 160<<20 {
				t.Error("it took too much memory")
			}
			if took > 2*time.Second {
				t.Error("it took too long")
			}
		})
	}
}

// TestRefused: what would get around the meter, or is not run at all.
func TestRefused(t *testing.T) {
	long := func(n int) string { return strings.Repeat("\x01", n) }
	for name, x := range map[string]struct {
		wasm []byte
		want string
	}{
		"writes the fuel global by its index": {body("\x42\x00\x24\x00", ""), "global 0, the module has 0"},
		"reads the depth global":              {body("\x23\x01\x1a", ""), "global 1, the module has 0"},
		"uses the meter's local":              {body("\x20\x00\x1a", ""), "local 0, the module has 0"},
		"branches beyond the function":        {body("\x0c\x01", ""), "label 1, 1 blocks are open"},
		"hides code in a padded opcode":       {body("\xfd\x8c\x00"+long(16)+"\x1a", ""), "padded opcodes"},
		"calls beyond the module":             {body("\x10\x01", ""), "function 1, the module has 1"},
		"a type beyond the module":            {body("\x02\x01\x0b", ""), "type 1, the module has 1"},
		"a table that is not there":           {body("\x41\x00\x25\x00\x1a", ""), "table 0, the module has 0"},
		"memory that is not there":            {body("\x41\x00\x28\x02\x00\x1a", ""), "no memory"},
		"data without a count":                {body("\xfc\x09\x00", ""), "no data count"},
		"an element segment":                  {body("\xfc\x0d\x00", ""), "element segment 0, the module has 0"},
		"tail call":                           {body("\x12\x00", ""), "tail calls (return_call)"},
		"atomics":                             {body("\xfe\x00", ""), "threads"},
		"exceptions":                          {body("\x08\x00", ""), "exceptions (throw)"},
		"garbage collection":                  {body("\xfb\x00", ""), "garbage collection"},
		"multi-memory":                        {body("\x41\x00\x28\x42\x00\x00\x1a", ""), "no memory"},
		"an unknown opcode":                   {body("\x27", ""), "unknown opcode 0x27"},
		"an over-long number":                 {body("\x41\x80\x80\x80\x80\x80\x00\x1a", ""), "longer than 32 bits"},
		"code after the end":                  {body("\x0b\x01", ""), "after the function's end"},
		"an else without if":                  {body("\x02\x40\x05\x0b", ""), "an else without its if"},
		"no end":                              {module(section(1, "\x01\x60\x00\x00"), section(3, "\x01\x00"), section(10, "\x01\x02\x00\x01")), "the middle of something"},
		"too many locals":                     {body("", "\x01\xff\xff\xff\xff\x0f\x7f"), "more than 10000 locals"},
		"a huge table":                        {module(section(4, "\x01\x70\x00\xff\xff\xff\x0f")), "a table of 33554431 elements"},
		"a long body":                         {body(long(300<<10), ""), "a body of"},
		"a deep frame":                        {mergeStorm(300, 300), "bytes of stack"},
		"a compiler's nightmare":              {repeated(60, mergeStormCode(100, 100)), "too long to compile"},
		"the meter's export":                  {module(section(1, "\x01\x60\x00\x00"), section(3, "\x01\x00"), section(7, "\x01\x0a__foldrunX\x00\x00"), section(10, "\x01\x02\x00\x0b")), "begin with __foldrun"},
		"the meter's import":                  {module(section(2, "\x01\x01e\x0a__foldrunX\x03\x7f\x00")), "begin with __foldrun"},
		"64-bit memory":                       {module(section(5, "\x01\x04\x01")), "memory64"},
		"shared memory":                       {module(section(5, "\x01\x03\x01\x01")), "threads"},
		"two memories":                        {module(section(5, "\x02\x00\x01\x00\x01")), "several memories"},
		"a tag section":                       {module(section(13, "\x00")), "exceptions"},
		"sections out of order":               {module(section(3, "\x00"), section(1, "\x00")), "out of order"},
		"a section twice":                     {module(section(1, "\x00"), section(1, "\x00")), "out of order or there twice"},
		"bytes after a section":               {module(section(1, "\x00\x00")), "after the end of the section"},
		"a section cut short":                 {module("\x01\x05\x00"), "5 bytes are announced, 1 are left"},
		"a component":                         {[]byte("\x00asm\x0d\x00\x01\x00"), "not a core wasm module"},
		"functions without code":              {module(section(1, "\x01\x60\x00\x00"), section(3, "\x01\x00")), "0 functions have code, 1 are declared"},
	} {
		_, err := fuel.Meter(x.wasm, fuel.Limits{})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, not %q", name, err, x.want)
		}
	}
}

// TestError: an error names the function and the byte.
func TestError(t *testing.T) {
	_, err := fuel.Meter(body("\x01\x01\x27", ""), fuel.Limits{})
	e, ok := err.(*fuel.Error)
	if !ok || e.Function != 0 || e.Offset != len(body("", ""))-1+2 {
		t.Errorf("%#v", err)
	}
}

func module(sections ...string) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" + strings.Join(sections, ""))
}

func section(id byte, payload string) string { return string(id) + length(payload) + payload }

// length is a string's length, as LEB128.
func length(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) }

// body is a module whose one function, exported as run, has this code and these locals.
func body(code, locals string) []byte {
	if locals == "" {
		locals = "\x00"
	}
	f := locals + code + "\x0b"
	return repeated(1, f)
}

const typeI64, typeV128 = "\x7e", "\x7b"

// longBody is an endless loop of 32 KB that does one thing again and again on a value that it stores in a global.
func longBody(valueType, code string) []byte {
	zero := map[string]string{typeI64: "\x42\x03\x0b", typeV128: "\xfd\x0c" + strings.Repeat("\x03", 16) + "\x0b"}[valueType]
	f := "\x01\x01" + valueType + "\x23\x00\x21\x00\x03\x40" + strings.Repeat(code, 32<<10/len(code)) + "\x20\x00\x24\x00\x0c\x00\x0b\x0b"
	return module(section(1, "\x01\x60\x00\x00"), section(3, "\x01\x00"), section(6, "\x01"+valueType+"\x01"+zero),
		section(7, "\x01\x03run\x00\x00"), section(10, "\x01"+length(f)+f))
}

// mergeStorm is an endless loop of n assignments inside k blocks, with a jump to the innermost only: a naive compiler
// moves n values at the end of each of k blocks, for n+k instructions.
func mergeStorm(n, k int) []byte { return repeated(1, mergeStormCode(n, k)) }

func mergeStormCode(n, k int) string {
	code := "\x03\x40" + strings.Repeat("\x02\x40", k)
	code += "\x20\x00\x0e" + leb(k-1)
	for i := range k {
		code += leb(i)
	}
	code += "\x0b" // the innermost block's end
	for i := range n {
		code += "\x20\x00\x41" + leb(i%60) + "\x6a\x21" + leb(i+1)
	}
	code += strings.Repeat("\x0b", k-1)
	for i := range n {
		code += "\x20\x00\x20" + leb(i+1) + "\x73\x21\x00"
	}
	code += "\x20\x00\x41\x00\x71\x21\x00\x0c\x00\x0b"
	return "\x01" + leb(n+1) + "\x7f" + code + "\x0b"
}

// repeated is a module of n functions alike. The first is exported as run.
func repeated(n int, f string) []byte {
	return module(section(1, "\x01\x60\x00\x00"), section(3, leb(n)+strings.Repeat("\x00", n)), section(7, "\x01\x03run\x00\x00"),
		section(10, leb(n)+strings.Repeat(length(f)+f, n)))
}

// frameRecursion is a function that keeps n values alive across a call of itself.
func frameRecursion(n int) []byte {
	code := strings.Repeat("\x23\x00\x42\x07\x7e", n) + "\x10\x00" + strings.Repeat("\x7c", n-1) + "\x24\x00"
	f := "\x00" + code + "\x0b"
	return module(section(1, "\x01\x60\x00\x00"), section(3, "\x01\x00"), section(6, "\x01\x7e\x01\x42\x03\x0b"), section(7, "\x01\x03run\x00\x00"),
		section(10, "\x01"+length(f)+f))
}

func leb(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }

// reserve gives a memory all that it may grow to at once, as runtime/plugin does.
func reserve(_, limit uint64) experimental.LinearMemory { return reserved(make([]byte, limit)) }

type reserved []byte

func (r reserved) Reallocate(size uint64) []byte { return r[:size:len(r)] }
func (r reserved) Free()                         {}
