package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/registry"
)

func pluginInspectCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect FILE.wasm",
		Short: "Show what a module is: manifest, exports, imports, sizes, digests",
		Long: `Show what a module is: manifest, exports, imports, sizes, digests. A module that foldrun would refuse is shown as far as it
can be read, with the reason, and the exit code is 1. The module is not run.

The digest is of the code alone: it is part of what a generation is. The sha256 is of the file, as module.sha256 of a
fold has it. The signature is that of FILE.wasm.sig, if there is one; whether its key is trusted, a configuration says.`,
		Example: "  foldrun plugin inspect users.wasm\n  foldrun plugin inspect users.wasm --json",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := registry.Open(args[0])
			if err != nil {
				return err
			}
			r := inspectModule(c.Context(), args[0], m.Wasm)
			r.signature(m)
			switch {
			case asJSON:
				err = r.printJSON(c.OutOrStdout())
				if err == nil && !r.OK {
					err = errFailed
				}
				return err
			case r.Digest == "": // no wasm: there is nothing to show
				return r.err
			}
			if err := r.print(c.OutOrStdout()); err != nil {
				return err
			}
			return r.err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// A moduleReport is what there is to know of a module without running it.
type moduleReport struct {
	Path     string        `json:"path"`
	OK       bool          `json:"ok"` // foldrun would run it
	Problem  string        `json:"problem,omitempty"`
	Hint     string        `json:"hint,omitempty"`
	Manifest *abi.Manifest `json:"manifest,omitempty"`
	Size     int           `json:"size"`
	SHA256   string        `json:"sha256"`
	Digest   string        `json:"digest,omitempty"`
	SignedBy string        `json:"signed_by,omitempty"` // a public key
	BadSign  string        `json:"bad_signature,omitempty"`
	wasmParts
	err error
}

// inspectModule reads a module, and compiles it as a start does.
func inspectModule(ctx context.Context, path string, wasm []byte) *moduleReport {
	sum := sha256.Sum256(wasm)
	r := &moduleReport{Path: path, Size: len(wasm), SHA256: hex.EncodeToString(sum[:])}
	if manifest, found, err := abi.ReadManifest(wasm); err == nil && found {
		r.Manifest = &manifest
	}
	if digest, err := abi.CodeDigest(wasm); err == nil {
		r.Digest = hex.EncodeToString(digest[:])
	}
	r.wasmParts = readParts(wasm)
	var o plugin.Options
	if r.Manifest != nil {
		o.Memory = max(r.Manifest.Limits.Memory, 64<<20) // a fold would have to grant it
	}
	m, err := plugin.Compile(ctx, wasm, o)
	if err == nil {
		err = m.Close(ctx)
	}
	if err == nil && r.Manifest != nil {
		err = config.CheckSchema(r.Manifest.ConfigSchema)
	}
	if err != nil {
		r.err = fmt.Errorf("%s: %w", path, err)
		r.Problem, r.Hint = err.Error(), hint.Of(err)
	}
	r.OK = err == nil
	return r
}

// signature adds by whom a module is signed, or what is wrong with its signature.
func (r *moduleReport) signature(m registry.Module) {
	if m.Signature == "" {
		return
	}
	by, err := m.Signer()
	if err != nil {
		r.BadSign = err.Error()
	}
	r.SignedBy = by
}

func (r *moduleReport) printJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

func (r *moduleReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	list := func(title string, lines []string) {
		for i, line := range lines {
			if i > 0 {
				title = ""
			}
			fmt.Fprintf(w, "%s\t%s\n", title, line)
		}
	}
	if m := r.Manifest; m != nil {
		fmt.Fprintf(w, "name\t%s\n", strings.TrimSpace(m.Name+" "+m.Version))
		fmt.Fprintf(w, "abi\t%d\n", m.ABI)
		fmt.Fprintf(w, "sdk\t%s\n", orDash(m.SDK))
		fmt.Fprintf(w, "indexes\t%s\n", strings.Join(m.Indexes, ", "))
		fmt.Fprintf(w, "wants\t%s\n", orDash(strings.Join(m.Wants, ", ")))
		fmt.Fprintf(w, "limits\t%s\n", orDash(asked(m.Limits)))
		fmt.Fprintf(w, "config\t%s\n", orDash(string(m.ConfigSchema)))
	}
	fmt.Fprintf(w, "sha256\t%s\n", r.SHA256)
	fmt.Fprintf(w, "signed\t%s\n", orDash(r.SignedBy+r.BadSign))
	fmt.Fprintf(w, "digest\t%s\n", orDash(r.Digest))
	fmt.Fprintf(w, "size\t%d\n", r.Size)
	fmt.Fprintf(w, "memory\t%d at the start\n", r.Memory)
	var sizes []string
	for _, s := range r.Sections {
		sizes = append(sizes, fmt.Sprintf("%s %d", s.Name, s.Size))
	}
	list("sections", sizes)
	list("exports", r.Exports)
	list("imports", r.Imports)
	return w.Flush()
}

// asked shows the limits that a manifest asks for.
func asked(l abi.ManifestLimits) string {
	var s []string
	for _, x := range []struct {
		name string
		n    int64
	}{{"memory", l.Memory}, {"fuel_per_record", l.FuelPerRecord}, {"entries_per_record", l.EntriesPerRecord}, {"bytes_per_record", l.BytesPerRecord}} {
		if x.n > 0 {
			s = append(s, fmt.Sprintf("%s %d", x.name, x.n))
		}
	}
	return strings.Join(s, ", ")
}
