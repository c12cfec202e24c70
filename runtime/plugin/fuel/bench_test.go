package fuel_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// BenchmarkOverhead runs frames of 256 records through a module as it is, metered, and under WithCloseOnContextDone,
// turn by turn, and reports the lower quartile of each: what others do on the machine only ever adds.
func BenchmarkOverhead(b *testing.B) {
	modules := realModules(b)
	for _, name := range []string{"rekey", "by-country", "city-names", "large-cities", "model", "go", "assemblyscript/by-country", "rust/by-country", "zig/by-country"} {
		b.Run(name, func(b *testing.B) {
			if modules[name] == nil {
				b.Skipf("plugins/examples/%s is not built: its build.sh does", name)
			}
			n := 2048
			if name == "go" {
				n = 256
			}
			u := someCities(b, n, name == "model")
			cut := frames(u.Len(), 256)
			guests := []*guest{
				compile(b, modules[name], wazero.NewRuntimeConfig()).start(),
				compile(b, meter(b, modules[name]), wazero.NewRuntimeConfig()).start(),
				compile(b, modules[name], wazero.NewRuntimeConfig().WithCloseOnContextDone(true)).start(),
			}
			took := make([][]float64, len(guests))
			used := int64(0)
			for b.Loop() {
				for i, g := range guests {
					used = 0
					start := time.Now()
					for _, recs := range cut {
						used += g.call(u, recs)
					}
					took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/float64(u.Len()))
					if i == 1 {
						b.ReportMetric(float64(used)/float64(u.Len()), "fuel/rec")
					}
				}
			}
			for i, unit := range []string{"ns/rec", "metered-ns/rec", "cod-ns/rec"} {
				slices.Sort(took[i])
				b.ReportMetric(took[i][len(took[i])/4], unit)
			}
			b.ReportMetric(took[1][len(took[1])/4]/took[0][len(took[0])/4], "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}
