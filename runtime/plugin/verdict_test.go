package plugin

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// alone returns the verdict on each value given alone to a worker of its own.
func alone(t testing.TB, m *Module, values []string) map[int32]string {
	t.Helper()
	text := map[int32]string{}
	u := updates(values...)
	for rec := range int32(len(values)) {
		w, v := m.Worker(), newVerdicts(t)
		check(t, w.Transform(t.Context(), u, []int32{rec}, v))
		w.Close(t.Context())
		text[rec] = v.text[rec]
	}
	return text
}

// TestVerdictOfNeighbours has a record fail in the middle of a frame: in each way that a call can fail, the others get
// the verdicts that they get alone.
func TestVerdictOfNeighbours(t *testing.T) {
	m := compile(t, "odd", Options{})
	for _, bad := range []struct{ value, want string }{
		{"T", "trap 0: wasm error: unreachable"},
		{"P", "trap 0: wasm error: unreachable"},
		{"W", "trap 0: wasm error: unreachable"},
		{"Z", "trap 0: wasm error: unreachable"},
		{"X", "trap 0: the module exited with code 3"},
		{"A", "trap 0: the module aborted"},
		{"0", "call_failed 0: a reason"},
		{"B", "bad_frame 0: abi: out frame: address 1 is not a multiple of 8: align the buffer that holds it"},
		{"I", "unknown_index 0: index 5, the manifest has 1"},
		{"M", "module 9: " + strings.Repeat("\x00", maxMessage)},
		{strings.Repeat("v", 200000), "arena_too_small 0: foldrun_buffer has no room for it"},
	} {
		t.Run(bad.value[:1], func(t *testing.T) {
			for at := range 5 {
				values := slices.Insert([]string{"a", "b", "c", "d"}, at, bad.value)
				got := judge(t, m.testWorker(t), 256, values...)
				for i, value := range values {
					want := fmt.Sprintf(`0 "k%d"=%q+0;`, i, value)
					if i == at {
						want = bad.want
					}
					if have := got.text[int32(i)]; have != want {
						t.Errorf("record %d of %d: %.200q, want %.200q", i, len(values), have, want)
					}
				}
			}
		})
	}
}

// TestVerdictOfCuts gives the same records in frames cut at random: the verdicts are those on each record alone.
func TestVerdictOfCuts(t *testing.T) {
	rng := seeded(t)
	for name, pool := range map[string][]string{
		"odd": {"T", "P", "W", "Z", "X", "A", "0", "B", "I", "M", "C", "x", "", "some value", strings.Repeat("v", 1000), strings.Repeat("v", 200000)},
		"model": {"", "F", "E\x07no", "Dx", "Xx", "T", "N1024", "N1025", "N300", "K" + strings.Repeat("k", 2000), "V" + strings.Repeat("v", 3000),
			"L1000:ax=1", "ax=1;bx=2", "?", "ax=1;ax=2"},
	} {
		m := compile(t, name, Options{BytesPerRecord: 8 << 10, ValueBytes: 2 << 10, KeyBytes: 1 << 10})
		var values []string
		for range 100 {
			values = append(values, pool[rng.IntN(len(pool))])
		}
		want := alone(t, m, values)
		u := updates(values...)
		for range 20 {
			w, v := m.testWorker(t), newVerdicts(t)
			for recs := all(u); len(recs) > 0; {
				n := 1 + rng.IntN(len(recs))
				w.frame = 1 + rng.IntN(64)
				check(t, w.Transform(t.Context(), u, recs[:n], v))
				recs = recs[n:]
			}
			for rec, text := range want {
				if v.text[rec] != text {
					t.Fatalf("module %s, value %.40q: %.200q in a frame, %.200q alone", name, values[rec], v.text[rec], text)
				}
			}
		}
	}
}

// TestVerdictHint counts calls: a hint spares the search for the record that trapped.
func TestVerdictHint(t *testing.T) {
	m := compile(t, "odd", Options{})
	calls := func(bad string) uint64 {
		values := slices.Repeat([]string{"x"}, 200)
		values[137] = bad
		w := m.testWorker(t)
		judge(t, w, 256, values...)
		return w.Stats().Frames
	}
	hinted, searched := calls("P"), calls("T")
	if hinted != 3 || searched < 2*hinted { // all, those before, those after; the one alone is no frame
		t.Errorf("%d frames with a hint, %d without", hinted, searched)
	}
}

// TestArena lets a record that is larger than the arena fail alone, whatever the order.
func TestArena(t *testing.T) {
	m := compile(t, "odd", Options{})
	large := strings.Repeat("v", 200000)
	got := judge(t, m.testWorker(t), 256, large, "x", large, large, "y")
	for i, want := range []string{"arena_too_small", "0 \"k1\"", "arena_too_small", "arena_too_small", "0 \"k4\""} {
		if !strings.HasPrefix(got.text[int32(i)], want) {
			t.Errorf("record %d: %.100q, want %q", i, got.text[int32(i)], want)
		}
	}
}

// TestSameMachine asks a guest for the clocks and for randomness, after it slept and not, on instances old and new.
func TestSameMachine(t *testing.T) {
	m := compile(t, "odd", Options{})
	w := m.testWorker(t)
	still := judge(t, w, 1, "C").text[0]
	for _, values := range [][]string{{"C", "C"}, {"S", "C"}, {"x", "S", "S", "C"}, {"T", "C"}} {
		got := judge(t, w, 1, values...)
		last := len(values) - 1
		if have, want := got.text[int32(last)], strings.Replace(still, "k0", fmt.Sprintf("k%d", last), 1); have != want {
			t.Errorf("after %q: %q, want %q", values[:last], have, want)
		}
	}
	const epochBytes = `\x00\x00\x8a\xb95\x9a\xe5\x15` // 2020-01-01 in ns
	if !strings.Contains(still, epochBytes+`\x00ʚ;\x00\x00\x00\x00;\xd8`) {
		t.Errorf("the machine: %s", still)
	}
	if slept := judge(t, w, 1, "S").text[0]; slept == still || !strings.Contains(slept, `\x00\x945w\x00\x00\x00\x00;\xd8`) {
		t.Errorf("after a second's sleep: %s", slept)
	}
}

// TestLogLimit lets a guest say more in a second than is kept.
func TestLogLimit(t *testing.T) {
	l := newLines()
	m := compile(t, "odd", Options{Log: slog.New(l)})
	judge(t, m.testWorker(t), 256, "G", "G")
	n := strings.Count(l.b.String(), "level=WARN msg=module module=odd text=line\n")
	if n < linesPerSecond || n > 3*linesPerSecond || n != strings.Count(l.b.String(), "text=") {
		t.Errorf("%d lines of 600 were kept, of %d a second:\n%.500s", n, linesPerSecond, l.b.String())
	}
}

// TestFrames gives a worker more than a frame holds.
func TestFrames(t *testing.T) {
	m := compile(t, "odd", Options{})
	w := m.testWorker(t)
	judge(t, w, 256, slices.Repeat([]string{"x"}, abi.MaxFrameRecords+1)...)
	if n := w.Stats().Frames; n != 2 {
		t.Errorf("%d frames for %d records", n, abi.MaxFrameRecords+1)
	}
	w = m.testWorker(t)
	judge(t, w, 256, slices.Repeat([]string{strings.Repeat("v", abi.MaxFrameBytes/2)}, 4)...)
	if n := w.Stats().Frames; n != 4 {
		t.Errorf("%d frames for 4 records of half a frame", n)
	}
}
