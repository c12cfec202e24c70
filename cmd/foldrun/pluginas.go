package main

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/foldrun/foldrun/hint"
)

// nodeModules is where npm puts what a project needs.
const nodeModules = "node_modules"

const ascMend = "in the plugin's directory: npm i --ignore-scripts assemblyscript@0.28.20; npm comes with Node.js, on Debian and Ubuntu: apt-get install npm"

// compileAssemblyScript runs asc in the plugin's directory, so that its folder's name is in no message of the module. An
// asconfig.json is not looked at: it would make another module of the same source.
func compileAssemblyScript(ctx context.Context, dir, out string, stderr io.Writer) error {
	tool, err := asc(dir)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("node"); err != nil {
		return hint.Error(errors.New("there is no Node.js, which AssemblyScript's compiler needs: no node in $PATH"), "on Debian and Ubuntu: apt-get install nodejs; elsewhere: https://nodejs.org")
	}
	c := exec.CommandContext(ctx, tool, "plugin.ts", "--config", "none", "--runtime", "incremental", "-O3", "--outFile", out)
	c.Dir = dir
	return runTool(c, stderr)
}

// asc finds AssemblyScript's compiler: that of the plugin's node_modules, or of a directory above, else the one in $PATH.
func asc(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for up := at; ; up = filepath.Dir(up) {
		if tool, err := exec.LookPath(filepath.Join(up, nodeModules, ".bin", "asc")); err == nil {
			return tool, nil
		}
		if up == filepath.Dir(up) {
			break
		}
	}
	tool, err := exec.LookPath("asc")
	if err != nil {
		return "", hint.Error(errors.New("there is no AssemblyScript compiler: no asc in node_modules or $PATH"), ascMend)
	}
	return tool, nil
}
