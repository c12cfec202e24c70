package sdk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// TestREADME does in an empty folder what the README of an SDK says.
func TestREADME(t *testing.T) {
	for _, x := range []struct {
		language string
		kind     string   // of the blocks that are the source
		source   []string // their files
		tests    string   // a command that runs the source's own
		needs    func(t *testing.T)
	}{
		{"assemblyscript", "ts", []string{"plugin.ts"}, "", func(t *testing.T) {
			if _, err := exec.LookPath("asc"); err != nil {
				t.Skip("needs AssemblyScript: npm i --ignore-scripts assemblyscript@0.28.20, and its node_modules/.bin in $PATH")
			}
		}},
		{"c", "c", []string{"plugin.c"}, "", func(t *testing.T) { built(t, "c", "c/testdata/behave.c", abi.Manifest{Name: "behave"}) }},
		{"rust", "rust", []string{"src/lib.rs"}, "cd users && ${CARGO:-cargo} test --quiet", func(t *testing.T) { example(t, "rust", "by-country") }},
		{"go", "go", []string{"main.go", "main_test.go"}, "cd users && go vet ./... && go test ./...", func(*testing.T) {}},
		{"zig", "zig", []string{"plugin.zig"}, "cd users && ${ZIG:-zig} test plugin.zig", func(t *testing.T) { example(t, "zig", "by-country") }},
	} {
		t.Run(x.language, func(t *testing.T) {
			x.needs(t)
			dir := followREADME(t, x.language, x.kind, x.source)
			runShell(t, dir, x.tests)
		})
	}
}

// followREADME does what a README says, and returns the folder where it was done.
func followREADME(t *testing.T, language, kind string, source []string) string {
	t.Helper()
	text, err := os.ReadFile(language + "/README.md")
	check(t, err)
	tool, err := command()
	check(t, err)
	t.Setenv("PATH", filepath.Dir(tool)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	dir := t.TempDir()
	files := map[string][]string{kind: source, "toml": {"foldrun.plugin.toml"}, "txtar": {"testdata/first.txtar"}}
	commands := 0
	for i, block := range strings.Split(string(text), "\n```") {
		if i%2 == 0 {
			continue // between the blocks
		}
		kind, body, _ := strings.Cut(block, "\n")
		if kind == "sh" {
			commands++
			runShell(t, dir, body)
			continue
		}
		if len(files[kind]) == 0 {
			t.Fatalf("a block that this test does not know: %s", block)
		}
		check(t, os.WriteFile(filepath.Join(dir, "users", files[kind][0]), []byte(body+"\n"), 0o644))
		files[kind] = files[kind][1:]
	}
	if lacks := slices.Concat(files[kind], files["toml"], files["txtar"]); len(lacks) > 0 || commands != 2 {
		t.Fatalf("the README lacks %q, and has %d blocks of commands", lacks, commands)
	}
	return dir
}

func runShell(t *testing.T, dir, commands string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", commands)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", commands, err, out)
	}
}
