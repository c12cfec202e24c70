package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/foldrun/foldrun/hint"
)

// zigVersion begins the versions of Zig that the SDK is for: each is a language of its own.
const zigVersion = "0.17."

const zigMend = "install Zig 0.17: https://ziglang.org/download/, or pip install ziglang==0.17.1 and use its file ziglang/zig; $ZIG may name it"

// compileZig builds with the checks of a debug build: a mistake ends the instance, and makes no rows.
func compileZig(ctx context.Context, dir, out string, stderr io.Writer) error {
	name := "zig"
	if own := os.Getenv("ZIG"); own != "" {
		name = own
	}
	tool, err := exec.LookPath(name)
	if err != nil {
		return hint.Error(fmt.Errorf("there is no Zig compiler: no %s in $PATH", name), zigMend)
	}
	b, err := exec.CommandContext(ctx, tool, "version").Output()
	if err != nil {
		return hint.Error(errors.Join(fmt.Errorf("%s does not say its version", tool), err), zigMend)
	}
	if have := strings.TrimSpace(string(b)); !strings.HasPrefix(have, zigVersion) {
		return hint.Error(fmt.Errorf("%s is Zig %s, which the SDK is not for", tool, have), zigMend)
	}
	c := exec.CommandContext(ctx, tool, "build-exe", "plugin.zig", "-target", "wasm32-freestanding", "-mcpu=generic+bulk_memory",
		"-OReleaseSafe", "-fstrip", "-fno-entry", "-rdynamic", "--cache-dir", filepath.Join(filepath.Dir(out), "cache"), "-femit-bin="+out)
	c.Dir = dir
	return runTool(c, stderr)
}
