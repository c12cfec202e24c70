package fuel_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// TestSlices: how large a slice is changes nothing but how often a module yields. What it computes, the fuel that it
// uses, and where it runs dry stay the same.
func TestSlices(t *testing.T) {
	u := someCities(t, 300, false)
	for _, name := range names(realModules(t)) {
		var answers [][]byte
		var used []int64
		for _, slice := range []int{1, 1000, fuel.DefaultSlice, 1 << 40} {
			metered, err := fuel.Meter(realModules(t)[name], fuel.Limits{Slice: slice})
			if err != nil {
				t.Fatal(err)
			}
			g := compile(t, metered, wazero.NewRuntimeConfig()).start()
			g.slice = int64(min(slice, fuel.DefaultSlice))
			sum := int64(0)
			for _, recs := range frames(u.Len(), 64) {
				sum += g.call(u, recs)
			}
			answers, used = append(answers, g.answer()), append(used, sum)
		}
		for i := range used {
			if used[i] != used[0] || !bytes.Equal(answers[i], answers[0]) {
				t.Errorf("%s used %d fuel, in other slices %d", name, used[i], used[0])
			}
		}
	}
	for name, wasm := range hostile(t) {
		if name == "start-loop" {
			continue
		}
		var ended [2][2]int64
		for i, slice := range []int{777, 1 << 40} {
			m := instantiate(t, wasm, fuel.Limits{Slice: slice})
			refill(m, 3_000_000, 1<<20)
			if _, err := m.ExportedFunction("run").Call(ctx); err == nil {
				t.Fatalf("%s ended", name)
			}
			ended[i][0], ended[i][1] = left(m)
			m.Close(ctx)
		}
		if ended[0] != ended[1] {
			t.Errorf("%s ended with %d of fuel and stack left, in one slice with %d", name, ended[0], ended[1])
		}
	}
}

// TestTrapNearTheEnd: whether a trap in a loop without calls is taken for want of fuel does not depend on the slices, with
// as little fuel as there may be.
func TestTrapNearTheEnd(t *testing.T) {
	wasm := body("\x03\x40\x20\x00\x41\x01\x6a\x22\x00\x41\x05\x48\x0d\x00\x00\x0b", "\x01\x01\x7f") // five turns, and unreachable
	dry, own := 0, 0
	for n := range int64(256) {
		var without [2]bool
		for i, slice := range []int{1, 1 << 40} {
			m := instantiate(t, wasm, fuel.Limits{Slice: slice})
			refillFrom(m, min(n, int64(slice)), n, 1<<20)
			if _, err := m.ExportedFunction("run").Call(ctx); err == nil {
				t.Fatal("it ended well")
			}
			fuelLeft, _ := left(m)
			without[i] = fuelLeft < 0
			m.Close(ctx)
		}
		if without[0] != without[1] {
			t.Errorf("with %d fuel, for want of it: %v in small slices, %v in one", n, without[0], without[1])
		}
		if without[0] {
			dry++
		} else {
			own++
		}
	}
	if dry == 0 || own == 0 {
		t.Errorf("%d traps for want of fuel, %d others", dry, own)
	}
}

func instantiate(t *testing.T, wasm []byte, l fuel.Limits) api.Module {
	t.Helper()
	metered, err := fuel.Meter(wasm, l)
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(1024))
	t.Cleanup(func() { r.Close(ctx) })
	m, err := r.Instantiate(ctx, metered)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestYield collects garbage while a guest runs that has fuel for hours. A collection stops the world, and so waits for
// the guest to yield: without, this test hangs.
func TestYield(t *testing.T) {
	for _, name := range []string{"cache-misses", "fill-bomb", "copy-bomb", "copy-small", "fill-small"} {
		m := instantiate(t, read(t, "testdata/hostile/"+name+".wasm"), fuel.Limits{})
		refill(m, 1<<50, 1<<24)
		begun, ended := make(chan bool), make(chan error)
		go func() {
			close(begun)
			_, err := m.ExportedFunction("run").Call(ctx)
			ended <- err
		}()
		<-begun
		for range 20 {
			runtime.GC()
		}
		select {
		case err := <-ended:
			t.Fatalf("%s ended: %v", name, err)
		default:
		}
		if err := drain(m, ended); err == nil {
			t.Errorf("%s ended well", name)
		}
	}
}

// drain takes a running guest's fuel away until it ends: the guest may be writing what it has left at the same time.
func drain(m api.Module, ended chan error) error {
	for {
		m.ExportedGlobal(fuel.ReserveGlobal).(api.MutableGlobal).Set(0)
		select {
		case err := <-ended:
			return err
		default:
			runtime.Gosched()
		}
	}
}
