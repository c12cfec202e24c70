package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// makeFolds makes the folds of a configuration. One that cannot be made stops alone: it is there, broken.
func makeFolds(ctx context.Context, dir *store.Dir, m *modules, leftOut []string, log *slog.Logger) []*runtime.Fold {
	var folds []*runtime.Fold
	for _, fc := range m.config.Folds {
		o := m.options(m.config, fc, log)
		f, err := m.makeFold(ctx, dir, fc, o)
		if err != nil {
			f = runtime.Broken(dir, o, err)
		}
		folds = append(folds, f)
	}
	for _, name := range leftOut {
		err := hint.Error(fmt.Errorf("fold %s: its configuration has a mistake", name), "foldrun check -c %s lists what is wrong", m.config.Path)
		folds = append(folds, runtime.Broken(dir, runtime.FoldOptions{Name: name, Log: log}, &runtime.Stop{Code: runtime.CodeConfig, Err: err}))
	}
	return folds
}

func (m *modules) makeFold(ctx context.Context, dir *store.Dir, fc config.Fold, o runtime.FoldOptions) (*runtime.Fold, error) {
	module, err := m.load(ctx, fc)
	if err != nil {
		return nil, err
	}
	if err := m.links[fc.Source.NATS].err; err != nil {
		return nil, &runtime.Stop{Code: runtime.CodeConnection, Err: err}
	}
	o.Wasm = module.Wasm
	f, err := runtime.NewFold(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	m.ran(fc, module)
	return f, nil
}

// options is foldOptions of a fold that is to run.
func (m *modules) options(c *config.Config, fc config.Fold, log *slog.Logger) runtime.FoldOptions {
	o := foldOptions(c, fc, m.links[fc.Source.NATS], log)
	if m.author {
		o.AtOnce = true
	}
	return o
}

// foldOptions turns a fold of the configuration into one of the runtime's, without its module.
func foldOptions(c *config.Config, fc config.Fold, l link, log *slog.Logger) runtime.FoldOptions {
	o := runtime.FoldOptions{
		Name: fc.Name,
		Conn: l.conn,
		From: moduleFrom(fc),
		Source: source.Options{Stream: fc.Source.Stream, Bucket: fc.Source.Bucket, Domain: l.domain, Filter: fc.Source.Filter,
			KeyingMessage: fc.Source.Keying == "message", Instance: c.Instance},
		Module: plugin.Options{Memory: fc.Limits.Memory, FuelPerRecord: fc.Limits.FuelPerRecord, EntriesPerRecord: fc.Limits.EntriesPerRecord,
			BytesPerRecord: fc.Limits.BytesPerRecord, Config: fc.Config, CacheDir: moduleCache(c)},
		Collisions: map[string]store.Collisions{},
		OnError:    fc.OnError,
		Budget:     &store.Budget{Share: fc.ErrorBudget.Share, Least: fc.ErrorBudget.Keys},
		DiskQuota:  fc.DiskQuota,
		OnEvict:    fc.Source.OnEvict,
		KeepSource: fc.Source.Keep,
		OnDiverged: runtime.Divergence(fc.OnDivergence),
		Upgrade:    runtime.Upgrade(fc.Upgrade),
		Staleness:  fc.MaxStaleness,
		Jitter:     fc.BuildJitter,
		Rollback:   fc.RollbackWindow,
		Log:        log,
	}
	for _, name := range slices.Sorted(maps.Keys(fc.Gates)) {
		o.Gates = append(o.Gates, gateQuery(name, fc.Gates[name]))
	}
	for name, x := range fc.Index {
		o.Collisions[name] = store.Collisions(x.Collisions)
	}
	return o
}

func gateQuery(name string, g config.Gate) runtime.GateQuery {
	q := runtime.GateQuery{Name: name, Index: g.Index, Prefix: g.Prefix, Value: g.Value, AtLeast: uint64(g.AtLeast), AtMost: runtime.AnyNumber}
	if g.AtMost >= 0 {
		q.AtMost = uint64(g.AtMost)
	}
	if g.Key != nil {
		q.Key, q.ByKey = *g.Key, true
	}
	return q
}

// moduleCache returns the directory of compiled modules, "" for none.
func moduleCache(c *config.Config) string {
	if !c.Store.ModuleCache {
		return ""
	}
	return filepath.Join(c.DataDir, "cache")
}
