package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
)

func checkCommand() *cobra.Command {
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say all that is wrong with a configuration",
		Long: `Say all that is wrong with a configuration: the file and its includes, the modules, the memory budget, the data
directory, the address, the connections to NATS and the streams. Nothing is changed, and a foldrun that runs is not
disturbed. Exit 1 if anything is wrong; what may mend itself, as a server that is away, is a warning.`,
		Example: "  foldrun check -c foldrun.toml",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			k := newChecker(path)
			k.run(c.Context())
			if asJSON {
				return k.printJSON(c.OutOrStdout())
			}
			return k.print(c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.MarkFlagFilename("config", "toml")
	return c
}

// A finding is something that is wrong, or may be.
type finding struct {
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// checker looks at everything that a configuration leads to.
type checker struct {
	path    string
	config  *config.Config
	leftOut []string
	links   map[string]link
	running bool // a foldrun has the data directory

	facts              []string
	problems, warnings []finding
}

func newChecker(path string) *checker { return &checker{path: path} }

func (k *checker) problem(err error) {
	k.problems = append(k.problems, finding{err.Error(), hint.Of(err)})
}

func (k *checker) warn(err error) {
	k.warnings = append(k.warnings, finding{err.Error(), hint.Of(err)})
}

func (k *checker) fact(format string, args ...any) {
	k.facts = append(k.facts, fmt.Sprintf(format, args...))
}

func (k *checker) run(ctx context.Context) {
	k.load()
	k.memory()
	k.dataDir(ctx)
	k.address()
	k.links = connect(k.config, true, slog.New(slog.DiscardHandler))
	defer closeLinks(k.links)
	for _, fc := range k.config.Folds {
		k.fold(ctx, fc)
	}
	k.nats(ctx)
}

func (k *checker) load() {
	c, err := config.Load(k.path)
	k.config = c
	var problems *config.Problems
	if !errors.As(err, &problems) {
		return
	}
	k.leftOut = problems.LeftOut
	for _, p := range problems.All {
		k.problems = append(k.problems, finding{p.String(), p.Hint})
	}
}

const mib = 1 << 20

func (k *checker) memory() {
	m, from, err := splitMemory(k.config, len(k.config.Folds)+len(k.leftOut))
	if err != nil {
		k.problem(err)
		return
	}
	k.fact("memory: %d MiB, %s", m.Total/mib, from)
	k.fact("memory: block cache %d MiB, memtables %d MiB, batches %d MiB, modules %d MiB, for %d folds",
		m.Cache/mib, m.Memtables()/mib, m.Slabs()/mib, m.Instances/mib, m.Folds)
}

// fold tries a fold's module, as a start would.
func (k *checker) fold(ctx context.Context, fc config.Fold) {
	o, err := foldOptions(k.config, fc, k.links[fc.Source.NATS], nil)
	if err != nil {
		k.stopped(err)
		return
	}
	id, err := runtime.Try(ctx, o)
	if err != nil {
		k.stopped(err)
		return
	}
	want, err := id.Generation()
	if err != nil {
		k.problem(err)
		return
	}
	k.fact("fold %s: module %s of %d indexes, generation %s", fc.Name, id.Module[:12], len(id.Indexes), want)
	if have := k.current(fc.Name); have != "" && have != want {
		k.warn(hint.Error(fmt.Errorf("fold %s: module or configuration make it generation %s, current is %s: it would stop with %s, and %s go on answering",
			fc.Name, want, have, runtime.CodeIdentity, have), "put the old module and configuration back, or remove the fold's directory to build it anew"))
	}
}

// stopped adds why a fold would stop, without the code.
func (k *checker) stopped(err error) {
	_, text := runtime.Describe(err)
	k.problems = append(k.problems, finding{text, runtime.HintOf(err)})
}

func (k *checker) print(stdout, stderr io.Writer) error {
	for _, f := range k.facts {
		fmt.Fprintln(stdout, f)
	}
	for _, w := range k.warnings {
		line(stderr, "warning", w.Text, w.Hint)
	}
	for _, p := range k.problems {
		line(stderr, "error", p.Text, p.Hint)
	}
	if len(k.problems) > 0 {
		return errFailed
	}
	fmt.Fprintf(stdout, "%s: ok\n", k.path)
	return nil
}

func (k *checker) printJSON(stdout io.Writer) error {
	reply := struct {
		OK       bool      `json:"ok"`
		Problems []finding `json:"problems"`
		Warnings []finding `json:"warnings"`
		Facts    []string  `json:"facts"`
	}{len(k.problems) == 0, append([]finding{}, k.problems...), append([]finding{}, k.warnings...), append([]string{}, k.facts...)}
	if err := json.NewEncoder(stdout).Encode(reply); err != nil {
		return err
	}
	if len(k.problems) > 0 {
		return errFailed
	}
	return nil
}
