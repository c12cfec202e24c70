package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
)

type pluginBuild struct {
	dir    string // of the plugin
	wasm   string // a module that is built already, instead of the source
	output string
	asJSON bool
}

func pluginBuildCommand() *cobra.Command {
	var b pluginBuild
	c := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Build a plugin's module, with its manifest in it",
		Long: `Build the module of the plugin in DIR, by default here: run the compiler of its language, put the manifest of
foldrun.plugin.toml into the module, check the module as a start would, and write it to DIR/NAME.wasm. The same source
and the same compiler give the same bytes, wherever the directory is.

A plugin in Go has its main package in DIR, one in C the file plugin.c ($CLANG names the compiler), one in Rust its
Cargo.toml ($CARGO and $RUSTC name the tools), one in AssemblyScript the file plugin.ts (asc of the nearest node_modules,
else of $PATH), one in Zig plugin.zig ($ZIG names the compiler). For any other language build the module yourself and name
it with --wasm.`,
		Example: "  foldrun plugin build\n  foldrun plugin build cities-by-timezone -o out/cities.wasm\n  foldrun plugin build --wasm target/wasm32-unknown-unknown/release/users.wasm",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			b.dir = append(args, ".")[0]
			r, err := b.run(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			if b.asJSON {
				return r.printJSON(c.OutOrStdout())
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d bytes, digest %s\n", r.Path, r.Size, r.Digest)
			return nil
		},
	}
	c.Flags().StringVarP(&b.output, "output", "o", "", "the file to write; default DIR/NAME.wasm")
	c.Flags().StringVar(&b.wasm, "wasm", "", "a module that another tool has built, instead of the source")
	c.Flags().BoolVar(&b.asJSON, "json", false, "print JSON")
	c.MarkFlagFilename("output", "wasm")
	c.MarkFlagFilename("wasm", "wasm")
	return c
}

// run builds the module. Only one that foldrun would run is written.
func (b *pluginBuild) run(ctx context.Context, stderr io.Writer) (*moduleReport, error) {
	m, err := b.manifest()
	if err != nil {
		return nil, err
	}
	wasm, err := b.compile(ctx, stderr)
	if err != nil {
		return nil, err
	}
	if b.output == "" {
		b.output = filepath.Join(b.dir, m.Name+".wasm")
	}
	if wasm, err = abi.AppendManifest(wasm, m); err != nil {
		return nil, b.unusable(err)
	}
	r := inspectModule(ctx, b.output, wasm)
	if r.err != nil {
		return nil, r.err
	}
	return r, replaceFile(b.output, wasm)
}

// unusable names the file of a module that another tool built, which cannot take a manifest.
func (b *pluginBuild) unusable(err error) error {
	if b.wasm == "" {
		return err
	}
	return hint.Error(fmt.Errorf("%s: %w", b.wasm, err), "name the .wasm file that the compiler wrote, not its source or a component")
}

func (b *pluginBuild) manifest() (abi.Manifest, error) {
	path := filepath.Join(b.dir, config.PluginFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return abi.Manifest{}, hint.Error(fmt.Errorf("%s: there is no such file", path), "name the plugin's directory; foldrun plugin new writes one")
	}
	return config.LoadPlugin(path)
}

// compile returns the module without its manifest.
func (b *pluginBuild) compile(ctx context.Context, stderr io.Writer) ([]byte, error) {
	if b.wasm != "" {
		return os.ReadFile(b.wasm)
	}
	compiler, err := compilerOf(b.dir)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "foldrun-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	file := filepath.Join(scratch, "module.wasm")
	if err := compiler(ctx, b.dir, file, stderr); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// replaceFile puts a file into place whole: a foldrun that starts meanwhile reads the old module or the new one.
func replaceFile(path string, data []byte) error {
	beside := path + ".new"
	if err := os.WriteFile(beside, data, 0o644); err != nil {
		return hint.Error(err, "the directory must be there, and writable by this user")
	}
	if err := os.Rename(beside, path); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return nil
}
