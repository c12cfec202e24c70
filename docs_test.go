package foldrun_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRunbook compares the codes of the code with those of docs/runbook.md: every one has a place there, with meaning,
// check and mend, and none is there that the code does not have.
func TestRunbook(t *testing.T) {
	codes := codesOf(t, "runtime", "runtime/source")
	if len(codes) < 10 {
		t.Fatalf("only %d codes found: %q", len(codes), codes)
	}
	b, err := os.ReadFile("docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, part := range strings.Split(string(b), "\n## ")[1:] {
		code := strings.Trim(strings.SplitN(part, "\n", 2)[0], "`")
		told = append(told, code)
		for _, must := range []string{"**Meaning.**", "**Check.**", "**Mend.**"} {
			if !strings.Contains(part, must) {
				t.Errorf("docs/runbook.md: %s has no %s", code, must)
			}
		}
		if !slices.Contains(codes, code) {
			t.Errorf("docs/runbook.md has %s, the code does not", code)
		}
	}
	for _, code := range codes {
		if !slices.Contains(told, code) {
			t.Errorf("%s is not in docs/runbook.md", code)
		}
	}
}

// TestHTTPCodes: docs/http.md has each code that a request may be refused with.
func TestHTTPCodes(t *testing.T) {
	codes := append(codesNamed(t, "code", "runtime/serve"), codesNamed(t, "", "runtime/query")...)
	if len(codes) < 10 {
		t.Fatalf("only %d codes found: %q", len(codes), codes)
	}
	b, err := os.ReadFile("docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range codes {
		if !strings.Contains(string(b), "`"+code+"`") {
			t.Errorf("%s is not in docs/http.md", code)
		}
	}
}

func codesOf(t *testing.T, packages ...string) []string { return codesNamed(t, "Code", packages...) }

// codesNamed returns the values of the constants whose names begin so in the given packages.
func codesNamed(t *testing.T, prefix string, packages ...string) (codes []string) {
	for _, dir := range packages {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				v, ok := n.(*ast.ValueSpec)
				if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, prefix) {
					return true
				}
				if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					s, _ := strconv.Unquote(lit.Value)
					codes = append(codes, s)
				}
				return true
			})
		}
	}
	return codes
}
