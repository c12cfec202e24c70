package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// fold tries a fold's module, as a start would, and compares what the fold would be with what the data directory has.
func (k *checker) fold(ctx context.Context, fc config.Fold) {
	if !k.module(fc) {
		return
	}
	o, err := foldOptions(k.config, fc, k.links[fc.Source.NATS], nil)
	o.Module.CacheDir = "" // a check writes nothing
	if err != nil {
		k.problem(err)
		return
	}
	peek, err := store.PeekAt(k.config.DataDir, fc.Name)
	if err != nil { // what is wrong with the directory is told already
		peek.Current = ""
	}
	if errors.Is(err, store.ErrNotDescribed) {
		k.warn(fmt.Errorf("what is built is not compared with what is configured: %w", err))
	}
	plan, err := runtime.PlanFold(ctx, peek, o)
	if err != nil {
		k.refused(fc, err)
		return
	}
	id := plan.Configured
	want, err := id.Generation()
	if err != nil {
		k.problem(err)
		return
	}
	k.fact("fold %s: module %s of %s, generation %s", fc.Name, id.Module[:12], counted(len(id.Indexes), "index", "indexes"), want)
	if plan.Why != nil {
		k.differs(fc, plan, want)
	}
}

// module reads a fold's module and holds what the file says of the fold against its manifest. It reports whether all is
// well.
func (k *checker) module(fc config.Fold) bool {
	wasm, err := readModule(fc.Module)
	if err != nil {
		key := "sha256"
		if errors.As(err, new(*fs.PathError)) {
			key = "path"
		}
		k.at(fc.At("module", key), err.Error(), hint.Of(err))
		return false
	}
	m, found, err := abi.ReadManifest(wasm)
	if err != nil || !found {
		return true // compiling it says what is wrong
	}
	before := len(k.problems)
	for _, name := range slices.Sorted(maps.Keys(fc.Index)) {
		if !slices.Contains(m.Indexes, name) {
			k.at(fc.At("index", name), fmt.Sprintf("its module has no index %q", name), "it has "+quoted(m.Indexes))
		}
	}
	if err := config.CheckSchema(m.ConfigSchema); err != nil {
		k.schema(fc, err)
	}
	var problems *config.Problems
	if errors.As(fc.CheckConfig(m.ConfigSchema), &problems) {
		for _, p := range problems.All {
			k.at(p, p.Text, p.Hint)
		}
	}
	return len(k.problems) == before
}

// schema adds what is wrong with the schema that a module brings.
func (k *checker) schema(fc config.Fold, err error) {
	var problems *config.Problems
	if !errors.As(err, &problems) {
		k.problem(err)
		return
	}
	for _, p := range problems.All {
		k.at(fc.At("module", "path"), fmt.Sprintf("%s: its manifest's %s", fc.Module.Path, p), "mend the schema in "+config.PluginFile+" and build the module again")
	}
}

// refused adds why a module is not taken, at the key that names it; what it says of its config at that of the config.
func (k *checker) refused(fc config.Fold, err error) {
	_, text := runtime.Describe(err)
	for _, prefix := range []string{"fold " + fc.Name + ": ", "module: ", "plugin: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	at := fc.At("module", "path")
	if strings.Contains(text, abi.ExportInit+" refuses the config") {
		at = fc.At("config")
	}
	k.at(at, fc.Module.Path+": "+text, runtime.HintOf(err))
}

// differs adds that a fold is not any more what its rows were made with.
func (k *checker) differs(fc config.Fold, plan runtime.Plan, want string) {
	var why string
	switch id, old := plan.Configured, plan.Identity; {
	case id.Lowers(old) != "":
		why = id.Lowers(old)
	case old.Module != id.Module:
		why = fmt.Sprintf("%s; %s has the digest %s, the module before it had %s", old.Differs(id), fc.Module.Path, id.Module, old.Module)
	default:
		why = old.Differs(id)
	}
	p := fc.At()
	p.Text = fmt.Sprintf("%s: module or configuration make it generation %s, current is %s: %s", runtime.CodeIdentity, want,
		filepath.Join(k.config.DataDir, "folds", fc.Name, plan.Current), why)
	switch plan.Act {
	case runtime.ActWait, runtime.ActRolledBack:
		k.coded(runtime.CodeIdentity, p.String(), "foldrun apply "+fc.Name+" builds it beside the one that serves; or put the old module and configuration back", true)
	case runtime.ActStop:
		k.coded(runtime.CodeIdentity, p.String(), "foldrun resume "+fc.Name+" --accept-loss builds it without the rows of what the stream holds no more; "+
			"or put the old module and configuration back", true)
	default:
		k.coded(runtime.CodeIdentity, p.String(), "a start builds the new one beside the old one, which serves until that has caught up; or put the old module and configuration back", false)
	}
}

// quoted is a list of names in quotes.
func quoted(names []string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = strconv.Quote(name)
	}
	return strings.Join(all, ", ")
}
