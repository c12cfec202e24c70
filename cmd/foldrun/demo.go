package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client/natsdoor"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/demo"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	var logs logFlags
	var listen string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run three folds over a real data set, with a NATS server of its own",
		Long: `Start a JetStream server in this process, load 34,006 cities (GeoNames) into a KV bucket, and run three folds over
it: a filter, a re-key and a projection. Then show what each index holds and how to query it, and go on following
the bucket until Ctrl-C.

Without --data-dir everything is temporary, in a directory foldrun-demo-… of the system's temporary one, which is removed
at the end; a demo that is killed leaves it there. With --data-dir a second start resumes where the first one ended.`,
		Example: "  foldrun demo\n  foldrun demo --once --data-dir ./demo",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logs.open(c.ErrOrStderr())
			if err != nil {
				return err
			}
			ctx, stop := graceful(c.Context(), log)
			defer stop()
			o.Out, o.Log, o.Terminal, o.Command = c.OutOrStdout(), log, isTerminal(c.OutOrStdout()), called()
			return runDemo(ctx, o, listen, log)
		},
	}
	c.Flags().StringVar(&o.DataDir, "data-dir", "", "where to keep the server's streams and the indexes; default: a temporary directory")
	c.Flags().BoolVar(&o.Once, "once", false, "end after the load")
	c.Flags().Uint16Var(&o.NATSPort, "nats-port", 0, "where the NATS server listens, on 127.0.0.1; 0 picks one")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "where to answer queries; port 0 picks one")
	c.MarkFlagDirname("data-dir")
	logs.flags(c)
	c.Flags().Lookup("log-level").DefValue = "warn"
	c.Flags().Set("log-level", "warn")
	return c
}

func runDemo(ctx context.Context, o demo.Options, listen string, log *slog.Logger) error {
	listener, err := serve.Listen(listen, false)
	if err != nil {
		return hint.Error(err, "give --listen an address of this machine with a free port, such as 127.0.0.1:0, which picks one")
	}
	at := doors{main: listener}
	defer at.close()
	o.Host = func(ctx context.Context, dir *store.Dir, folds []*runtime.Fold, server string) error {
		queries := natsDoor{subject: natsdoor.Subject}
		if queries.conn, queries.err = source.Connect(source.Target{URL: server, Name: "foldrun demo, queries"}, log); queries.err != nil {
			log.Error("queries over NATS are not answered", "problem", queries.err)
		}
		defer queries.close()
		h := host{dir, at, queries, "demo", nil, log}
		return h.run(ctx, folds)
	}
	o.URL = at.url()
	return demo.Run(ctx, o)
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	i, err := f.Stat()
	return err == nil && i.Mode()&os.ModeCharDevice != 0
}

// called returns how the user calls foldrun: a binary that `go run` built is gone when it ends.
func called() string {
	path, err := os.Executable()
	if err != nil || strings.Contains(path, string(filepath.Separator)+"go-build") {
		return "go run ./cmd/foldrun"
	}
	return os.Args[0]
}
