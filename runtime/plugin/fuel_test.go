package plugin

import (
	"fmt"
	"strings"
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
