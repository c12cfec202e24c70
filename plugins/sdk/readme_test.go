package sdk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestREADME does in an empty folder what the README of the SDK for AssemblyScript says.
func TestREADME(t *testing.T) {
	if _, err := exec.LookPath("asc"); err != nil {
		t.Skip("needs AssemblyScript: npm i --ignore-scripts assemblyscript@0.28.20, and its node_modules/.bin in $PATH")
	}
	text, err := os.ReadFile("assemblyscript/README.md")
	check(t, err)
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "foldrun"), "../../cmd/foldrun")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", filepath.Join(dir, "bin")+string(filepath.ListSeparator)+os.Getenv("PATH"))
	files := map[string]string{"ts": "plugin.ts", "toml": "foldrun.plugin.toml", "txtar": "testdata/first.txtar"}
	commands := 0
	for i, block := range strings.Split(string(text), "\n```") {
		if i%2 == 0 {
			continue // between the blocks
		}
		kind, body, _ := strings.Cut(block, "\n")
		if kind == "sh" {
			commands++
			cmd := exec.Command("sh", "-euc", body)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s\n%v\n%s", body, err, out)
			}
			continue
		}
		file, known := files[kind]
		if !known {
			t.Fatalf("a block that this test does not know: %s", block)
		}
		delete(files, kind)
		check(t, os.WriteFile(filepath.Join(dir, "users", file), []byte(body+"\n"), 0o644))
	}
	if len(files) > 0 || commands != 2 {
		t.Fatalf("the README lacks %q, and has %d blocks of commands", files, commands)
	}
}
