package serve_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// A told fold has the status that it is told to have.
type told struct{ status runtime.Status }

func (f *told) Name() string           { return f.status.Name }
func (f *told) Status() runtime.Status { return f.status }
func (f *told) Store() *store.DB       { return nil }

func fetch(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	s := httptest.NewServer(h)
	defer s.Close()
	resp, err := http.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestMetrics scrapes two folds: the figures are those of their status, and named as Prometheus wants names.
func TestMetrics(t *testing.T) {
	a := &told{runtime.Status{Name: "a", State: runtime.StateFollowing, Seq: 7, LastSeq: 9, Lag: 2, CaughtUp: true, Ready: true, Live: 3,
		Indexes: []runtime.IndexStatus{{Name: "main", Rows: 5}}, Counts: runtime.Counts{Updates: 11},
		Source: runtime.SourceStatus{Connected: true, Resets: map[string]uint64{"gap": 4}}}}
	b := &told{runtime.Status{Name: "b", State: runtime.StateHeld, Code: runtime.CodeHeld, BehindSince: "2020-01-01T00:00:00Z",
		Build: &runtime.BuildStatus{Seq: 6}}}
	h := serve.New(serve.Options{Folds: []serve.Fold{a, b}, Version: "v1", Instance: "i"})
	code, text := fetch(t, h, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, text)
	}
	for _, line := range []string{
		`foldrun_build_info{foldrun_instance="i",version="v1"} 1`,
		`foldrun_fold_state{code="",fold="a",state="following"} 1`,
		`foldrun_fold_state{code="switch_held",fold="b",state="held"} 1`,
		`foldrun_fold_seq{fold="a"} 7`,
		`foldrun_fold_lag_messages{fold="a"} 2`,
		`foldrun_fold_behind_seconds{fold="a"} 0`,
		`foldrun_fold_rows{fold="a",index="main"} 5`,
		`foldrun_fold_build_seq{fold="b"} 6`,
		`foldrun_fold_updates_total{fold="a"} 11`,
		`foldrun_fold_source_resets_total{fold="a",reason="gap"} 4`,
		`foldrun_fold_nats_connected{fold="b"} 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
	if strings.Contains(text, `foldrun_fold_behind_seconds{fold="b"} 0`) || strings.Contains(text, `foldrun_fold_build_seq{fold="a"}`) {
		t.Errorf("b is not behind, or a is built: %s", text)
	}
	lint(t, text)
}

// lint holds an exposition against Prometheus' conventions; with promtool too, where there is one.
func lint(t *testing.T, text string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Error(err)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("there is no promtool")
		return
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v: %s", err, said)
	}
}

// A weighed fold has figures too.
type weighed struct{ told }

func (f *weighed) Figures() runtime.Figures {
	seconds := runtime.Histogram{Bounds: []float64{.5, 1}, Counts: []uint64{3, 2, 1}, Sum: 4.5}
	m := store.Metrics{DiskBytes: 7, WriteAmp: 2.5, Views: 1, Cache: store.CacheMetrics{Hits: 8, Misses: 9}}
	return runtime.Figures{Pull: seconds, Transform: seconds, Commit: seconds, Fuel: seconds, Frames: 5, Failed: map[string]uint64{"trap": 2},
		Memory: 3, Compile: time.Second, Cached: true, Serving: &m, Build: &store.Metrics{DiskBytes: 6}, Disk: 20, Quota: 30}
}

// full returns a fold that has something of everything that a fold can have.
func full() *weighed {
	return &weighed{told{runtime.Status{Name: "a", LastSeq: 1, Build: &runtime.BuildStatus{}, Indexes: []runtime.IndexStatus{{Name: "main"}},
		Source: runtime.SourceStatus{Resets: map[string]uint64{"gap": 4}}}}}
}

// TestFigures scrapes what folds count beside their status, the first of which has no store.
func TestFigures(t *testing.T) {
	second := full()
	second.status.Name = "z"
	_, text := fetch(t, serve.New(serve.Options{Folds: []serve.Fold{&told{runtime.Status{Name: "0"}}, full(), second}}), "/metrics")
	for _, line := range []string{
		`foldrun_fold_stage_seconds_bucket{fold="a",stage="commit",le="0.5"} 3`,
		`foldrun_fold_stage_seconds_bucket{fold="a",stage="commit",le="1"} 5`,
		`foldrun_fold_stage_seconds_count{fold="a",stage="commit"} 6`,
		`foldrun_fold_stage_seconds_sum{fold="a",stage="commit"} 4.5`,
		`foldrun_fold_failed_total{code="trap",fold="a"} 2`,
		`foldrun_store_disk_bytes{fold="a",role="serving"} 7`,
		`foldrun_store_disk_bytes{fold="a",role="build"} 6`,
		`foldrun_fold_disk_bytes{fold="a"} 20`,
		`foldrun_fold_disk_quota_bytes{fold="a"} 30`,
		`foldrun_store_write_amplification{fold="a"} 2.5`,
		`foldrun_block_cache_hits_total 8`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
	lint(t, text)
}

var update = flag.Bool("update", false, "write docs/metrics.md's table anew")

// TestMetricsPage compares the table of docs/metrics.md with what /metrics exports: names, types, labels and texts.
func TestMetricsPage(t *testing.T) {
	door := serve.New(serve.Options{Folds: []serve.Fold{full()}})
	fetch(t, door, "/nothing") // is refused
	_, text := fetch(t, door, "/metrics")
	var table strings.Builder
	table.WriteString("| metric | type | labels | what it is |\n|---|---|---|---|\n")
	for _, m := range family.FindAllStringSubmatch(text, -1) {
		var labels []string
		for _, l := range label.FindAllStringSubmatch(m[4], -1) {
			if l[1] != "le" {
				labels = append(labels, "`"+l[1]+"`")
			}
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m[1], m[3], strings.Join(labels, ", "), m[2])
	}
	const path, begin, end = "../../docs/metrics.md", "<!-- table -->\n", "<!-- end -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), begin)
	have, tail, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no %s", path, end)
	}
	if have == table.String() {
		return
	}
	if !*update {
		t.Fatalf("the table of %s is not that of /metrics: go test ./runtime/serve -run TestMetricsPage -update\nis\n%s\nwant\n%s", path, have, &table)
	}
	if err := os.WriteFile(path, []byte(head+begin+table.String()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// family is one metric of an exposition: its help, its type, and the labels of its first sample.
var (
	family = regexp.MustCompile(`(?m)^# HELP (foldrun_\w+) (.*)\n# TYPE foldrun_\w+ (\w+)\nfoldrun_\w+(?:\{(.*)\})? `)
	label  = regexp.MustCompile(`(\w+)="[^"]*"`)
)

// TestNamesInMetrics: whatever a name holds, it stays a label's value: no line of its own, and no scrape that fails.
func TestNamesInMetrics(t *testing.T) {
	name := "a\"} 1\nforged{x=\"\\"
	f := &told{runtime.Status{Name: name, State: runtime.StateHeld, Code: "c\nforged 1", Indexes: []runtime.IndexStatus{{Name: "\xff\nforged 2"}},
		Source: runtime.SourceStatus{Resets: map[string]uint64{"r\r\nforged 3": 1}}}}
	code, text := fetch(t, serve.New(serve.Options{Folds: []serve.Fold{f}, Instance: "i\nforged 4"}), "/metrics")
	if code != http.StatusOK || !strings.Contains(text, "foldrun_fold_seq{") {
		t.Fatalf("%d: %s", code, text)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "forged") {
			t.Errorf("a line of its own: %s", line)
		}
	}
}
