package measure

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/foldrun/foldrun/runtime/rig"
)

// Figure is what was measured of one thing, beside another of the same run.
type Figure struct {
	Bench   string  `json:"bench"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`    // "updates/s" or "µs"
	Ratio   float64 `json:"ratio"`   // to Against: 1 is as fast, more is faster
	Against string  `json:"against"` // what it is beside
	Bar     float64 `json:"bar"`     // what the ratio should reach
	OK      bool    `json:"ok"`      // it does

	Beside float64 `json:"-"` // the value of Against
}

// bars are what the ratios should reach on a machine that is not busy: docs/performance.md says where they are from.
var bars = map[string]float64{
	"bare":             0.8, // below, the machine is too noisy for the others to mean much
	"build":            0.5,
	"build-settled":    0.5,
	"build-cpu":        0.35,
	"build-cpu-broker": 0.7,
	"live-p50":         0.25,
	"live-p99":         0.2,
	"get":              5,
	"scan-40":          2,
}

func (f Figure) judged() Figure {
	f.Bar = bars[f.Bench]
	f.OK = f.Ratio >= f.Bar
	return f
}

// rates are the figures of the rounds: medians.
func (b *bench) rates() []Figure {
	figure := func(name string, all []rig.Cost, against string, beside []rig.Cost) Figure {
		value, its := median(all, rig.Cost.Rate), median(beside, rig.Cost.Rate)
		return Figure{Bench: name, Value: math.Round(value), Unit: "updates/s", Ratio: rounded(value / its), Against: against, Beside: math.Round(its)}.judged()
	}
	noise := figure("bare", b.bare, "the same again", b.again)
	noise.Ratio = rounded(min(noise.Value/noise.Beside, noise.Beside/noise.Value)) // which of the two is the faster one means nothing
	return append([]Figure{
		noise.judged(),
		figure("build", b.built, "bare", b.bare),
		figure("build-settled", b.settled, "bare", b.bare),
	}, b.cpu()...)
}

// cpu are the figures of what an update of a settled build costs this process, and the broker if it is ours.
func (b *bench) cpu() []Figure {
	figure := func(name string, of func(rig.Cost) float64) Figure {
		const least = 0.01 // µs: where the system counts in ticks, few updates cost nothing
		value, its := max(median(b.settled, of), least), max(median(b.bare, of), least)
		return Figure{Bench: name, Value: rounded(value), Unit: "µs", Ratio: rounded(its / value), Against: "bare", Beside: rounded(its)}.judged()
	}
	all := []Figure{figure("build-cpu", rig.Cost.ClientMicro)}
	if b.broker != nil {
		all = append(all, figure("build-cpu-broker", rig.Cost.BrokerMicro))
	}
	return all
}

func latency(name string, value time.Duration, against string, beside time.Duration) Figure {
	micros := func(d time.Duration) float64 { return rounded(float64(d) / float64(time.Microsecond)) }
	return Figure{Bench: name, Value: micros(value), Unit: "µs", Ratio: rounded(beside.Seconds() / value.Seconds()), Against: against, Beside: micros(beside)}.judged()
}

// rounded has the digits that mean something.
func rounded(x float64) float64 { return math.Round(x*100) / 100 }

// median returns the middle of what of says of all.
func median(all []rig.Cost, of func(rig.Cost) float64) float64 {
	var s []float64
	for _, c := range all {
		s = append(s, of(c))
	}
	slices.Sort(s)
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}

// percentile returns the p-th percentile of all.
func percentile(all []time.Duration, p float64) time.Duration {
	s := slices.Sorted(slices.Values(all))
	return s[min(int(p/100*float64(len(s))), len(s)-1)]
}

// Table prints figures for people.
func Table(w io.Writer, figures []Figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tvalue\tunit\tratio\tbar\t\tbeside\tits value\t")
	for _, f := range figures {
		verdict := "ok"
		if !f.OK {
			verdict = "below"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.2f\t%.2f\t%s\t%s\t%s\t\n", f.Bench, number(f.Value), f.Unit, f.Ratio, f.Bar, verdict, f.Against, number(f.Beside))
	}
	return t.Flush()
}

// number shows a rate in whole updates, a latency in tenths, what is small in hundredths.
func number(x float64) string {
	switch {
	case x >= 1000:
		return fmt.Sprintf("%.0f", x)
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.1f", x)
}
