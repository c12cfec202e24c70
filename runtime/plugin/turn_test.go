package plugin

import (
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foldrun/foldrun/abi"
)

// called calls a fresh instance with one record, in the lane of the dear, and returns it with the call's error.
func called(t testing.TB, m *Module) (*instance, error) {
	t.Helper()
	in, err := m.start(t.Context())
	check(t, err)
	t.Cleanup(func() { in.close(t.Context()) })
	in.turn.dear = true
	_, err = in.call(t.Context(), updates("!"), []int32{0}, &abi.Out{})
	return in, err
}

// TestTurn: a guest that runs for long pauses, with code that is compiled now or comes from the cache. 140 million fuel
// are far more than a turn on any machine.
func TestTurn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for i := range 2 {
		m, err := Compile(t.Context(), hostileModule(t, "loop"), Options{CacheDir: dir})
		check(t, err)
		if _, cached, _ := m.Compiled(); cached != (i == 1) {
			t.Errorf("run %d: cached is %v", i, cached)
		}
		if in, err := called(t, m); err == nil || !in.turn.long {
			t.Errorf("run %d: an endless loop had no pause: %v", i, err)
		}
		check(t, m.Close(t.Context()))
	}
}

func (d *deep) stacks() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.kept)
}

// TestDeep: records whose calls nest without end make a large stack once, and not each on its own; and let it go some seconds
// after the last of them.
func TestDeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := Compile(t.Context(), hostileModule(t, "recursion"), Options{})
		check(t, err)
		defer m.Close(t.Context())
		w, many := m.testWorker(t), slices.Repeat([]string{"!"}, 20)
		first := judge(t, w, 1, "!").text[0]
		judge(t, w, 1, "!") // on the stack that is kept, which grows
		time.Sleep(deepIdle - 1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := judge(t, w, 1, many...)
		runtime.ReadMemStats(&after)
		if made := (after.TotalAlloc - before.TotalAlloc) >> 20 / uint64(len(many)); made > 8 {
			t.Errorf("%d MiB of garbage a record", made)
		}
		for _, text := range got.text {
			if text != first {
				t.Errorf("%q, at first %q", text, first)
			}
		}
		time.Sleep(deepIdle - 1)
		synctest.Wait()
		if n := m.deep.stacks(); n != 1 {
			t.Fatalf("%d stacks are kept", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := m.deep.stacks(); n > 0 {
			t.Errorf("%d stacks are kept that nothing needs", n)
		}
		if text := judge(t, w, 1, "!").text[0]; text != first {
			t.Errorf("afterwards %q, at first %q", text, first)
		}
	})
}

// TestMuted: a call that was refused a log line is refused all others, and the next call is not.
func TestMuted(t *testing.T) {
	m, err := Compile(t.Context(), hostileModule(t, "log-flood"), Options{Log: slog.New(newLines())})
	check(t, err)
	defer m.Close(t.Context())
	in, err := called(t, m)
	check(t, err)
	if !in.muted {
		t.Error("100,000 lines were let through")
	}
	_, err = in.call(t.Context(), updates("no flood"), []int32{0}, &abi.Out{})
	check(t, err)
	if in.muted {
		t.Error("a call that logs nothing is still muted")
	}
}
