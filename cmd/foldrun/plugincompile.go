package main

import (
	"context"
	"errors"
	"fmt"
	"go/version"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/foldrun/foldrun/hint"
)

// A compiler makes the module of the plugin in dir, into the file out. What the tool says goes to stderr.
type compiler func(ctx context.Context, dir, out string, stderr io.Writer) error

// compilerOf tells a plugin's language by its source.
func compilerOf(dir string) (compiler, error) {
	if _, err := os.Stat(filepath.Join(dir, "plugin.c")); err == nil {
		return compileC, nil
	}
	if _, err := os.Stat(filepath.Join(dir, "Cargo.toml")); err == nil {
		return compileRust, nil
	}
	if _, err := os.Stat(filepath.Join(dir, "plugin.ts")); err == nil {
		return compileAssemblyScript, nil
	}
	if _, err := os.Stat(filepath.Join(dir, "plugin.zig")); err == nil {
		return compileZig, nil
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*.go")); len(found) > 0 {
		return compileGo, nil
	}
	return nil, hint.Error(fmt.Errorf("%s has neither Go files nor plugin.c, Cargo.toml, plugin.ts or plugin.zig", dir),
		"name the directory of the source, or with --wasm a module that another tool has built")
}

// What of the environment would make another module of the same source. A plugin is a Go module of its own, so that a
// workspace around it is none of its business.
var goEnv = []string{"GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off", "GOWASM="}

// oldestGo is the first Go that exports functions from wasip1.
const oldestGo = "go1.24"

// compileGo keeps the commit, the folder's name and debug information out of the module: with them it would be another
// module after each commit, and its index would be built anew.
func compileGo(ctx context.Context, dir, out string, stderr io.Writer) error {
	tool, err := exec.LookPath("go")
	if err != nil {
		return hint.Error(errors.New("there is no Go compiler: no go in $PATH"), "install Go %s or later: https://go.dev/dl/", oldestGo[2:])
	}
	ask := exec.CommandContext(ctx, tool, "env", "GOVERSION")
	ask.Dir, ask.Env = dir, append(os.Environ(), goEnv...)
	if b, err := ask.Output(); err == nil {
		have := strings.TrimSpace(string(b))
		if version.IsValid(have) && version.Compare(have, oldestGo) < 0 {
			return hint.Error(fmt.Errorf("%s is %s, which cannot build plugins", tool, have), "install Go %s or later: https://go.dev/dl/", oldestGo[2:])
		}
	}
	c := exec.CommandContext(ctx, tool, "build", "-buildmode=c-shared", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	c.Dir, c.Env = dir, append(os.Environ(), goEnv...)
	return runTool(c, stderr)
}

// compileC needs no libc. The source is named without its folder, so that __FILE__ is the same everywhere.
func compileC(ctx context.Context, dir, out string, stderr io.Writer) error {
	tool, err := clang(ctx)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, tool, "--target=wasm32", "-std=c11", "-ffreestanding", "-O2", "-mbulk-memory", "-nostdlib",
		"-Wall", "-Wextra", "-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--stack-first", "-o", out, "plugin.c")
	c.Dir = dir
	return runTool(c, stderr)
}

const clangMend = "on Debian and Ubuntu: apt-get install clang-19 lld-19; on macOS: brew install llvm lld; or name one in $CLANG"

// clang finds a clang that can make wasm, and the linker it needs.
func clang(ctx context.Context) (string, error) {
	names := []string{"clang-19", "clang"}
	if own := os.Getenv("CLANG"); own != "" {
		names = []string{own}
	}
	for _, name := range names {
		tool, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		targets, err := exec.CommandContext(ctx, tool, "--print-targets").Output()
		if err != nil || !strings.Contains(string(targets), "wasm32") {
			return "", hint.Error(fmt.Errorf("%s cannot make wasm", tool), clangMend)
		}
		linker, err := exec.CommandContext(ctx, tool, "--print-prog-name=wasm-ld").Output()
		if err == nil {
			_, err = exec.LookPath(strings.TrimSpace(string(linker)))
		}
		if err != nil {
			return "", hint.Error(fmt.Errorf("%s finds no linker, wasm-ld", tool), clangMend)
		}
		return tool, nil
	}
	return "", hint.Error(fmt.Errorf("there is no C compiler: no %s in $PATH", strings.Join(names, " or ")), clangMend)
}

// runTool runs a compiler. The program is named as it was called, and the compiler has said already what is wrong.
func runTool(c *exec.Cmd, stderr io.Writer) error { return runToolInto(c, stderr, stderr) }

// runToolInto is for a compiler whose output is read.
func runToolInto(c *exec.Cmd, stdout, stderr io.Writer) error {
	c.Stdout, c.Stderr = stdout, stderr
	if err := c.Run(); err != nil {
		return hint.Error(fmt.Errorf("%s: %w", c.Path, err), "the compiler says above what is wrong: mend it, and build again")
	}
	return nil
}
