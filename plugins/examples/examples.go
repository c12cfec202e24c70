// Package examples holds the example plugins, built: tests and the demo run the modules that users read about.
//
// Each folder NAME has the source, the manifest and NAME.wasm, which build.sh makes from them.
package examples

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

//go:embed */*.wasm
var modules embed.FS

// Module returns the bytes of the plugin NAME's module, manifest included. The caller owns them.
func Module(name string) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("examples: no plugin %q: there are %q", name, Names())
	}
	return modules.ReadFile(path.Join(name, name+".wasm"))
}

// Names lists the plugins, sorted.
func Names() []string {
	paths, err := fs.Glob(modules, "*/*.wasm")
	if err != nil {
		panic(err) // the pattern is ours
	}
	names := make([]string, 0, len(paths))
	for _, p := range paths {
		if name := path.Dir(p); path.Base(p) == name+".wasm" {
			names = append(names, name)
		}
	}
	return names
}
