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
	for _, name := range []string{"go", "by-country", "rekey"} {
		var answers [][]byte
		var used []int64
		for _, slice := range []int{1, 1000, fuel.DefaultSlice, 1 << 40} {
			metered, err := fuel.Meter(realModules(t)[name], fuel.Limits{Slice: slice})
			if err != nil {
				t.Fatal(err)
			}
			g := compile(t, metered, wazero.NewRuntimeConfig()).start()
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
