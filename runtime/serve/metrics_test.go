package serve_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
		Indexes: []runtime.IndexStatus{{Name: "main", Rows: 5}}, Counts: runtime.Counts{Updates: 11, Commit: 1e9},
		Source: runtime.SourceStatus{Connected: true, Resets: map[string]uint64{"gap": 4}}}}
	b := &told{runtime.Status{Name: "b", State: runtime.StateHeld, Code: runtime.CodeHeld, BehindSince: "2020-01-01T00:00:00Z",
		Build: &runtime.BuildStatus{Seq: 6}}}
	h := serve.New(serve.Options{Folds: []serve.Fold{a, b}, Version: "v1", Instance: "i"})
	code, text := fetch(t, h, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, text)
	}
	for _, line := range []string{
		`foldrun_build_info{instance="i",version="v1"} 1`,
		`foldrun_fold_state{code="",fold="a",state="following"} 1`,
		`foldrun_fold_state{code="switch_held",fold="b",state="held"} 1`,
		`foldrun_fold_seq{fold="a"} 7`,
		`foldrun_fold_lag_messages{fold="a"} 2`,
		`foldrun_fold_behind_seconds{fold="a"} 0`,
		`foldrun_fold_rows{fold="a",index="main"} 5`,
		`foldrun_fold_build_seq{fold="b"} 6`,
		`foldrun_fold_updates_total{fold="a"} 11`,
		`foldrun_fold_commit_seconds_total{fold="a"} 1`,
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
	problems, err := promlint.New(bytes.NewReader([]byte(text))).Lint()
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Error(err)
	}
}
