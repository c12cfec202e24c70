package foldrun_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ofOthers are the metrics that foldrun's alerts and dashboard use, and that are Prometheus' own, or its Go client's.
var ofOthers = []string{"up", "process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_cpu_seconds_total",
	"go_memstats_heap_inuse_bytes"}

// exported returns the names of the samples that /metrics has, by docs/metrics.md: a test of runtime/serve holds that
// against what is exported.
func exported(t *testing.T) (names []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?m)^\\| `(foldrun_\\w+)` \\| (\\w+) ").FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		if m[2] == "histogram" {
			names = append(names, m[1]+"_bucket", m[1]+"_sum", m[1]+"_count")
			continue
		}
		names = append(names, m[1])
	}
	if len(names) < 50 {
		t.Fatalf("docs/metrics.md has only %d samples", len(names))
	}
	return append(names, ofOthers...)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	promString   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	promSelector = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	promGrouping = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	promName     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*(\s*\()?`)
)

// metricsOf returns the names of the metrics in a PromQL expression: what is no string, selector, range, grouping,
// function or operator.
func metricsOf(expr string) (names []string) {
	expr = promString.ReplaceAllString(expr, "")
	expr = promSelector.ReplaceAllString(expr, "")
	expr = promGrouping.ReplaceAllString(expr, "")
	for _, name := range promName.FindAllString(expr, -1) {
		if !strings.HasSuffix(name, "(") && !slices.Contains([]string{"and", "or", "unless", "bool", "offset", "by", "sum"}, name) {
			names = append(names, name)
		}
	}
	return names
}

// uses fails for metrics of an expression that are not exported.
func uses(t *testing.T, where, expr string, exported []string) {
	t.Helper()
	names := metricsOf(expr)
	if len(names) == 0 {
		t.Errorf("%s: no metric in %q", where, expr)
	}
	for _, name := range names {
		if !slices.Contains(exported, name) {
			t.Errorf("%s: %s is not exported: %s", where, name, expr)
		}
	}
}

// TestMetricsOf shows that the names in an expression are found.
func TestMetricsOf(t *testing.T) {
	for expr, want := range map[string]string{
		`foldrun_a{x="y z"} > 0.8 * foldrun_b and on (fold) foldrun_c{state=~"a|b"} == 1`: "foldrun_a foldrun_b foldrun_c",
		`histogram_quantile(0.99, sum by (fold, le) (rate(foldrun_d_bucket{f="{"}[5m])))`: "foldrun_d_bucket",
		`foldrun_e offset 5m`: "foldrun_e",
		`1 + 2`:               "",
	} {
		if got := strings.Join(metricsOf(expr), " "); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %s", expr, got)
		}
	}
}

// TestAlerts holds the alerts against what is exported, and their pages against the runbook. promtool tries them in .ci/run.
func TestAlerts(t *testing.T) {
	have, runbook, text := exported(t), read(t, "docs/runbook.md"), read(t, "deploy/prometheus/alerts.yml")
	exprs := regexp.MustCompile(`(?m)^ +expr: (.+)$`).FindAllStringSubmatch(text, -1)
	pages := regexp.MustCompile(`(?m)^ +runbook_url: "?https://github.com/foldrun/foldrun/blob/main/docs/runbook.md(?:#(.+?))?"?$`).FindAllStringSubmatch(text, -1)
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(text, -1)
	if len(exprs) < 10 || len(exprs) != len(alerts) || len(pages) != len(alerts) {
		t.Fatalf("%d alerts, %d expressions, %d pages of the runbook", len(alerts), len(exprs), len(pages))
	}
	tests := read(t, "deploy/prometheus/alerts_test.yml")
	for i, a := range alerts {
		uses(t, a[1], exprs[i][1], have)
		if !strings.Contains(tests, "alertname: "+a[1]+"\n        exp_alerts:\n") {
			t.Errorf("%s is not seen to fire in alerts_test.yml", a[1])
		}
		switch page := pages[i][1]; {
		case page == "", strings.HasPrefix(page, "{{"): // a code, by its label
		case page == "open-files":
			if !strings.Contains(runbook, "\n### Open files\n") {
				t.Errorf("%s leads to %s, which docs/runbook.md does not have", a[1], page)
			}
		case !strings.Contains(runbook, "\n## `"+page+"`\n"):
			t.Errorf("%s leads to %s, which docs/runbook.md does not have", a[1], page)
		}
	}
}

// TestDashboard holds the dashboard's queries against what is exported, and its panels against each other.
func TestDashboard(t *testing.T) {
	have := exported(t)
	var board struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/foldrun.json")), &board); err != nil {
		t.Fatal(err)
	}
	taken, queries := map[[2]int]string{}, 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			uses(t, p.Title, target.Expr, have)
			queries++
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" || at[0] >= 24 {
					t.Fatalf("%s and %s lie on one place, or beside the grid: %v", p.Title, other, at)
				}
				taken[at] = p.Title
			}
		}
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			m := regexp.MustCompile(`^label_values\((\w+), \w+\)$`).FindStringSubmatch(v.Query)
			if m == nil || !slices.Contains(have, m[1]) {
				t.Errorf("the variable %s is of what is not exported: %s", v.Name, v.Query)
			}
		}
	}
	if queries < 30 {
		t.Errorf("only %d queries", queries)
	}
}

// TestUnit holds the unit and the image to the program: the commands and flags that they use are there, and what they set
// aside is what the documents say.
func TestUnit(t *testing.T) {
	unit, image := read(t, "deploy/foldrun.service"), read(t, "deploy/Containerfile")
	for _, x := range []struct{ text, want string }{
		{unit, "ExecStart=/usr/local/bin/foldrun run -c /etc/foldrun/foldrun.toml --log-format json\n"},
		{unit, "ExecReload=/bin/kill -HUP $MAINPID\n"}, {unit, "User=foldrun\n"}, {unit, "StateDirectory=foldrun\n"}, {unit, "LimitNOFILE="},
		{image, "USER 65532:65532\n"}, {image, "CGO_ENABLED=0 go build "}, {image, `CMD ["run", "-c", "/etc/foldrun/foldrun.toml", "--log-format", "json"]`},
		{read(t, "go.mod"), "go " + strings.TrimSuffix(strings.TrimPrefix(regexp.MustCompile(`golang:[0-9.]+`).FindString(image), "golang:"), ".0")},
		{read(t, "cmd/foldrun/log.go"), `"log-format"`},
	} {
		if !strings.Contains(x.text, x.want) {
			t.Errorf("%q is not there", x.want)
		}
	}
}
