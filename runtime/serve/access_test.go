//go:build unix

package serve_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// A journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// A named fold is an obedient one with another name.
type named struct {
	obedient
	name string
}

func (f *named) Name() string { return f.name }
func (f *named) Status() runtime.Status {
	return runtime.Status{Name: f.name, State: runtime.StateHeld, Code: runtime.CodeHeld}
}
func (f *named) Store() *store.DB { return nil }

// tokenFile writes a file of tokens and returns the tokens: an entry is "NAME SCOPE FOLDS".
func tokenFile(t *testing.T, path string, entries ...string) (tokens map[string]string) {
	t.Helper()
	tokens = map[string]string{}
	var text strings.Builder
	for _, e := range entries {
		f := strings.Fields(e)
		var folds []string
		if f[2] != "*" {
			folds = strings.Split(f[2], ",")
		}
		token, line, err := serve.NewToken(f[0], f[1], folds)
		check(t, err)
		tokens[f[0]] = token
		fmt.Fprintln(&text, line)
	}
	check(t, os.WriteFile(path, []byte(text.String()), 0o600))
	return tokens
}

// as makes a request with a token, "" for none, and returns its reply.
func as(t *testing.T, token, method, url string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	check(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, string(b), resp.Header
}

// guarded is a door with tokens, over the folds a and b.
type guarded struct {
	*httptest.Server
	path    string // of the tokens
	tokens  map[string]string
	options serve.Options
	journal *journal
}

func newGuarded(t *testing.T, entries ...string) *guarded {
	g := &guarded{path: filepath.Join(t.TempDir(), "tokens"), journal: new(journal)}
	g.tokens = tokenFile(t, g.path, entries...)
	tokens, err := serve.OpenTokens(g.path, g.journal.log())
	check(t, err)
	g.options = serve.Options{Folds: []serve.Fold{&named{name: "a"}, &named{name: "b"}}, Tokens: tokens, Log: g.journal.log()}
	g.Server = httptest.NewServer(serve.New(g.options))
	t.Cleanup(g.Close)
	return g
}

// TestTokens asks for everything with every kind of token: what one is not for is refused, and a fold that it may not
// see is not there.
func TestTokens(t *testing.T) {
	g := newGuarded(t, "reader read *", "readerA read a", "admin admin *", "adminA admin a")
	for _, x := range []struct {
		method, path string
		want         map[string]string // by token: status and code
	}{
		{"GET", "/healthz", map[string]string{"": "200", "wrong": "200", "readerA": "200"}},
		{"GET", "/readyz", map[string]string{"": "503", "wrong": "401 token_refused", "readerA": "503"}},
		{"GET", "/metrics", map[string]string{"": "401 token_needed", "wrong": "401 token_refused", "readerA": "200", "admin": "200"}},
		{"GET", "/v1/status", map[string]string{"": "401 token_needed", "wrong": "401 token_refused", "reader": "200", "readerA": "200", "admin": "200"}},
		{"GET", "/v1/folds/a/verify", map[string]string{"": "401 token_needed", "readerA": "503 switch_held", "adminA": "503 switch_held"}},
		{"GET", "/v1/folds/b/verify", map[string]string{"reader": "503 switch_held", "readerA": "404 unknown_fold", "adminA": "404 unknown_fold", "admin": "503 switch_held"}},
		{"GET", "/v1/folds/b/indexes/main/scan", map[string]string{"readerA": "404 unknown_fold", "reader": "503 switch_held"}},
		{"GET", "/v1/folds/b/quarantine", map[string]string{"readerA": "404 unknown_fold", "reader": "503 switch_held"}},
		{"GET", "/v1/folds/b/why?source=s", map[string]string{"readerA": "404 unknown_fold", "reader": "503 switch_held"}},
		{"POST", "/v1/folds/a/rebuild", map[string]string{"": "401 token_needed", "wrong": "401 token_refused", "reader": "403 scope_refused",
			"readerA": "403 scope_refused", "admin": "200", "adminA": "200"}},
		{"POST", "/v1/folds/b/rebuild", map[string]string{"readerA": "403 scope_refused", "adminA": "404 unknown_fold", "admin": "200"}},
		{"POST", "/v1/folds/a/quarantine/retry?all=1", map[string]string{"reader": "403 scope_refused", "adminA": "503 not_following"}},
		{"DELETE", "/v1/folds/a", map[string]string{"": "401 token_needed", "reader": "403 scope_refused", "admin": "404 unknown_path"}},
		{"GET", "/debug/pprof/cmdline", map[string]string{"": "401 token_needed", "reader": "403 scope_refused", "adminA": "403 scope_refused", "admin": "200"}},
		{"GET", "/nothing", map[string]string{"": "401 token_needed", "reader": "404 unknown_path"}},
	} {
		for name, want := range x.want {
			token := g.tokens[name]
			if name == "wrong" {
				token = g.tokens["reader"] + "x"
			}
			status, body, h := as(t, token, x.method, g.URL+x.path)
			got := fmt.Sprint(status)
			if status, code := strings.CutPrefix(want, got+" "); want != got && (!code || !strings.Contains(body, `"code":"`+status+`"`)) {
				t.Errorf("%s %s as %q: %s %s, not %s", x.method, x.path, name, got, body, want)
			}
			if (status == http.StatusUnauthorized) != (h.Get("WWW-Authenticate") != "") {
				t.Errorf("%s as %q: WWW-Authenticate is %q", x.path, name, h.Get("WWW-Authenticate"))
			}
		}
	}
	text := g.journal.String()
	for _, token := range g.tokens {
		if strings.Contains(text, strings.TrimPrefix(token, "foldrun_")) {
			t.Error("the log has a token")
		}
	}
	if !strings.Contains(text, `msg="request refused" code=token_`) {
		t.Errorf("nothing is said of what was refused: %s", text)
	}
	if !strings.Contains(text, `msg=admin action=rebuild query="" fold=a who=adminA door=`) {
		t.Errorf("the action of adminA left no line: %s", text)
	}
}

// TestTokenSees: a token for one fold learns nothing of another, whatever it asks for; a caller without one learns no name.
func TestTokenSees(t *testing.T) {
	g := newGuarded(t, "readerA read a", "adminA admin a", "all read *")
	for _, path := range []string{"/v1/status", "/metrics", "/readyz", "/v1/folds/b/verify", "/v1/folds/none/verify"} {
		for _, name := range []string{"readerA", "adminA"} {
			_, body, _ := as(t, g.tokens[name], "GET", g.URL+path)
			body = strings.ReplaceAll(body, `there is no fold \"b\"`, "") // as the path said
			if strings.Contains(body, `"b"`) || strings.Contains(body, `\"b\"`) || strings.HasPrefix(body, "b:") || strings.Contains(body, "\nb:") {
				t.Errorf("%s tells %s of b: %s", path, name, body)
			}
			if strings.Contains(body, "go_goroutines") {
				t.Errorf("%s tells %s of the process", path, name)
			}
			if path != "/v1/folds/b/verify" && !strings.Contains(body, "a") {
				t.Errorf("%s does not tell %s of a: %s", path, name, body)
			}
		}
	}
	if _, body, _ := as(t, g.tokens["all"], "GET", g.URL+"/metrics"); !strings.Contains(body, `fold="b"`) || !strings.Contains(body, "go_goroutines") {
		t.Errorf("a token for all does not see all: %s", body)
	}
	if status, body, _ := as(t, "", "GET", g.URL+"/readyz"); status != 503 || !strings.HasPrefix(body, "not ready: ") {
		t.Errorf("/readyz without a token: %d %s", status, body)
	}
}

// TestTokenForms: a token comes in one header, in the scheme Bearer.
func TestTokenForms(t *testing.T) {
	g := newGuarded(t, "r read *")
	token := g.tokens["r"]
	for given, want := range map[string]int{"Bearer " + token: 200, "bearer  " + token + " ": 200, "Basic " + token: 401, token: 401,
		"Bearer": 401, "Bearer ": 401, "Bearer " + token[:len(token)-1]: 401, "Bearer " + strings.ToUpper(token): 401} {
		req, err := http.NewRequest("GET", g.URL+"/v1/status", nil)
		check(t, err)
		req.Header.Set("Authorization", given)
		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %d, not %d", given, resp.StatusCode, want)
		}
	}
	if status, _, _ := as(t, "", "GET", g.URL+"/v1/status?access_token="+token); status != 401 {
		t.Errorf("a token in the query: %d", status)
	}
}

// TestCrossSite: a browser asks nothing here for a page of another site, by whatever it marks such a request, and no page
// is ever told that it might.
func TestCrossSite(t *testing.T) {
	g := newGuarded(t, "r admin *")
	open := newServer(t)
	for _, x := range []struct {
		header, value string
		ok            bool
	}{
		{"Sec-Fetch-Site", "cross-site", false}, {"Sec-Fetch-Site", "same-site", false}, {"Sec-Fetch-Site", "what-comes", false},
		{"Sec-Fetch-Site", "none", true}, {"Sec-Fetch-Site", "same-origin", true},
		{"Origin", "https://evil.example", false}, {"Origin", "null", false}, {"Origin", "http://127.0.0.1", false}, {"Origin", "", false},
		{"Origin", "SELF", true},
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "HEAD"} {
			for _, s := range []*httptest.Server{g.Server, open} {
				req, err := http.NewRequest(method, s.URL+"/v1/folds/a/rebuild", nil)
				check(t, err)
				req.Header.Set(x.header, strings.Replace(x.value, "SELF", s.URL, 1))
				req.Header.Set("Authorization", "Bearer "+g.tokens["r"])
				req.Header.Set("Access-Control-Request-Method", "POST")
				resp, err := http.DefaultClient.Do(req)
				check(t, err)
				resp.Body.Close()
				if refused := resp.StatusCode == 403; refused == x.ok {
					t.Errorf("%s with %s: %s: %d", method, x.header, x.value, resp.StatusCode)
				}
				for name := range resp.Header {
					if strings.HasPrefix(name, "Access-Control") {
						t.Errorf("%s: %s", name, resp.Header[name])
					}
				}
				if resp.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("%s: %v", method, resp.Header)
				}
			}
		}
	}
	if asked := g.options.Folds[0].(*named).asked; len(asked) != 3 { // none, same-origin and its own origin
		t.Errorf("the fold was asked %q", asked)
	}
}

// TestHostWithTokens: with tokens a door has any name.
func TestHostWithTokens(t *testing.T) {
	g := newGuarded(t, "r read *")
	req, err := http.NewRequest("GET", g.URL+"/v1/status", nil)
	check(t, err)
	req.Host = "foldrun.example:8480"
	req.Header.Set("Authorization", "Bearer "+g.tokens["r"])
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}

// TestOpsApart: what has an address of its own is there, and there only; both need the tokens.
func TestOpsApart(t *testing.T) {
	g := newGuarded(t, "r read *", "o admin *")
	o := g.options
	o.OpsApart = true
	main, ops := httptest.NewServer(serve.New(o)), httptest.NewServer(serve.NewOps(o))
	defer main.Close()
	defer ops.Close()
	for _, x := range []struct {
		path, token string
		main, ops   int
	}{
		{"/healthz", "", 200, 200}, {"/readyz", "", 404, 503}, {"/readyz", "r", 404, 503}, {"/metrics", "", 401, 401}, {"/metrics", "r", 404, 200},
		{"/debug/pprof/cmdline", "r", 403, 403}, {"/debug/pprof/cmdline", "o", 404, 200}, {"/v1/status", "r", 200, 404}, {"/v1/status", "", 401, 401},
	} {
		a, body, _ := as(t, g.tokens[x.token], "GET", main.URL+x.path)
		b, _, _ := as(t, g.tokens[x.token], "GET", ops.URL+x.path)
		if a != x.main || b != x.ops {
			t.Errorf("%s as %q: %d and %d, not %d and %d", x.path, x.token, a, b, x.main, x.ops)
		}
		if a == 404 && !strings.Contains(body, "ops_listen") {
			t.Errorf("%s: %s", x.path, body)
		}
	}
	if n, _, _ := as(t, g.tokens["o"], "POST", ops.URL+"/v1/folds/a/rebuild"); n != 405 {
		t.Errorf("an action at the address of health: %d", n)
	}
	o.Tokens = nil
	open := httptest.NewServer(serve.New(serve.Options{}))
	defer open.Close()
	if n, _, _ := as(t, "", "GET", open.URL+"/debug/pprof/cmdline"); n != 404 {
		t.Errorf("profiles without tokens: %d", n)
	}
}

// TestBody: a request has none.
func TestBody(t *testing.T) {
	s := newServer(t)
	for _, body := range []io.Reader{strings.NewReader("x"), io.MultiReader(strings.NewReader("x"))} {
		resp, err := http.Post(s.URL+"/v1/status", "text/plain", body)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%d", resp.StatusCode)
		}
	}
}

// TestClientToken: the client shows its token, and acts with one that may.
func TestClientToken(t *testing.T) {
	g := newGuarded(t, "r read *", "o admin *")
	c := client.New(g.URL)
	ctx := context.Background()
	var refused *client.Error
	if _, err := c.Status(ctx); !asError(err, &refused) || refused.Code != "token_needed" || refused.Hint == "" {
		t.Errorf("without a token: %v", err)
	}
	c.Token = g.tokens["r"]
	if s, err := c.Status(ctx); err != nil || len(s.Folds) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := c.Rebuild(ctx, "a"); !asError(err, &refused) || refused.Code != "scope_refused" {
		t.Errorf("an action: %v", err)
	}
	c.Token = g.tokens["o"]
	_, err := c.Rebuild(ctx, "a")
	check(t, err)
}

func asError(err error, to **client.Error) bool {
	e, ok := err.(*client.Error)
	*to = e
	return ok
}
