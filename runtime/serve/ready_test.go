package serve_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
)

// TestReady asks whether folds are ready: those that were caught up once, and are not stale.
func TestReady(t *testing.T) {
	a, b := &told{runtime.Status{Name: "a", State: runtime.StateFollowing, CaughtUp: true, Ready: true}},
		&told{runtime.Status{Name: "b", State: runtime.StateCatching, Seq: 3, LastSeq: 8}}
	h := serve.New(serve.Options{Folds: []serve.Fold{a, b}})
	expect := func(path string, code int, text string) {
		t.Helper()
		if is, said := fetch(t, h, path); is != code || said != text {
			t.Errorf("%d: %q", is, said)
		}
	}
	expect("/readyz", http.StatusServiceUnavailable, "not ready\nb: catching up: catching_up: seq 3 of 8 is folded\n")
	b.status.Ready = true
	expect("/readyz", http.StatusOK, "ready\n")
	expect("/readyz?json=1", http.StatusOK, `{"ready":true,"degraded":false,"folds":[{"fold":"a","ready":true,"state":"following"},{"fold":"b","ready":true,"state":"catching up"}]}`+"\n")

	a.status.State, a.status.Code, a.status.Reason = runtime.StateWaiting, "nats_unreachable", "not connected"
	expect("/readyz", http.StatusOK, "ready, degraded\na: waiting: nats_unreachable: not connected\n")
	a.status.Stale, a.status.Staleness, a.status.BehindSince = true, 30*time.Second, "T"
	const stale = "everything was folded last at T, longer ago than max_staleness, 30s"
	expect("/readyz", http.StatusServiceUnavailable, "not ready\na: waiting: nats_unreachable: not connected\na: waiting: stale: "+stale+"\n")
	expect("/readyz?json=1", http.StatusServiceUnavailable, `{"ready":false,"degraded":true,"folds":[{"fold":"a","ready":false,"state":"waiting","reasons":`+
		`[{"code":"nats_unreachable","text":"not connected"},{"code":"stale","text":"`+stale+`"}]},{"fold":"b","ready":true,"state":"catching up"}]}`+"\n")
	if code, _ := fetch(t, h, "/readyz?jsn=1"); code != http.StatusBadRequest {
		t.Errorf("a parameter that there is not: %d", code)
	}
}

// TestReadyOutside: with tokens, a caller without one learns whether all folds are ready, and nothing else, at both addresses.
func TestReadyOutside(t *testing.T) {
	_, line, err := serve.NewToken("all", serve.ScopeRead, nil)
	check(t, err)
	path := filepath.Join(t.TempDir(), "tokens")
	check(t, os.WriteFile(path, []byte(line+"\n"), 0o600))
	o := serve.Options{Folds: []serve.Fold{&told{runtime.Status{Name: "a", Ready: true, State: runtime.StateWaiting, Code: "nats_unreachable"}}}}
	o.Tokens, err = serve.OpenTokens(path, slog.New(slog.DiscardHandler))
	check(t, err)
	for _, stale := range []bool{false, true} {
		o.Folds[0].(*told).status.Stale = stale
		code, want := http.StatusOK, "ready\n"
		if stale {
			code, want = http.StatusServiceUnavailable, "not ready: with a token this says which folds\n"
		}
		for _, d := range []*serve.Door{serve.New(o), serve.NewOps(o)} {
			for _, path := range []string{"/readyz", "/readyz?json=1"} {
				if is, said := fetch(t, d, path); is != code || said != want {
					t.Errorf("%s: %d: %q", path, is, said)
				}
			}
		}
	}
}

// TestEmptyReady: there is nothing to fold in an empty bucket, so its fold is ready once that is known, and stays so.
func TestEmptyReady(t *testing.T) {
	f := newFollow(t, "echo", nil)
	f.until("ready", func(s runtime.Status) bool { return s.Ready && s.Seq == 0 })
	f.put("a.k", "v")
	f.until("the first update", func(s runtime.Status) bool { return s.Ready && s.Seq == 1 })
}
