//go:build unix

package serve_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/client/natsdoor"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/runtime/source"
)

var refused = regexp.MustCompile(`(?m)^foldrun_requests_refused_total(.*)$`)

// refusals returns what a scrape has of them.
func refusals(text string) (all []string) {
	for _, m := range refused.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestRefused counts what is refused, at each door of a process, by its code.
func TestRefused(t *testing.T) {
	g := newGuarded(t, "all read *", "a read a")
	g.options.Refusals = new(serve.Refusals)
	main, ops := httptest.NewServer(serve.New(g.options)), httptest.NewServer(serve.NewOps(g.options))
	defer main.Close()
	defer ops.Close()
	for _, x := range []struct{ method, url, token string }{
		{"GET", main.URL + "/v1/status", ""},
		{"GET", main.URL + "/v1/status", "wrong"},
		{"GET", main.URL + "/v1/status", "wronger"},
		{"GET", main.URL + "/v1/status", g.tokens["a"]}, // is not refused
		{"GET", main.URL + "/healthz", ""},              // nor this
		{"POST", main.URL + "/v1/reload", g.tokens["all"]},
		{"GET", main.URL + "/v1/folds/b/status", g.tokens["a"]},
		{"GET", main.URL + "/v1/folds/a/indexes/main/get?key=k", g.tokens["a"]}, // there is nothing to read
		{"GET", ops.URL + "/metrics", ""},
	} {
		as(t, x.token, x.method, x.url)
	}
	want := []string{`{code="scope_refused",door="http"} 1`, `{code="switch_held",door="http"} 1`, `{code="token_needed",door="http"} 1`,
		`{code="token_needed",door="ops"} 1`, `{code="token_refused",door="http"} 2`, `{code="unknown_fold",door="http"} 1`}
	for _, url := range []string{main.URL, ops.URL} {
		if _, text, _ := as(t, g.tokens["all"], "GET", url+"/metrics"); !slices.Equal(refusals(text), want) {
			t.Errorf("is   %q\nwant %q", refusals(text), want)
		}
	}
	if _, text, _ := as(t, g.tokens["a"], "GET", main.URL+"/metrics"); len(refusals(text)) > 0 || !strings.Contains(text, "foldrun_fold_state") {
		t.Errorf("a token for one fold learns of the doors: %q", refusals(text))
	}
}

// TestRefusedReads counts who asks for a position that is not there, or for what is malformed, over HTTP and over NATS. That a
// key has no row is an answer.
func TestRefusedReads(t *testing.T) {
	f := newFollow(t, "echo", nil)
	seq := f.put("a.k", "v")
	f.until("the put", func(s runtime.Status) bool { return s.Seq >= seq && s.CaughtUp })
	o := serve.Options{Folds: []serve.Fold{f.Fold}, Refusals: new(serve.Refusals)}
	s := httptest.NewServer(serve.New(o))
	defer s.Close()
	for _, path := range []string{"get?key=none", "get?key=a.k&min_seq=100", "get"} {
		as(t, "", "GET", s.URL+"/v1/folds/f/indexes/main/"+path)
	}
	req, err := http.NewRequest("GET", s.URL+"/v1/status", nil)
	check(t, err)
	req.Host = "rebind.example"
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	resp.Body.Close()

	nc, err := source.Connect(source.Target{URL: f.nc.ConnectedUrl()}, nil)
	check(t, err)
	f.answerAt(nc, o)
	f.answers("f.status")
	if _, err := natsdoor.New(f.nc, "foldrun").Get(t.Context(), "f", "none", []byte("k"), client.Range{}); err == nil {
		t.Error("there is an index none")
	}
	want := []string{`{code="bad_parameter",door="http"} 1`, `{code="behind",door="http"} 1`, `{code="host_refused",door="http"} 1`, `{code="unknown_index",door="nats"} 1`}
	if _, text, _ := as(t, "", "GET", s.URL+"/metrics"); !slices.Equal(refusals(text), want) {
		t.Errorf("is   %q\nwant %q", refusals(text), want)
	}
}
