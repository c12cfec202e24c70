package fuel_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// BenchmarkCompileBomb compiles what the limits let through that is dearest to compile, metered, and reports what it
// takes: as many functions as may be, bodies as large as may be, and merges as many as may be.
func BenchmarkCompileBomb(b *testing.B) {
	small := "\x00\x03\x40\x0c\x00\x0b\x0b"
	large := "\x01\x01\x7f" + strings.Repeat("\x20\x00\x41\x03\x6a\x21\x00", 220<<10/7) + "\x0b"
	for _, x := range []struct {
		name string
		wasm []byte
	}{
		{"functions", repeated(100_000, small)},
		{"bodies", repeated(16, large)},
		{"merges", repeated(12, mergeStormCode(100, 100))},
	} {
		b.Run(x.name, func(b *testing.B) {
			for b.Loop() {
				begun := time.Now()
				metered, err := fuel.Meter(x.wasm, fuel.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(begun).Seconds(), "s-metering")
				r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig())
				if _, err := r.CompileModule(ctx, metered); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(begun).Seconds(), "s")
				b.ReportMetric(float64(len(x.wasm))/(1<<20), "MiB-wasm")
				r.Close(ctx)
			}
		})
	}
}
