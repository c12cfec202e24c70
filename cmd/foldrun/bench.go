package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/measure"
	"github.com/foldrun/foldrun/runtime/rig"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	measure.Options
	quick, asJSON bool
	svg           string
	timeout       time.Duration
}

func benchCommand() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine, or a NATS server of yours",
		Long: `Start a JetStream server in a process of its own, fill a KV bucket, and measure in interleaved rounds: a bare ordered
consumer that only counts, the same again, which says how noisy the machine is, and a fold of the bucket by a module that
re-keys it, with all that foldrun does by default. Then the time from a put to its row, beside a KV watcher, and reads of
rows, beside gets of the bucket. Each store is checked.

Each figure is printed with its ratio to what it is beside: 1 is as fast, 2 is twice as fast. A bar is what the ratio
should reach on a machine that is not busy, with the updates of the default; to miss one is no failure.

With --nats-url or --context that server is measured, in a bucket foldrun_bench_… that is made for it and removed at the end.
Everything else is in a temporary directory foldrun-bench-…, which is removed too: name with --temp-dir one on the disk
that is to be measured. Ctrl-C ends it early, without figures and with exit code 1.`,
		Example: "  foldrun bench\n  foldrun bench --quick --temp-dir /var/lib/foldrun\n  foldrun bench --nats-url nats://nats.example:4222 --json --svg ratios.svg",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	c.Flags().IntVar(&f.Updates, "updates", 1_000_000, "updates to fill the bucket with, each of another key")
	c.Flags().IntVar(&f.Rounds, "rounds", 3, "interleaved rounds")
	c.Flags().BoolVar(&f.quick, "quick", false, "100,000 updates and one round, where the flags do not say otherwise")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print a JSON object a figure")
	c.Flags().StringVar(&f.svg, "svg", "", "write a chart of the ratios to this file")
	c.Flags().StringVar(&f.Target.URL, "nats-url", "", "measure this server, not one that is started for it")
	c.Flags().StringVar(&f.Target.Context, "context", "", "measure the server of this context of the nats command")
	c.Flags().StringVar(&f.Target.Creds, "creds", "", "credentials file for --nats-url or --context")
	c.Flags().StringVar(&f.Dir, "temp-dir", "", "where the temporary directory is made; default: the system's")
	c.Flags().DurationVar(&f.timeout, "timeout", 15*time.Minute, "give up after this time")
	c.MarkFlagFilename("svg", "svg")
	c.MarkFlagFilename("creds")
	c.MarkFlagDirname("temp-dir")
	c.AddCommand(brokerCommand())
	return c
}

// brokerCommand is the server that bench starts. A Ctrl-C is sent to it as well; it ends when bench does.
func brokerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "broker DIR",
		Short:  "Run the JetStream server of bench until standard input ends",
		Hidden: true,
		Args:   arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
			return rig.Serve(args[0], c.InOrStdin(), c.OutOrStdout())
		},
	}
}

func (f *benchFlags) run(c *cobra.Command) error {
	if err := f.complete(c); err != nil {
		return err
	}
	ctx, stop := graceful(c.Context(), slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, hint.Error(fmt.Errorf("it is not done after %s", f.timeout), "give fewer --updates or a longer --timeout"))
	defer cancel()
	figures, err := measure.Run(ctx, f.Options)
	if figures == nil {
		return err
	}
	err = errors.Join(err, f.print(c.OutOrStdout(), figures))
	if f.svg != "" {
		err = errors.Join(err, writeChart(f.svg, figures))
	}
	return err
}

// complete checks the flags, and fills in what they leave open.
func (f *benchFlags) complete(c *cobra.Command) error {
	if err := exclusive(c, "nats-url", "context"); err != nil {
		return err
	}
	f.Puts, f.Reads = 5000, 20_000
	if f.quick {
		f.Puts, f.Reads = 1000, 5000
		if !c.Flags().Changed("updates") {
			f.Updates = 100_000
		}
		if !c.Flags().Changed("rounds") {
			f.Rounds = 1
		}
	}
	switch {
	case f.Updates < measure.MinUpdates:
		return hint.Error(misuse{fmt.Errorf("--updates is %d", f.Updates)}, "give at least %d", measure.MinUpdates)
	case f.Rounds < 1:
		return hint.Error(misuse{fmt.Errorf("--rounds is %d", f.Rounds)}, "give at least 1")
	case f.timeout <= 0:
		return hint.Error(misuse{fmt.Errorf("--timeout is %s", f.timeout)}, "give a time above 0, such as 15m")
	case f.Target.Creds != "" && f.Target.URL == "" && f.Target.Context == "":
		return hint.Error(misuse{errors.New("--creds names no server")}, "give --nats-url or --context too")
	}
	f.Memory, _ = config.Default().Store.Budget()
	f.Tell = func(text string) { line(c.ErrOrStderr(), "note", text, "") }
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	f.Broker = func(dir string) *exec.Cmd {
		return &exec.Cmd{Path: exe, Args: []string{os.Args[0], "bench", "broker", dir}, Stderr: c.ErrOrStderr()}
	}
	return nil
}

func (f *benchFlags) print(w io.Writer, figures []measure.Figure) error {
	if !f.asJSON {
		return measure.Table(w, figures)
	}
	e := json.NewEncoder(w)
	for _, x := range figures {
		if err := e.Encode(x); err != nil {
			return err
		}
	}
	return nil
}

func writeChart(path string, figures []measure.Figure) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(measure.Chart(out, figures), out.Close())
}
