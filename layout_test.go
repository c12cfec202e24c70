package foldrun_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// doors says which packages may import a dependency: one door each, so that what it does to us is seen in one place.
// A package stands for itself and what is below it. Tests are free.
var doors = map[string][]string{
	"github.com/cockroachdb/pebble":         {"store"},
	"github.com/zeebo/xxh3":                 {"store", "runtime/source"}, // row hashes; subjects of anchors
	"github.com/tetratelabs/wazero":         {"runtime/plugin"},
	"github.com/nats-io/nats.go":            {"runtime/source", "runtime/serve", "runtime/registry", "runtime/demo", "runtime/measure", "runtime/rig", "client/natsdoor"},
	"github.com/nats-io/nkeys":              {"runtime/registry"}, // signatures of modules
	"github.com/nats-io/nats-server":        {"runtime/embedded"},
	"github.com/BurntSushi/toml":            {"config"},
	"github.com/santhosh-tekuri/jsonschema": {"config"}, // config_schema of a manifest
	"github.com/prometheus/client_golang":   {"runtime/serve"},
	"github.com/spf13/cobra":                {"cmd/foldrun"},
	"github.com/spf13/pflag":                {"cmd/foldrun"},
}

// below says what of ours a package may import: dependencies point down only.
var below = map[string][]string{
	"abi":                 {},
	"hint":                {},
	"client":              {},
	"client/natsdoor":     {"client"},
	"config":              {"abi", "hint"},
	"store":               {"hint"},
	"runtime/source":      {"abi", "store", "hint"},
	"runtime/plugin":      {"abi", "store", "hint", "runtime/plugin/fuel"},
	"runtime/plugin/fuel": {},
	"runtime/registry":    {"abi", "hint"},
	"runtime/embedded":    {"hint"},
	"runtime":             {"abi", "store", "hint", "runtime/source", "runtime/plugin"},
	"runtime/query":       {"abi", "store", "hint", "runtime"},
	"runtime/serve":       {"abi", "store", "hint", "runtime", "runtime/query"},
	"runtime/golden":      {"abi", "config", "store", "hint", "runtime", "runtime/source", "runtime/plugin"},
	"runtime/demo":        {"abi", "store", "hint", "runtime", "runtime/source", "runtime/embedded", "plugins/examples", "testdata/cities"},
	"runtime/rig":         {"store", "runtime", "runtime/source", "runtime/embedded"},
	"runtime/measure":     {"store", "runtime", "runtime/rig", "runtime/source", "testdata/modules"},
	"plugins/examples":    {"abi"},
	"plugins/sdk":         {},
	"testdata/cities":     {},
	"testdata/modules":    {},
	"cmd/foldrun":         {"abi", "client", "client/natsdoor", "config", "store", "hint", "runtime", "runtime/source", "runtime/plugin", "runtime/serve", "runtime/embedded", "runtime/registry", "runtime/golden", "runtime/demo", "runtime/measure", "runtime/rig", "plugins/sdk"},
}

const module = "github.com/foldrun/foldrun"

// TestLayout holds the two tables above.
func TestLayout(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && name != "." && strings.HasPrefix(e.Name(), ".") {
			return filepath.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		if ignored(f.Comments) {
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(name))
		seen[pkg] = true
		for _, i := range f.Imports {
			imported, _ := strconv.Unquote(i.Path.Value)
			if complaint := judge(pkg, imported); complaint != "" {
				t.Errorf("%s: %s", name, complaint)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range below {
		if !seen[pkg] {
			t.Errorf("the layout has %s, the tree does not: mend the table", pkg)
		}
	}
}

// TestArchitecture: the page that says what is where names every package.
func TestArchitecture(t *testing.T) {
	b, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(b), "Dependencies point down only")
	for pkg := range below {
		if !strings.Contains(table, "`"+pkg+"`") {
			t.Errorf("docs/architecture.md does not say what %s is", pkg)
		}
	}
}

// ignored reports whether a file is not part of any build.
func ignored(comments []*ast.CommentGroup) bool {
	for _, g := range comments {
		for _, c := range g.List {
			if c.Text == "//go:build ignore" {
				return true
			}
		}
	}
	return false
}

// judge says what is wrong with an import, "" when nothing is.
func judge(pkg, imported string) string {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		allowed, known := below[pkg]
		switch {
		case !known:
			return "package " + pkg + " is not in the layout: give it a place in the table"
		case !slices.Contains(allowed, ours):
			return pkg + " may not import " + ours + ": dependencies point down only"
		}
		return ""
	}
	if !strings.Contains(imported, ".") {
		return "" // the standard library
	}
	if pkg == "abi" || pkg == "client" || pkg == "hint" {
		return pkg + " imports the standard library only, not " + imported
	}
	for dependency, packages := range doors {
		if imported != dependency && !strings.HasPrefix(imported, dependency+"/") {
			continue
		}
		if !slices.Contains(packages, pkg) {
			return imported + " has its door in " + strings.Join(packages, ", ") + ", not in " + pkg
		}
		return ""
	}
	return imported + " has no door: is there a place for it in the table?"
}

// TestJudge shows that the table can fail.
func TestJudge(t *testing.T) {
	for _, x := range []struct{ pkg, imported string }{
		{"runtime", "github.com/cockroachdb/pebble/v2"},
		{"store", module + "/runtime"},
		{"abi", "github.com/zeebo/xxh3"},
		{"store", "example.com/new"},
		{path.Join("util"), module + "/store"},
	} {
		if judge(x.pkg, x.imported) == "" {
			t.Errorf("%s may import %s", x.pkg, x.imported)
		}
	}
}
