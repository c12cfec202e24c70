package plugin

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestFuel has a record spin for ever among others: it alone runs out of fuel, wherever it stands and however the
// records are cut into frames.
func TestFuel(t *testing.T) {
	m := compile(t, "model", Options{FuelPerRecord: 1_000_000})
	for at := range 4 {
		values := []string{"ax=1", "ay=2", "az=3", "bw=4"}
		values[at] = "S"
		got := judge(t, m.testWorker(t), 256, values...)
		for i, value := range values {
			have := got.text[int32(i)]
			if spun := strings.HasPrefix(have, "out_of_fuel 0: it needs more than "); spun != (value == "S") {
				t.Errorf("record %d, %q: %q", i, value, have)
			}
		}
	}
}

// TestSameVerdict judges records that are dear, cheap, trapping and endless in random frames: each gets the verdict
// that it gets alone. Some of the dear ones fit the fuel of a record and not that of a frame with others.
func TestSameVerdict(t *testing.T) {
	m := compile(t, "model", Options{FuelPerRecord: 300_000, EntriesPerRecord: 100_000})
	rng := seeded(t)
	var values []string
	for range 60 {
		values = append(values, []string{"", "S", "T", "F", "X", "E!no", "ak=v;bk=v", fmt.Sprintf("N%d", rng.IntN(4000))}[rng.IntN(8)])
	}
	want := alone(t, m, values)
	for range 10 {
		w := m.testWorker(t)
		got := judge(t, w, 1+rng.IntN(64), values...)
		for i := range values {
			if have, want := got.text[int32(i)], want[int32(i)]; have != want {
				t.Errorf("record %d, %q: %.100q, alone %.100q", i, values[i], have, want)
			}
		}
	}
}

// TestSameVerdictHostile is TestSameVerdict over modules whose records are dear, take all the memory there is, sleep, or
// lie, with several workers at once: each record gets the verdict that it gets alone, whatever the cuts.
func TestSameVerdictHostile(t *testing.T) {
	rng := seeded(t)
	for _, name := range []string{"honest", "memory-bomb", "loop", "recursion", "trap-progress", "trap-progress-huge", "sleep", "exit", "key-outside", "counts-wrap",
		"output-entries", "error-loops", "buffer-small", "buffer-moves", "table-grow"} {
		t.Run(name, func(t *testing.T) {
			m, err := Compile(t.Context(), hostileModule(t, name), Options{FuelPerRecord: 500_000})
			check(t, err)
			defer m.Close(t.Context())
			var values []string
			for range 40 {
				values = append(values, []string{"a", "b", "longer", "", "!"}[rng.IntN(5)])
			}
			want, u := alone(t, m, values), updates(values...)
			workers := 1 + rng.IntN(3)
			cuts := make([][]int32, workers)
			for i := range int32(len(values)) {
				k := rng.IntN(workers)
				cuts[k] = append(cuts[k], i)
			}
			frame := 1 + rng.IntN(64)
			var all sync.WaitGroup
			for _, recs := range cuts {
				all.Go(func() {
					w, got := m.Worker(), newVerdicts(t)
					defer w.Close(t.Context())
					w.frame = frame
					if err := w.Transform(t.Context(), u, recs, got); err != nil {
						t.Error(err)
					}
					for _, i := range recs {
						if got.text[i] != want[i] {
							t.Errorf("record %d, %q: %.200q, alone %.200q", i, values[i], got.text[i], want[i])
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// TestSleep: a record that sleeps does not move its neighbours' clock. C and S say what the clocks show.
func TestSleep(t *testing.T) {
	m := compile(t, "odd", Options{})
	values := []string{"C", "S", "C", "x", "S", "C"}
	want := alone(t, m, values)
	for frame := 1; frame <= len(values); frame++ {
		got := judge(t, m.testWorker(t), frame, values...)
		for i := range values {
			if got.text[int32(i)] != want[int32(i)] {
				t.Errorf("record %d, %q, in frames of %d: %q, alone %q", i, values[i], frame, got.text[int32(i)], want[int32(i)])
			}
		}
	}
}

// TestSmallArena: a frame that the arena had no room for is not tried again and again.
func TestSmallArena(t *testing.T) {
	m, err := Compile(t.Context(), hostileModule(t, "buffer-small"), Options{})
	check(t, err)
	defer m.Close(t.Context())
	w := m.testWorker(t)
	judge(t, w, 64, slices.Repeat([]string{"x"}, 64)...)
	before := w.Stats()
	judge(t, w, 64, slices.Repeat([]string{"x"}, 640)...)
	if n := w.Stats().Instances - before.Instances; n > 1 {
		t.Errorf("%d instances were needed for records that fit", n)
	}
}
