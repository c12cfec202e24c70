package serve_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/serve"
)

// TestTokensReplaced changes the file while the door is open: what it holds counts at the next request, and one with a
// mistake changes nothing.
func TestTokensReplaced(t *testing.T) {
	g := newGuarded(t, "old read *")
	status := func(token string) int {
		t.Helper()
		n, _, _ := as(t, token, "GET", g.URL+"/v1/status")
		return n
	}
	old := g.tokens["old"]
	if status(old) != 200 {
		t.Fatal("the first token is refused")
	}
	for i := range 20 { // in place, and by another file
		path, name := g.path, fmt.Sprintf("n%02d", i)
		if i%2 == 0 {
			path += ".new"
		}
		next := tokenFile(t, path, name+" read *")[name]
		if path != g.path {
			check(t, os.Rename(path, g.path))
		}
		if status(old) != 401 || status(next) != 200 {
			t.Fatalf("change %d is not seen", i)
		}
		old = next
	}
	late := time.Now().Add(time.Second) // two changes within one tick of a coarse clock
	for _, name := range []string{"t1", "t2"} {
		next := tokenFile(t, g.path, name+" read *")[name]
		check(t, os.Chtimes(g.path, late, late))
		if status(old) != 401 || status(next) != 200 {
			t.Errorf("%s: not seen", name)
		}
		old = next
	}
	good, err := os.ReadFile(g.path)
	check(t, err)
	for name, spoil := range map[string]func() error{
		"garbage":  func() error { return os.WriteFile(g.path, []byte("x\n"), 0o600) },
		"empty":    func() error { return os.WriteFile(g.path, nil, 0o600) },
		"torn":     func() error { return os.WriteFile(g.path, good[:len(good)/2], 0o600) },
		"gone":     func() error { return nil },
		"anybodys": func() error { return os.WriteFile(g.path, good, 0o600) },
	} {
		os.Remove(g.path)
		check(t, spoil())
		if name == "anybodys" {
			check(t, os.Chmod(g.path, 0o622))
		}
		if status(old) != 200 {
			t.Errorf("%s: the tokens that were are gone", name)
		}
	}
	if n := strings.Count(g.journal.String(), "the tokens are kept as they were"); n == 0 || n > 10 {
		t.Errorf("%d warnings: %s", n, g.journal)
	}
	os.Remove(g.path)
	next := tokenFile(t, g.path, "last admin a")["last"]
	if status(old) != 401 || status(next) != 200 {
		t.Error("a good file after bad ones is not read")
	}
}

// TestTokenFile: what is wrong with a file is told by line, and without what may be a token.
func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	_, good, err := serve.NewToken("good", "read", nil)
	check(t, err)
	hash := good[strings.LastIndex(good, " ")+1:]
	for text, want := range map[string]string{
		"# all\n\n  " + good + " # of mine\r\n": "",
		"":                                      "there is no token in it",
		"# " + good:                             "there is no token in it",
		"a read * secret":                       "line 1: a: the last field is not sha256: and 64 hex digits",
		"a read *":                              "line 1: it has 3 fields, not 4",
		"a write * " + hash:                     "a: the scope is neither read nor admin",
		"a read b,*" + " " + hash:               "a: the folds are neither * nor names",
		"a read b,,c " + hash:                   "a: the folds are neither * nor names",
		"a/b read * " + hash:                    "a name has letters",
		good + "\n" + good:                      "line 2: good: there are two tokens of that name",
		good + "\nother read * " + hash:         "line 2: other: the token is that of good",
		"x\ny\n":                                "line 2: it has 1 fields, not 4",
		"a read * " + hash + "00":               "is not sha256:",
	} {
		check(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := serve.OpenTokens(path, slog.New(slog.DiscardHandler))
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == ""):
			t.Errorf("%q: %v, not %q", text, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%q: it repeats what may be a token: %v", text, err)
		}
	}
	check(t, os.WriteFile(path, make([]byte, 2<<20), 0o600))
	if _, err := serve.OpenTokens(path, nil); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("a large file: %v", err)
	}
	for _, bad := range [][2]string{{"", "read"}, {"a b", "read"}, {"a", "write"}, {"a\n", "read"}} {
		if _, _, err := serve.NewToken(bad[0], bad[1], nil); err == nil {
			t.Errorf("a token %q", bad)
		}
	}
	if _, _, err := serve.NewToken("a", "read", []string{"b c"}); err == nil {
		t.Error("a token for a fold that cannot be")
	}
}

// TestTokenFileModes: a file that others may write is refused, one that they may read is told.
func TestTokenFileModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	tokenFile(t, path, "r read *")
	for mode, want := range map[os.FileMode]string{0o600: "", 0o400: "", 0o640: "", 0o644: "exposed", 0o660: "refused", 0o606: "refused", 0o622: "refused"} {
		check(t, os.Chmod(path, mode))
		got := ""
		tokens, err := serve.OpenTokens(path, nil)
		switch {
		case err != nil:
			got = "refused"
		case tokens.Exposed() != nil:
			got = "exposed"
		}
		if got != want {
			t.Errorf("%v: %q, not %q", mode, got, want)
		}
	}
}
