package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/registry"
	"github.com/foldrun/foldrun/store"
)

// fold tries a fold's module, as a start would, and compares what the fold would be with what the data directory has.
func (k *checker) fold(ctx context.Context, fc config.Fold) {
	o := foldOptions(k.config, fc, k.links[fc.Source.NATS], nil)
	o.Module.CacheDir = "" // a check writes nothing
	var ok bool
	if o.Wasm, ok = k.module(ctx, fc); !ok {
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
func (k *checker) module(ctx context.Context, fc config.Fold) (wasm []byte, ok bool) {
	if wasm, ok = k.find(ctx, fc); !ok {
		return nil, false
	}
	m, has, err := abi.ReadManifest(wasm)
	if err != nil || !has {
		return wasm, true // compiling it says what is wrong
	}
	before := len(k.problems)
	k.indexes(fc, m)
	k.moduleConfig(fc, m)
	return wasm, len(k.problems) == before
}

// find reads a fold's module. It reports whether there is one that may run.
func (k *checker) find(ctx context.Context, fc config.Fold) (wasm []byte, ok bool) {
	all := onlyLooking(k.config, k.links)
	found, err := all.registry.Load(ctx, wanted(fc), all.objects(fc))
	if err != nil {
		k.notFound(fc, err)
	}
	return found.Wasm, err == nil
}

// leftOut looks at the module of a fold that a mistake leaves out, and at what the file says of it, as far as that does not
// hang on what was meant. It is not started: its limits may be what is mistaken.
func (k *checker) leftOut(ctx context.Context, fc config.Fold) {
	if modulePlace(fc) == "" || k.mistakes.In(fc, "module") {
		return
	}
	wasm, ok := k.find(ctx, fc)
	if !ok {
		return
	}
	r := inspectModule(ctx, modulePlace(fc), wasm)
	if r.err != nil {
		k.at(fc.At("module", moduleKey(fc)), r.err.Error(), r.Hint)
		return
	}
	k.indexes(fc, *r.Manifest)
	if fc.Config != nil {
		k.moduleConfig(fc, *r.Manifest)
	}
}

// indexes holds the indexes that the file names against a module's manifest.
func (k *checker) indexes(fc config.Fold, m abi.Manifest) {
	for _, name := range slices.Sorted(maps.Keys(fc.Index)) {
		if !slices.Contains(m.Indexes, name) {
			k.at(fc.At("index", name), fmt.Sprintf("its module has no index %q", name), "it has "+quoted(m.Indexes))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fc.Gates)) {
		if k.mistakes.In(fc, "gate") {
			break // its index may be what is mistaken
		}
		if x := fc.Gates[name].Index; !slices.Contains(m.Indexes, x) {
			k.at(fc.At("gate", name), fmt.Sprintf("its module has no index %q", x), "it has "+quoted(m.Indexes))
		}
	}
}

// moduleConfig holds a fold's config against the schema in a module's manifest.
func (k *checker) moduleConfig(fc config.Fold, m abi.Manifest) {
	if err := config.CheckSchema(m.ConfigSchema); err != nil {
		k.schema(fc, err)
	}
	var problems *config.Problems
	if errors.As(fc.CheckConfig(m.ConfigSchema), &problems) {
		for _, p := range problems.All {
			k.at(p, p.Text, p.Hint)
		}
	}
}

// notFound adds why there is no module for a fold, at the key that says which.
func (k *checker) notFound(fc config.Fold, err error) {
	key := moduleKey(fc)
	if fc.Module.SHA256 != "" && errors.Is(err, registry.ErrUntrusted) {
		key = "sha256"
	}
	p := fc.At("module", key)
	if errors.Is(err, registry.ErrAway) {
		p.Text = fmt.Sprintf("%s: %s", runtime.CodeModuleAway, err)
		k.coded(runtime.CodeModuleAway, p.String(), hint.Of(err), false)
		return
	}
	k.at(p, err.Error(), hint.Of(err))
}

// schema adds what is wrong with the schema that a module brings.
func (k *checker) schema(fc config.Fold, err error) {
	var problems *config.Problems
	if !errors.As(err, &problems) {
		k.problem(err)
		return
	}
	for _, p := range problems.All {
		k.at(fc.At("module", moduleKey(fc)), fmt.Sprintf("%s: its manifest's %s", modulePlace(fc), p), "mend the schema in "+config.PluginFile+" and build the module again")
	}
}

// refused adds why a module is not taken, at the key that names it; what it says of its config at that of the config.
func (k *checker) refused(fc config.Fold, err error) {
	_, text := runtime.Describe(err)
	for _, prefix := range []string{"fold " + fc.Name + ": ", "module: ", moduleFrom(fc) + ": ", "plugin: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	at := fc.At("module", moduleKey(fc))
	if strings.Contains(text, abi.ExportInit+" refuses the config") {
		at = fc.At("config")
	}
	k.at(at, modulePlace(fc)+": "+text, runtime.HintOf(err))
}

// differs adds that a fold is not any more what its rows were made with.
func (k *checker) differs(fc config.Fold, plan runtime.Plan, want string) {
	var why string
	switch id, old := plan.Configured, plan.Identity; {
	case id.Lowers(old) != "":
		why = id.Lowers(old)
	case old.Module != id.Module:
		why = fmt.Sprintf("%s; %s has the digest %s, the module before it had %s", old.Differs(id), modulePlace(fc), id.Module, old.Module)
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
