package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/foldrun/foldrun/hint"
)

const (
	rustTarget    = "wasm32-unknown-unknown"
	rustTargetDir = "target" // where cargo keeps what it makes
)

var exeSuffix = map[bool]string{true: ".exe"}[runtime.GOOS == "windows"]

const cargoMend = "install Rust: https://rustup.rs, then rustup target add " + rustTarget +
	"; on Debian and Ubuntu: apt-get install cargo libstd-rust-dev-wasm32 lld; or name the tools in $CARGO and $RUSTC"

// compileRust has cargo build the library of the package in dir.
func compileRust(ctx context.Context, dir, out string, stderr io.Writer) error {
	cargo, err := rustTool("CARGO", "cargo")
	if err != nil {
		return err
	}
	rustc, err := rustTool("RUSTC", "rustc")
	if err != nil {
		return err
	}
	linker, err := rustLinker(ctx, dir, rustc)
	if err != nil {
		return err
	}
	// Bulk memory is what compilers since 1.87 use by themselves; without it every copy is a loop, and 3 times slower.
	args := []string{"rustc", "--quiet", "--lib", "--release", "--target", rustTarget, "--message-format=json-render-diagnostics",
		"--", "-C", "target-feature=+bulk-memory"}
	env := append(os.Environ(), "RUSTFLAGS=", "CARGO_ENCODED_RUSTFLAGS=", "RUSTC="+rustc) // one who builds elsewhere gets the same bytes
	if linker != "" {
		args = append(args, "-C", "linker="+linker, "-C", "linker-flavor=wasm-ld", "-C", "link-arg=--no-fatal-warnings")
	}
	c := exec.CommandContext(ctx, cargo, args...)
	c.Dir, c.Env = dir, env
	var messages bytes.Buffer
	if err := runToolInto(c, &messages, stderr); err != nil {
		return err
	}
	return copyArtifact(&messages, out)
}

func rustTool(variable, name string) (string, error) {
	if own := os.Getenv(variable); own != "" {
		name = own
	}
	tool, err := exec.LookPath(name)
	if err != nil {
		return "", hint.Error(fmt.Errorf("there is no Rust compiler: no %s in $PATH", name), cargoMend)
	}
	return tool, nil
}

// rustLinker names a linker where the compiler, as Debian's, has none of its own for wasm. It asks the compiler in
// dir, where a file may name another toolchain.
func rustLinker(ctx context.Context, dir, rustc string) (string, error) {
	ask := exec.CommandContext(ctx, rustc, "--print", "target-libdir", "--target", rustTarget)
	ask.Dir = dir
	b, err := ask.Output()
	libraries := strings.TrimSpace(string(b))
	if err == nil {
		_, err = os.Stat(libraries)
	}
	if err != nil {
		return "", hint.Error(fmt.Errorf("%s has no libraries for %s", rustc, rustTarget), cargoMend)
	}
	own, _ := filepath.Glob(filepath.Join(libraries, "../../*/bin/rust-lld"+exeSuffix))
	if _, err := exec.LookPath("rust-lld"); len(own) > 0 || err == nil {
		return "", nil
	}
	for _, name := range []string{"wasm-ld", "wasm-ld-19"} {
		if _, err := exec.LookPath(name); err == nil {
			return name, nil
		}
	}
	return "", hint.Error(fmt.Errorf("%s finds no linker: no rust-lld or wasm-ld in $PATH", rustc), cargoMend)
}

// copyArtifact copies the module that cargo says it has made.
func copyArtifact(messages io.Reader, out string) error {
	made := ""
	for d := json.NewDecoder(messages); ; {
		var m struct {
			Reason    string
			Filenames []string
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("what cargo says: %w", err)
		}
		for _, name := range m.Filenames {
			if m.Reason == "compiler-artifact" && strings.HasSuffix(name, ".wasm") {
				made = name
			}
		}
	}
	if made == "" {
		return hint.Error(errors.New("cargo has made no module"), `write crate-type = ["cdylib"] under [lib] in Cargo.toml`)
	}
	wasm, err := os.ReadFile(made)
	if err != nil {
		return err
	}
	return os.WriteFile(out, wasm, 0o644)
}
