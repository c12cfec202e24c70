package measure

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/runtime/source"
)

// TestJudged: rates and latencies both have a ratio that is higher where foldrun is faster, and a bar.
func TestJudged(t *testing.T) {
	rounds := func(cpu time.Duration, walls ...time.Duration) (all []rig.Cost) {
		for _, w := range walls {
			all = append(all, rig.Cost{N: 1000, Wall: w * time.Second, Client: cpu, Broker: 2 * cpu})
		}
		return all
	}
	b := &bench{broker: &rig.Broker{},
		bare:    rounds(time.Millisecond, 1, 9, 2),
		again:   rounds(time.Millisecond, 4, 4, 4),
		built:   rounds(3*time.Millisecond, 4, 4, 1),
		settled: rounds(4*time.Millisecond, 5, 5, 5),
	}
	figures := append(b.rates(),
		latency("get", 10*time.Microsecond, "x", 50*time.Microsecond),
		latency("scan-40", 100*time.Microsecond, "x", 50*time.Microsecond))
	for i, want := range []struct {
		bench  string
		value  float64
		ratio  float64
		beside float64
		ok     bool
	}{
		{"bare", 500, 0.5, 250, false}, // 2 s and 4 s: the machine is noisy
		{"build", 250, 0.5, 500, true},
		{"build-settled", 200, 0.4, 500, false},
		{"build-cpu", 4, 0.25, 1, false},
		{"build-cpu-broker", 8, 0.25, 2, false},
		{"get", 10, 5, 50, true},
		{"scan-40", 100, 0.5, 50, false},
	} {
		f := figures[i]
		if f.Bench != want.bench || f.Value != want.value || f.Ratio != want.ratio || f.Beside != want.beside || f.OK != want.ok || f.Bar == 0 {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
}

// TestLiveRatio: a watcher that has a put before the put returns counts as 0 µs, and has a ratio all the same.
func TestLiveRatio(t *testing.T) {
	var rows, watcher timings
	called := time.Now()
	returned := called.Add(100 * time.Microsecond)
	rows.add(called, returned, called.Add(300*time.Microsecond))
	watcher.add(called, returned, called.Add(60*time.Microsecond))
	f := rows.beside(&watcher, "live-p50", 50)
	if f.Value != 200 || f.Beside != 0 || f.Ratio != 0.2 || f.OK {
		t.Errorf("%+v", f)
	}
}

// TestMiddle: medians and percentiles of few and of many.
func TestMiddle(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(99-i))
	}
	wall := func(c rig.Cost) float64 { return float64(c.Wall) }
	if m := median([]rig.Cost{{Wall: 4}, {Wall: 1}, {Wall: 2}}, wall); m != 2 {
		t.Errorf("median of three is %v", m)
	}
	if m := median([]rig.Cost{{Wall: 4}, {Wall: 2}}, wall); m != 3 {
		t.Errorf("median of two is %v", m)
	}
	if p50, p99 := percentile(hundred, 50), percentile(hundred, 99); p50 != 50 || p99 != 99 {
		t.Errorf("percentiles %d and %d", p50, p99)
	}
	if p := percentile([]time.Duration{7}, 99); p != 7 {
		t.Errorf("percentile of one is %d", p)
	}
}

func TestMain(m *testing.M) {
	rig.Became()
	os.Exit(m.Run())
}

// TestBrokerLost: a broker that ends by itself ends the measurement, whose directory goes too.
func TestBrokerLost(t *testing.T) {
	var broker *exec.Cmd
	dir := t.TempDir()
	figures, err := Run(t.Context(), Options{Dir: dir, Memory: 64 << 20, Updates: MinUpdates, Rounds: 1_000_000, Puts: 10, Reads: 100,
		Broker: func(dir string) *exec.Cmd {
			broker = rig.Self(dir)
			return broker
		},
		Tell: func(text string) {
			if strings.HasPrefix(text, "round 2 ") {
				broker.Process.Kill()
			}
		}})
	if figures != nil || err == nil || !strings.Contains(err.Error(), "stopped before the end: the broker has ended by itself") {
		t.Errorf("%d figures, and %v", len(figures), err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestDomain measures a server whose JetStream has a domain, which its context names. What CPU time that server uses is not known.
func TestDomain(t *testing.T) {
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Domain: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	contexts := filepath.Join(home, "nats", "context")
	if err := os.MkdirAll(contexts, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"url": %q, "jetstream_domain": "hub"}`, server.URL())
	if err := os.WriteFile(filepath.Join(contexts, "c.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	told := 0
	figures, err := Run(t.Context(), Options{Target: source.Target{Context: "c"}, Dir: t.TempDir(), Memory: 64 << 20,
		Updates: MinUpdates, Rounds: 2, Puts: 10, Reads: 100, Tell: func(string) { told++ }})
	if err != nil || len(figures) != len(bars)-1 || told != 5 {
		t.Fatalf("%d figures, told %d times: %v", len(figures), told, err)
	}
	for _, f := range figures {
		if f.Value <= 0 || !(f.Ratio >= 0) || math.IsInf(f.Ratio, 0) || f.Bar <= 0 { // a ratio of a busy machine may round to nothing
			t.Errorf("%+v", f)
		}
	}
}

// TestChart: the chart is XML, with a bar for each figure that stays within it, whatever the ratio.
func TestChart(t *testing.T) {
	var out bytes.Buffer
	figures := []Figure{{Bench: "<a>", Ratio: 0, Against: "b & c", Bar: 0.5}, {Bench: "d", Ratio: 1e9, Bar: 2, OK: true}, {Bench: "e", Ratio: 1, Bar: 1, OK: true}}
	if err := Chart(&out, figures); err != nil {
		t.Fatal(err)
	}
	text, bars := out.String(), 0
	for d := xml.NewDecoder(&out); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" && len(e.Attr) == 6 {
			bars++
		}
	}
	if bars != len(figures) {
		t.Errorf("%d bars in\n%s", bars, text)
	}
	for _, want := range []string{`x="120.0" y="34" width="120.0"`, `x="240.0" y="62" width="360.0"`, `x="240.0" y="90" width="0.0"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
