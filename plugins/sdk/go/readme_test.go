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
	root, err := filepath.Abs("../../..")
	check(t, err)
	dir := t.TempDir()
	files := []string{"main.go", "main_test.go"}
	manifests := 0
	var commands []string
	for _, block := range strings.Split(string(text), "```")[1:] {
		kind, body, _ := strings.Cut(block, "\n")
		switch kind {
		case "go":
			check(t, os.WriteFile(filepath.Join(dir, files[0]), []byte(body), 0o644))
			files = files[1:]
		case "json":
			check(t, os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(body), 0o644))
			manifests++
		case "sh":
			commands = append(commands, body)
		}
	}
	if len(files) > 0 || manifests != 1 || len(commands) != 2 {
		t.Fatalf("the README lacks %q, has %d manifests and %d blocks of commands", files, manifests, len(commands))
	}
	cmd := exec.Command("sh", "-euc", strings.Join(commands, "")+"go vet ./...\ngo test ./...\n")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "FOLDRUN="+root, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(filepath.Join(dir, "users.wasm"))
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
