package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/registry"
)

// modules finds the modules of a configuration's folds.
type modules struct {
	config   *config.Config
	links    map[string]link
	registry registry.Registry
	log      *slog.Logger
	loaded   map[string]string // by fold, the sha256 of what it was made with; none for one that could not be
	author   bool              // see foldRun
}

func newModules(c *config.Config, links map[string]link, log *slog.Logger) *modules {
	return &modules{config: c, links: links, log: log, loaded: map[string]string{},
		registry: registry.Registry{Trusted: c.TrustedKeys, Dir: filepath.Join(c.DataDir, "modules"), Log: log}}
}

// onlyLooking is newModules for who writes nothing and runs nothing.
func onlyLooking(c *config.Config, links map[string]link) *modules {
	m := newModules(c, links, nil)
	m.registry.ReadOnly = true
	return m
}

// moduleKey is the key that says where a fold's module is.
func moduleKey(fc config.Fold) string {
	if fc.Module.Object != "" {
		return "object"
	}
	return "path"
}

// modulePlace is where a fold's module is.
func modulePlace(fc config.Fold) string { return fc.Module.Path + fc.Module.Object }

// moduleAt is the place of the key that says so, as foldrun.toml:7: fold.users.module.path.
func moduleAt(fc config.Fold) string {
	return strings.TrimSuffix(fc.At("module", moduleKey(fc)).String(), ": ")
}

// moduleFrom is where a fold's module is, after the place of the key that says so.
func moduleFrom(fc config.Fold) string { return moduleAt(fc) + ": " + modulePlace(fc) }

func wanted(fc config.Fold) registry.Wanted {
	return registry.Wanted{Fold: fc.Name, Path: fc.Module.Path, Object: fc.Module.Object, SHA256: fc.Module.SHA256}
}

// objects returns the object stores that a fold's module may lie in: those of its source's connection.
func (m *modules) objects(fc config.Fold) registry.Objects {
	l := m.links[fc.Source.NATS]
	return registry.Objects{Conn: l.conn, Domain: l.domain}
}

// load returns the module of a fold, whose config is what the module's schema asks for. Its error is a *runtime.Stop.
func (m *modules) load(ctx context.Context, fc config.Fold) (registry.Module, error) {
	module, err := m.registry.Load(ctx, wanted(fc), m.objects(fc))
	if err != nil {
		return module, &runtime.Stop{Code: moduleCode(err), Err: fmt.Errorf("fold %s: module: %s: %w", fc.Name, moduleAt(fc), err)}
	}
	return module, configError(fc, module.Wasm)
}

func moduleCode(err error) string {
	switch {
	case errors.Is(err, registry.ErrAway):
		return runtime.CodeModuleAway
	case errors.Is(err, registry.ErrUntrusted):
		return runtime.CodeUntrusted
	}
	return runtime.CodeModule
}

// ran notes that a fold runs a module.
func (m *modules) ran(fc config.Fold, module registry.Module) {
	m.loaded[fc.Name] = module.SHA256
	if err := m.registry.Ran(wanted(fc), module); err != nil {
		m.log.Warn("which module runs is not noted: a start with NATS away, or with a lower version, would not know", "fold", fc.Name, "err", err)
	}
}

// checkTrusted says what is wrong with trusted_keys.
func checkTrusted(c *config.Config) error {
	for _, key := range c.TrustedKeys {
		if err := registry.CheckKey(key); err != nil {
			p := c.At("trusted_keys")
			p.Text, p.Hint = err.Error(), hint.Of(err)
			return p.Err()
		}
	}
	return nil
}
