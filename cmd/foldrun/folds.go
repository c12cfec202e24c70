package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// makeFolds makes the folds of a configuration. One that cannot be made stops alone: it is there, broken.
func makeFolds(ctx context.Context, dir *store.Dir, c *config.Config, leftOut []string, links map[string]link, log *slog.Logger) []*runtime.Fold {
	var folds []*runtime.Fold
	for _, fc := range c.Folds {
		f, err := makeFold(ctx, dir, c, fc, links[fc.Source.NATS], log)
		if err != nil {
			f = runtime.Broken(dir, runtime.FoldOptions{Name: fc.Name, Staleness: fc.MaxStaleness, Log: log}, err)
		}
		folds = append(folds, f)
	}
	for _, name := range leftOut {
		err := hint.Error(fmt.Errorf("fold %s: its configuration has a mistake", name), "foldrun check -c %s lists what is wrong", c.Path)
		folds = append(folds, runtime.Broken(dir, runtime.FoldOptions{Name: name, Log: log}, &runtime.Stop{Code: runtime.CodeConfig, Err: err}))
	}
	return folds
}

func makeFold(ctx context.Context, dir *store.Dir, c *config.Config, fc config.Fold, l link, log *slog.Logger) (*runtime.Fold, error) {
	o, err := foldOptions(c, fc, l, log)
	if err != nil {
		return nil, err
	}
	if err := configError(fc, o.Wasm); err != nil {
		return nil, err
	}
	if l.err != nil {
		return nil, &runtime.Stop{Code: runtime.CodeConnection, Err: l.err}
	}
	return runtime.NewFold(ctx, dir, o)
}

// foldOptions turns a fold of the configuration into one of the runtime's, with the module's bytes. Its error is a
// *runtime.Stop.
func foldOptions(c *config.Config, fc config.Fold, l link, log *slog.Logger) (o runtime.FoldOptions, err error) {
	o = runtime.FoldOptions{
		Name: fc.Name,
		Conn: l.conn,
		Source: source.Options{Stream: fc.Source.Stream, Bucket: fc.Source.Bucket, Domain: l.domain, Filter: fc.Source.Filter,
			KeyingMessage: fc.Source.Keying == "message", Instance: c.Instance},
		Module: plugin.Options{Memory: fc.Limits.Memory, FuelPerRecord: fc.Limits.FuelPerRecord, EntriesPerRecord: fc.Limits.EntriesPerRecord,
			BytesPerRecord: fc.Limits.BytesPerRecord, Config: fc.Config, CacheDir: moduleCache(c)},
		Collisions: map[string]store.Collisions{},
		OnError:    fc.OnError,
		Budget:     &store.Budget{Share: fc.ErrorBudget.Share, Least: fc.ErrorBudget.Keys},
		OnEvict:    fc.Source.OnEvict,
		OnDiverged: runtime.Divergence(fc.OnDivergence),
		Upgrade:    runtime.Upgrade(fc.Upgrade),
		Staleness:  fc.MaxStaleness,
		Rollback:   fc.RollbackWindow,
		Log:        log,
	}
	for name, x := range fc.Index {
		o.Collisions[name] = store.Collisions(x.Collisions)
	}
	if o.Wasm, err = readModule(fc.Module); err != nil {
		return o, &runtime.Stop{Code: runtime.CodeModule, Err: fmt.Errorf("fold %s: module: %w", fc.Name, err)}
	}
	return o, nil
}

// moduleCache returns the directory of compiled modules, "" for none.
func moduleCache(c *config.Config) string {
	if !c.Store.ModuleCache {
		return ""
	}
	return filepath.Join(c.DataDir, "cache")
}

func readModule(m config.Module) ([]byte, error) {
	wasm, err := os.ReadFile(m.Path)
	if err != nil {
		return nil, hint.Error(err, "build the module, or correct module.path")
	}
	sum := sha256.Sum256(wasm)
	if is := hex.EncodeToString(sum[:]); m.SHA256 != "" && m.SHA256 != is {
		return nil, hint.Error(fmt.Errorf("%s has the sha256 %s, not %s", m.Path, is, m.SHA256), "put the right file there, or correct module.sha256")
	}
	return wasm, nil
}
