package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// A moduleDiff compares what two modules make of the same records.
type moduleDiff struct {
	path, fold, nats, from string
	keying, filter         string
	oldConfig, newConfig   string // files
	samples                int
	asJSON                 bool
	stderr                 io.Writer
}

func diffCommand() *cobra.Command {
	var x moduleDiff
	c := &cobra.Command{
		Use:   "diff [OLD.wasm] [NEW.wasm]",
		Short: "Say which rows another module would change",
		Long: `Put the live records of a bucket, a stream or a file through two modules, and say which rows would appear, disappear and change,
and which records would newly fail: what an upgrade from the one to the other would do. No store is built, and nothing is changed.

With --fold the old module is the one that makes the generation which serves, with its config and limits, and the new one is
NEW.wasm, or else the module that is configured, with what is configured now; the records are those of the fold's source.

--from is bucket:NAME or stream:NAME, of the NATS connection that -c has, or else $NATS_URL or the context; or a file: a test of
'foldrun plugin test' (.txtar), or else a JSON object a line, with key and value, and if need be op (put, delete, purge), subject, headers,
seq and time. A value is a string, {"base64": "…"}, or any other JSON, which is taken as it is written. The last record of a key counts.

Exit 3 if anything differs.`,
		Example: "  foldrun diff --fold users new.wasm -c foldrun.toml\n  foldrun diff old.wasm new.wasm --from bucket:users\n  foldrun diff old.wasm new.wasm --from testdata/cities.txtar --json",
		Args:    arguments(cobra.MaximumNArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			x.stderr = c.ErrOrStderr()
			report, err := x.run(c.Context(), args)
			if err != nil {
				return err
			}
			if x.asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(diffJSON(report))
			} else {
				_, err = io.WriteString(c.OutOrStdout(), diffText(report))
			}
			if err == nil && !report.Same() {
				err = errDifferent
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVarP(&x.path, "config", "c", "", "configuration file, with the fold or the connection (default "+defaultConfig+", if there is one)")
	f.StringVar(&x.fold, "fold", "", "compare with the generation of this fold that serves")
	f.StringVar(&x.from, "from", "", "the records: bucket:NAME, stream:NAME, or a file (default the fold's source)")
	f.StringVar(&x.nats, "nats", config.DefaultFold("").Source.NATS, "the connection of the configuration that has the bucket or stream")
	f.StringVar(&x.keying, "keying", "subject", "what a record of a stream or file is of: subject, or message")
	f.StringVar(&x.filter, "filter", "", "only keys or subjects that match")
	f.StringVar(&x.oldConfig, "old-config", "", "JSON file with the config of the old module")
	f.StringVar(&x.newConfig, "new-config", "", "JSON file with the config of the new module (default the old one's)")
	f.IntVar(&x.samples, "samples", 3, "rows to show of each kind, of each index")
	f.BoolVar(&x.asJSON, "json", false, "print JSON")
	c.MarkFlagFilename("config", "toml")
	return c
}

// misused says what is wrong with the command line.
func (x *moduleDiff) misused(args []string) error {
	switch {
	case x.fold == "" && len(args) != 2:
		return hint.Error(misuse{errors.New("two modules are compared")}, "foldrun diff OLD.wasm NEW.wasm --from bucket:NAME; or --fold FOLD, which has the old one")
	case x.fold == "" && x.from == "":
		return hint.Error(misuse{errors.New("it is not said what to transform")}, "give --from bucket:NAME, stream:NAME or a file; or --fold, which has its source")
	case x.fold != "" && len(args) > 1:
		return hint.Error(misuse{errors.New("--fold has the old module")}, "foldrun diff --fold %s NEW.wasm", x.fold)
	case x.fold != "" && (x.oldConfig != "" || x.filter != ""):
		return hint.Error(misuse{errors.New("--old-config and --filter are of modules without --fold")}, "--fold has them from the generation that serves")
	case x.keying != "subject" && x.keying != "message":
		return hint.Error(misuse{fmt.Errorf("--keying %q", x.keying)}, "write subject or message")
	case x.samples < 0:
		return hint.Error(misuse{fmt.Errorf("--samples %d", x.samples)}, "0 shows none")
	}
	return nil
}

func (x *moduleDiff) run(ctx context.Context, args []string) (*runtime.DiffReport, error) {
	if err := x.misused(args); err != nil {
		return nil, err
	}
	c, err := x.load()
	if err != nil {
		return nil, err
	}
	cache, err := os.MkdirTemp("", "foldrun-modules-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(cache)
	r := &records{config: c, nats: x.nats, stderr: x.stderr}
	var before, after runtime.DiffModule
	if x.fold != "" {
		before, after, err = x.ofFold(ctx, args, r)
	} else {
		before, after, err = x.ofFiles(args, r)
	}
	if err != nil {
		return nil, err
	}
	before.Options.CacheDir, after.Options.CacheDir = cache, cache
	if err := r.open(ctx, x.from); err != nil {
		return nil, err
	}
	defer r.close()
	if r.given != nil && x.oldConfig == "" && x.fold == "" { // a test's
		before.Options.Config = r.given
		if x.newConfig == "" {
			after.Options.Config = r.given
		}
	}
	d, err := runtime.NewDiffer(ctx, before, after, runtime.DiffOptions{Samples: x.samples, Clock: r.clock})
	if err != nil {
		_, text := runtime.Describe(err)
		return nil, hint.Error(errors.New(text), "%s", runtime.HintOf(err))
	}
	err = r.each(ctx, func(b *source.Batch) error { return d.Add(ctx, b) })
	return d.Report(), errors.Join(err, d.Close(ctx))
}

// load reads the configuration, if one is given or here.
func (x *moduleDiff) load() (*config.Config, error) {
	path := x.path
	if path == "" {
		if _, err := os.Stat(defaultConfig); err != nil && x.fold == "" {
			return config.Default(), nil
		}
		path = defaultConfig
	}
	c, err := config.Load(path)
	var problems *config.Problems
	if errors.As(err, &problems) && !problems.Fatal() {
		return c, nil
	}
	return c, err
}

// ofFiles returns two modules with the limits of a test: see testOptions.
func (x *moduleDiff) ofFiles(args []string, r *records) (before, after runtime.DiffModule, err error) {
	r.source = source.Options{Filter: x.filter, KeyingMessage: x.keying == "message"}
	configs := [2]string{x.oldConfig, x.newConfig}
	if configs[1] == "" {
		configs[1] = configs[0]
	}
	for i, m := range []*runtime.DiffModule{&before, &after} {
		if m.Wasm, err = os.ReadFile(args[i]); err != nil {
			return before, after, err
		}
		o, err := testOptions(m.Wasm, "")
		if err != nil {
			return before, after, fmt.Errorf("%s: %w", args[i], err)
		}
		m.Options = o.Module
		if m.Options.Config, err = configFile(configs[i]); err != nil {
			return before, after, err
		}
	}
	return before, after, nil
}

// configFile reads a file of a module's config.
func configFile(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err == nil && !json.Valid(b) {
		err = hint.Error(fmt.Errorf("%s is not JSON", name), "write what [fold.NAME.config] would hold, as JSON")
	}
	return b, err
}

// ofFold returns the module that makes the generation of a fold which serves, and what would replace it.
func (x *moduleDiff) ofFold(ctx context.Context, args []string, r *records) (before, after runtime.DiffModule, err error) {
	var names []string
	for _, fc := range r.config.Folds {
		if names = append(names, fc.Name); fc.Name != x.fold {
			continue
		}
		return x.foldModules(ctx, fc, append(args, "")[0], r)
	}
	return before, after, hint.Error(misuse{fmt.Errorf("%s has no fold %q", r.config.Path, x.fold)}, "it has %s", quoted(names))
}

func (x *moduleDiff) foldModules(ctx context.Context, fc config.Fold, file string, r *records) (before, after runtime.DiffModule, err error) {
	c := r.config
	peek, err := store.PeekAt(c.DataDir, fc.Name)
	if err == nil && peek.Current == "" {
		err = hint.Error(fmt.Errorf("fold %s has no generation in %s", fc.Name, c.DataDir), "compare two modules: foldrun diff OLD.wasm NEW.wasm --from bucket:NAME")
	}
	if err != nil {
		return before, after, err
	}
	if before.Wasm, err = peek.Module(); err != nil {
		return before, after, err
	}
	before.Options.Config = peek.Identity.Config
	before.Options.SetLimits(peek.Identity.Limits)
	o := foldOptions(c, fc, link{domain: c.NATS[fc.Source.NATS].Domain}, nil)
	if o.Wasm, err = configuredOr(ctx, c, fc, file); err == nil && x.newConfig == "" {
		err = configError(fc, o.Wasm)
	}
	if err != nil {
		_, text := runtime.Describe(err)
		return before, after, hint.Error(errors.New(text), "%s", runtime.HintOf(err))
	}
	after = runtime.DiffModule{Wasm: o.Wasm, Options: o.Module}
	if x.newConfig != "" {
		if after.Options.Config, err = configFile(x.newConfig); err != nil {
			return before, after, err
		}
	}
	r.source, r.nats = o.Source, fc.Source.NATS
	return before, after, sameSource(peek.Identity, o.Source, fc.Name)
}

// configuredOr reads the module in file, or else the one that is configured.
func configuredOr(ctx context.Context, c *config.Config, fc config.Fold, file string) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	links := map[string]link{}
	if fc.Module.Object != "" {
		links[fc.Source.NATS] = connectOne(c, fc.Source.NATS, true, slog.New(slog.DiscardHandler))
		defer closeLinks(links)
	}
	module, err := onlyLooking(c, links).load(ctx, fc)
	return module.Wasm, err
}

// sameSource refuses to compare rows of other records.
func sameSource(id store.Identity, o source.Options, fold string) error {
	stream, filter := o.Stream, o.Filter
	if o.Bucket != "" {
		stream = "KV_" + o.Bucket
	}
	if filter == "" {
		filter = ">"
	}
	if stream == id.Stream && filter == id.Filter && (id.Keying == store.KeyingKey) == (o.Bucket != "") && (id.Keying == store.KeyingMessage) == o.KeyingMessage {
		return nil
	}
	return hint.Error(fmt.Errorf("fold %s: what is configured folds other records than the generation that serves: stream %s, filter %s, keying %s",
		fold, id.Stream, id.Filter, id.Keying), "compare the modules alone: foldrun diff OLD.wasm NEW.wasm --from %s", "stream:"+stream)
}
