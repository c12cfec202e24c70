package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// startWait is how long a start waits for a reader of the data directory to end.
const startWait = 5 * time.Second

func runCommand() *cobra.Command {
	var path string
	var watch bool
	var logs logFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Run all folds and answer queries",
		Long: `Run all folds of a configuration and answer queries over HTTP, until SIGINT or SIGTERM: then each fold finishes its
batch, and foldrun ends with 0. A second signal, half a second later or more, ends it at once; it loses nothing by that,
but starts a little further back.

A fold that cannot run, for its module or its configuration, stops alone: status and the log say why.

With --watch, for authors, a module that is built again is taken, and so is a change of the configuration: everything stops
and starts anew within a moment. The index of a new module is built beside the old one, which answers until then. A module
that would be refused is told, and the old one stays.`,
		Example: "  foldrun run -c foldrun.toml\n  foldrun run --watch\n  foldrun run -c /etc/foldrun/foldrun.toml --log-format json",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logs.open(c.ErrOrStderr())
			if err != nil {
				return err
			}
			hangups := make(chan os.Signal, 1) // one that comes while foldrun starts waits
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			ctx, stop := graceful(c.Context(), log)
			defer stop()
			go runtime.BoundGarbage(ctx)
			r := foldRun{path: path, author: watch, log: log, hangups: hangups}
			if watch {
				return (&runWatch{foldRun: r}).watch(ctx)
			}
			return r.run(ctx)
		},
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	c.Flags().BoolVar(&watch, "watch", false, "for authors: start anew when a module or the configuration changes")
	c.MarkFlagFilename("config", "toml")
	logs.flags(c)
	return c
}

// A foldRun is how the folds of a configuration are run.
type foldRun struct {
	path    string
	author  bool // somebody waits for what comes of a change: builds are not spread over build_jitter
	log     *slog.Logger
	hangups <-chan os.Signal
}

func (r *foldRun) run(ctx context.Context) (err error) {
	log := r.log
	c, leftOut, err := loadToRun(r.path, log)
	if err != nil {
		return err
	}
	dir, err := openDir(c, len(c.Folds)+len(leftOut), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	at, err := openDoors(c, log)
	if err != nil {
		return err
	}
	links := connect(c, false, log)
	defer closeLinks(links)
	queries := openNATSDoor(c, false, log)
	defer queries.close()
	m := newModules(c, links, log)
	m.author = r.author
	h := host{dir, at, queries, c.Instance, &reloader{dir: dir, modules: m, log: log, hangups: r.hangups, now: c}, log}
	return h.run(ctx, makeFolds(ctx, dir, m, leftOut, log))
}

// named refuses an empty path, as a variable that is not set gives it.
func named(path string) error {
	if path == "" {
		return hint.Error(misuse{errors.New("-c is empty")}, "name the configuration file, or leave -c out for %s", defaultConfig)
	}
	return nil
}

// loadToRun reads a configuration. It goes on without the folds of an included file that has a mistake, and returns
// their names.
func loadToRun(path string, log *slog.Logger) (c *config.Config, leftOut []string, err error) {
	if err := named(path); err != nil {
		return nil, nil, err
	}
	c, err = config.Load(path)
	var problems *config.Problems
	if errors.As(err, &problems) {
		if problems.Fatal() {
			return nil, nil, err
		}
		for _, p := range problems.All {
			log.Error("configuration", "problem", p.String(), "hint", p.Hint)
		}
		leftOut = problems.LeftOut
	}
	if err := checkTrusted(c); err != nil {
		return nil, nil, err
	}
	folds := len(c.Folds) + len(leftOut)
	if folds == 0 {
		err := noFolds(c)
		log.Warn("no folds", "problem", err, "hint", hint.Of(err))
	}
	need := needFiles(c, folds)
	limit, err := need.judge()
	if err != nil && limit < need.least() {
		return nil, nil, err
	}
	if err != nil {
		log.Warn("few open files", "problem", err, "hint", hint.Of(err))
	}
	return c, leftOut, nil
}

// openDir opens the data directory with the configuration's memory budget.
func openDir(c *config.Config, folds int, log *slog.Logger) (*store.Dir, error) {
	memory, from, err := splitMemory(c, folds)
	if err != nil {
		return nil, err
	}
	dir, err := store.OpenDir(c.DataDir, store.Options{Memory: memory, Sync: store.Sync(c.Store.Sync),
		MinFreeDisk: c.Store.MinFreeDisk, LockWait: startWait, Log: log})
	if err != nil {
		return nil, err
	}
	log.Info("memory", "total", memory.Total, "from", from, "cache", memory.Cache, "memtables", memory.Memtables(),
		"batches", memory.Slabs(), "modules", memory.Instances)
	if err := forgetAddress(c.DataDir); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func splitMemory(c *config.Config, folds int) (m store.Memory, from string, err error) {
	total, from := c.Store.Budget()
	m, err = store.SplitMemory(total, folds, c.Store.CacheSize)
	if err != nil {
		err = fmt.Errorf("%w (it is %s)", err, from)
	}
	return m, from, err
}
