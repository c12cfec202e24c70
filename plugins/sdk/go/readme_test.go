package foldrun_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
)

// TestREADME does in an empty folder what the README says, and runs what comes of it.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	check(t, err)
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "foldrun"), "../../../cmd/foldrun")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", filepath.Join(dir, "bin")+string(filepath.ListSeparator)+os.Getenv("PATH"))
	folder := filepath.Join(dir, "users")
	files := []string{"main.go", "foldrun.plugin.toml", "main_test.go"}
	commands := []string{dir, folder} // where they are run
	for _, block := range strings.Split(string(text), "```")[1:] {
		kind, body, _ := strings.Cut(block, "\n")
		switch {
		case kind == "sh" && len(commands) > 0:
			shell(t, commands[0], body)
			commands = commands[1:]
		case (kind == "go" || kind == "toml") && len(files) > 0:
			check(t, os.WriteFile(filepath.Join(folder, files[0]), []byte(body), 0o644))
			files = files[1:]
		case kind != "":
			t.Fatalf("a block that this test does not know: %s", body)
		}
	}
	if len(files) > 0 || len(commands) > 0 {
		t.Fatalf("the README lacks %q and %d blocks of commands", files, len(commands))
	}
	shell(t, folder, "go vet ./...\ngo test ./...\n")
	wasm, err := os.ReadFile(filepath.Join(folder, "users.wasm"))
	check(t, err)
	m := compile(t, wasm, plugin.Options{})
	u := &abi.Updates{}
	put(u, "alice", []byte(`{"email":"a@example.org"}`))
	put(u, "bob", []byte(`{}`))
	put(u, "carol", []byte(`{"email":5}`))
	got, _ := transform(t, m, u)
	want := []string{`0 "a@example.org"="alice";`, ``, `module 1: email is not a string: 5`}
	if fmt.Sprint([]string(got)) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func shell(t *testing.T, dir, commands string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s%v\n%s", commands, err, out)
	}
}
