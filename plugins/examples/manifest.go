//go:build ignore

// Manifest puts a manifest into a module: go run manifest.go MANIFEST.json MODULE.wasm
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/foldrun/foldrun/abi"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run manifest.go MANIFEST.json MODULE.wasm")
		os.Exit(2)
	}
	if err := embed(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "manifest.go: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func embed(manifest, module string) error {
	text, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	wasm, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	var m abi.Manifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return err
	}
	if wasm, err = abi.AppendManifest(wasm, m); err != nil {
		return err
	}
	return os.WriteFile(module, wasm, 0o644)
}
