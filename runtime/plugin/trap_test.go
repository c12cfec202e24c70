package plugin

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/foldrun/foldrun/abi"
)

// goModule builds a module in Go, with fmt and encoding/json.
func goModule(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "go.wasm")
	c := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./fuel/testdata/goguest")
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	b, err := os.ReadFile(out)
	check(t, err)
	b, err = abi.AppendManifest(b, abi.Manifest{Name: "go"})
	check(t, err)
	return b
}

// BenchmarkStart reports what it takes until a fresh instance has started.
//
//	go test ./runtime/plugin -run '^$' -bench Start
func BenchmarkStart(b *testing.B) {
	for name, wasm := range map[string]func(testing.TB) []byte{
		"C":  func(t testing.TB) []byte { return testModule(t, "model") },
		"Go": goModule,
	} {
		b.Run(name, func(b *testing.B) {
			m := compileBench(b, wasm(b))
			for b.Loop() {
				in, err := m.start(context.Background())
				check(b, err)
				in.close(context.Background())
			}
		})
	}
}

// BenchmarkTraps reports how many records a second a worker transforms of which one in a hundred traps, beside none that
// does, turn by turn.
//
//	go test ./runtime/plugin -run '^$' -bench Traps -benchtime 50x
func BenchmarkTraps(b *testing.B) {
	for _, x := range []struct{ name, good, bad string }{
		{"hinted", "ax=1;by=2", "T"}, // the C SDK's progress hint
		{"dear", "N200", "T"},
	} {
		b.Run(x.name, func(b *testing.B) {
			m := compileBench(b, testModule(b, "model"))
			values := slices.Repeat([]string{x.good}, 10_000)
			clean := updates(values...)
			for i := 50; i < len(values); i += 100 {
				values[i] = x.bad
			}
			trapping := updates(values...)
			w := m.Worker()
			defer w.Close(context.Background())
			var rates [2][]float64
			for b.Loop() {
				for i, u := range []*abi.Updates{clean, trapping} {
					begun := time.Now()
					check(b, w.Transform(context.Background(), u, all(u), dropped{}))
					rates[i] = append(rates[i], float64(u.Len())/time.Since(begun).Seconds())
				}
			}
			b.ReportMetric(median(rates[0]), "clean/s")
			b.ReportMetric(median(rates[1]), "trapping/s")
			b.ReportMetric(median(rates[1])/median(rates[0]), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}
