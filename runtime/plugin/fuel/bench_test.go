package fuel_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// BenchmarkOverhead runs frames of 256 records, of Go 32, through a module as it is, metered, and under WithCloseOnContextDone,
// turn by turn, and reports the sum of each frame's quickest turn: what others do on the machine only ever adds.
func BenchmarkOverhead(b *testing.B) {
	modules := realModules(b)
	for _, name := range []string{"rekey", "by-country", "city-names", "large-cities", "model", "go", "assemblyscript/by-country", "rust/by-country", "zig/by-country"} {
		b.Run(name, func(b *testing.B) {
			if modules[name] == nil {
				b.Skipf("plugins/examples/%s is not built: its build.sh does", name)
			}
			n, size := 2048, 256
			if name == "go" {
				n, size = 256, 32
			}
			u := someCities(b, n, name == "model")
			cut := frames(u.Len(), size)
			guests := []*guest{
				compile(b, modules[name], wazero.NewRuntimeConfig()).start(),
				compile(b, meter(b, modules[name]), wazero.NewRuntimeConfig()).start(),
				compile(b, modules[name], wazero.NewRuntimeConfig().WithCloseOnContextDone(true)).start(),
			}
			best := make([][]time.Duration, len(guests))
			for i := range best {
				best[i] = slices.Repeat([]time.Duration{time.Hour}, len(cut))
			}
			used := int64(0)
			for b.Loop() {
				used = 0
				for k, recs := range cut {
					for i, g := range guests {
						start := time.Now()
						n := g.call(u, recs)
						best[i][k] = min(best[i][k], time.Since(start))
						used += n // 0 where it is not metered
					}
				}
			}
			var took [3]float64
			for i, unit := range []string{"ns/rec", "metered-ns/rec", "cod-ns/rec"} {
				for _, d := range best[i] {
					took[i] += float64(d.Nanoseconds()) / float64(u.Len())
				}
				b.ReportMetric(took[i], unit)
			}
			b.ReportMetric(float64(used)/float64(u.Len()), "fuel/rec")
			b.ReportMetric(took[1]/took[0], "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}
