package main

import (
	"errors"
	"fmt"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
)

// configError holds the config of a fold against the schema in its module's manifest. The error is a *runtime.Stop that
// tells the first problem; foldrun check tells all.
func configError(fc config.Fold, wasm []byte) error {
	m, found, err := abi.ReadManifest(wasm)
	if err != nil || !found {
		return nil // the module is refused for that
	}
	if err := firstProblem(config.CheckSchema(m.ConfigSchema)); err != nil {
		return &runtime.Stop{Code: runtime.CodeModule, Err: hint.Error(fmt.Errorf("fold %s: module: %s: its manifest's %w", fc.Name, moduleFrom(fc), err), "%s",
			"mend the schema in "+config.PluginFile+" and build the module again")}
	}
	if err := firstProblem(fc.CheckConfig(m.ConfigSchema)); err != nil {
		return &runtime.Stop{Code: runtime.CodeConfig, Err: err}
	}
	return nil
}

// firstProblem returns the first of some problems, and says how many there are more.
func firstProblem(err error) error {
	var problems *config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	first := problems.All[0]
	if n := len(problems.All) - 1; n > 0 {
		first.Text += fmt.Sprintf(", and %s", counted(n, "more problem", "more problems"))
	}
	return first.Err()
}
