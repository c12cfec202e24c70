package fuel_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// functions is a module with a memory and these functions, of which the first is exported as run. types has for each 0,
// () -> (), or 1, (i32) -> ().
func functions(types string, code ...string) []byte {
	all := leb(len(code))
	for _, c := range code {
		f := "\x00" + c + "\x0b"
		all += length(f) + f
	}
	return module(section(1, "\x02\x60\x00\x00\x60\x01\x7f\x00"), section(3, leb(len(types))+types), section(5, "\x01\x00\x01"),
		section(7, "\x01\x03run\x00\x00"), section(10, all))
}

// yields counts how often a module yields.
type yields int

func (y *yields) NewFunctionListener(f api.FunctionDefinition) experimental.FunctionListener {
	if !slices.Contains(f.ExportNames(), fuel.YieldFunction) {
		return nil
	}
	return experimental.FunctionListenerFunc(func(context.Context, api.Module, api.FunctionDefinition, []uint64, experimental.StackIterator) { *y++ })
}

// run calls the function run with so much fuel and 16 MiB of stack, and returns what is left of both.
func run(t *testing.T, wasm []byte, slice int, given int64, params ...uint64) (y yields, fuelLeft, depthLeft int64, err error) {
	t.Helper()
	metered, err := fuel.Meter(wasm, fuel.Limits{Slice: slice})
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	m, err := r.Instantiate(experimental.WithFunctionListenerFactory(ctx, &y), metered)
	if err != nil {
		t.Fatal(err)
	}
	refillFrom(m, min(given, int64(slice)), given, 16<<20)
	_, err = m.ExportedFunction("run").Call(ctx, params...)
	fuelLeft, depthLeft = left(m)
	return y, fuelLeft, depthLeft, err
}

// TestCalledCharges: calls of small functions, which have no checks of their own, let a body run no longer between two yields.
func TestCalledCharges(t *testing.T) {
	small := strings.Repeat("\x41\x00\x28\x02\x00\x1a", 20) // 20 loads
	y, left, _, err := run(t, functions("\x00\x00", strings.Repeat("\x10\x01", 2000), small), 10_000, 10_000_000)
	used := 10_000_000 - left
	if err != nil || used < 2000*20*5 || int64(y) < used/10_000-1 {
		t.Errorf("%d yields in %d fuel: %v", y, used, err)
	}
}

// TestCycles: calls that never come back, and functions that begin with a loop, run out of fuel or stack as others do.
func TestCycles(t *testing.T) {
	const call0, call1, call2, unreachable, again = "\x10\x00", "\x10\x01", "\x10\x02", "\x00", "\x0c\x00"
	for name, x := range map[string]struct {
		wasm  []byte
		given int64
		depth bool // the stack ends it, not the fuel
	}{
		"last calls in a circle":         {functions("\x00\x00\x00", call1+unreachable, call2+unreachable, call0+unreachable), 1 << 40, true},
		"last calls, little fuel":        {functions("\x00\x00\x00", call1+unreachable, call2+unreachable, call0+unreachable), 1000, false},
		"a circle of last calls beneath": {functions("\x00\x00\x00", call1+unreachable, call2+unreachable, call1+unreachable), 1000, false},
		"a call in the first loop":       {functions("\x00", "\x03\x40"+call0+again+"\x0b"), 1 << 40, true},
		"the same, little fuel":          {functions("\x00", "\x03\x40"+call0+again+"\x0b"), 1000, false},
		"a call before a loop":           {functions("\x00", call0+"\x03\x40"+again+"\x0b"), 1000, false},
		"no call in the first loop":      {functions("\x00", "\x03\x40"+again+"\x0b"), 100_000, false},
		"a circle beneath a small one":   {functions("\x00\x00\x00", call1, call2, call1), 1000, false},
	} {
		_, fuelLeft, depthLeft, err := run(t, x.wasm, fuel.DefaultSlice, x.given)
		if err == nil || (depthLeft < 0) != x.depth || (fuelLeft < 0) == x.depth {
			t.Errorf("%s: %d fuel and %d stack are left: %v", name, fuelLeft, depthLeft, err)
		}
	}
}

// TestClimb: on the way back from a deep recursion a guest yields, whichever of its functions tests for that.
func TestClimb(t *testing.T) {
	down := func(to string) string { return "\x20\x00" + to }
	f := "\x20\x00\x45\x0d\x00\x20\x00\x41\x01\x6b\x10\x01" // br_if 0 when i = 0; call 1 (i-1)
	const levels, slice, given = 30_000, 500_000, 1 << 40
	y, left, depthLeft, err := run(t, functions("\x01\x01\x01", f, down("\x10\x02"), down("\x10\x00")), slice, given, levels)
	ends, frames := int(given-left)/slice, levels*3*64 // yields on the way down, bytes at least
	if err != nil || depthLeft != 16<<20 || ends < 2 || int(y)-ends < frames>>20 {
		t.Errorf("%d yields, %d of them on the way down, of %d bytes of stack; %d left: %v", y, ends, frames, depthLeft, err)
	}
}
