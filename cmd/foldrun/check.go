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
)

func checkCommand() *cobra.Command {
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say all that is wrong with a configuration",
		Long: `Say all that is wrong with a configuration: the file and its includes, the modules and their config, the memory
budget, the data directory and what it holds, the address, the connections to NATS and the streams. Nothing is changed,
but for a file that is made in the data directory, or where it would be made, and removed at once; a foldrun that runs is
not disturbed. A store of up to 64 MiB is read whole; foldrun verify reads them all.

Exit 1 if anything is wrong; what may mend itself, as a server that is away, is a warning.`,
		Example: "  foldrun check -c foldrun.toml",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := named(path); err != nil {
				return err
			}
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
	Code string `json:"code,omitempty"` // of docs/runbook.md, if a start would find it and it has one
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// checker looks at everything that a configuration leads to.
type checker struct {
	path     string
	config   *config.Config
	mistakes config.Problems // of the files
	links    map[string]link
	running  bool            // a foldrun has the data directory
	kept     map[string]kept // what the data directory has, by fold

	facts              []string
	problems, warnings []finding
}

func newChecker(path string) *checker { return &checker{path: path, kept: map[string]kept{}} }

func (k *checker) problem(err error) {
	k.problems = append(k.problems, finding{Text: err.Error(), Hint: hint.Of(err)})
}

func (k *checker) warn(err error) {
	k.warnings = append(k.warnings, finding{Text: err.Error(), Hint: hint.Of(err)})
}

// at adds what is wrong with a key of a file.
func (k *checker) at(p config.Problem, text, hint string) {
	p.Text = text
	k.problems = append(k.problems, finding{Text: p.String(), Hint: hint})
}

// coded adds what a start would find, with its code in the text: as a problem when the fold would stop for it.
func (k *checker) coded(code, text, hint string, stops bool) {
	f := finding{code, text, hint}
	if stops {
		k.problems = append(k.problems, f)
		return
	}
	k.warnings = append(k.warnings, f)
}

func (k *checker) fact(format string, args ...any) {
	k.facts = append(k.facts, fmt.Sprintf(format, args...))
}

func (k *checker) run(ctx context.Context) {
	if !k.load() {
		return // nothing is known of what the file says
	}
	k.memory()
	k.openFiles()
	if err := checkTrusted(k.config); err != nil {
		k.problem(err)
	}
	if k.said(k.config.DataDir != config.Default().DataDir) {
		k.dataDir(ctx)
	}
	k.access()
	k.addresses()
	k.connect()
	defer closeLinks(k.links)
	for _, fc := range k.config.Folds {
		k.fold(ctx, fc)
	}
	for _, fc := range k.mistakes.Folds {
		k.leftOut(ctx, fc)
	}
	k.nats(ctx)
	k.queries(ctx)
}

// connect tries the connections that folds use, those of folds with a mistake too.
func (k *checker) connect() {
	log := slog.New(slog.DiscardHandler)
	k.links = connect(k.config, true, log)
	for _, name := range k.mistakes.NATS {
		_, tried := k.links[name]
		if _, have := k.config.NATS[name]; !tried && (have || name == config.DefaultFold("").Source.NATS) {
			k.links[name] = connectOne(k.config, name, true, log)
		}
	}
}

// said reports whether a value is the file's, or meant: of a main file with mistakes a default may be one of them.
func (k *checker) said(other bool) bool { return other || !k.mistakes.Fatal() }

// load reads the configuration, and reports whether that could be done.
func (k *checker) load() bool {
	c, err := config.Load(k.path)
	k.config = c
	var problems *config.Problems
	if errors.As(err, &problems) {
		k.mistakes = *problems
		for _, p := range problems.All {
			k.problems = append(k.problems, finding{Text: p.String(), Hint: p.Hint})
		}
		if problems.Unread {
			return false
		}
	}
	if k.folds() == 0 && len(k.problems) == 0 {
		k.warn(noFolds(c))
	}
	return true
}

// folds is how many there are, with those that a mistake leaves out.
func (k *checker) folds() int { return len(k.config.Folds) + len(k.mistakes.LeftOut) }

// noFolds is what a configuration without folds is told.
func noFolds(c *config.Config) error {
	text := "has no [fold.NAME]: nothing would be folded"
	if len(c.Include) > 0 {
		text = "neither it nor what it includes has a [fold.NAME]: nothing would be folded"
	}
	return hint.Error(fmt.Errorf("%s: %s", c.Path, text), "add [fold.NAME] with its source and its module; config.example.toml shows every key")
}

const mib = 1 << 20

func (k *checker) memory() {
	m, from, err := splitMemory(k.config, k.folds())
	if err != nil {
		k.problem(err)
		return
	}
	k.fact("memory: %d MiB, %s", m.Total/mib, from)
	k.fact("memory: block cache %d MiB, memtables %d MiB, batches %d MiB, modules %d MiB, for %s",
		m.Cache/mib, m.Memtables()/mib, m.Slabs()/mib, m.Instances/mib, counted(m.Folds, "fold", "folds"))
	if limit, of := config.MachineMemory(); m.Total > limit {
		p := k.config.At("store", "memory")
		p.Text = fmt.Sprintf("%d MiB, and there are %d MiB of %s", m.Total/mib, limit/mib, of)
		p.Hint = `write memory = "auto", or at most half of what there is: the rest is for Go's heap and the page cache`
		k.warn(p.Err())
	}
}

func (k *checker) openFiles() {
	need := needFiles(k.config, k.folds())
	limit, err := need.judge()
	switch {
	case limit == 0:
		return // this system does not say
	case err != nil && limit < need.least():
		k.problem(err)
	case err != nil:
		k.warn(err)
	default:
		k.fact("open files: up to %d, of %d", need.all(), limit)
		k.fact("open files: %s", need.split())
	}
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
	said := ""
	if n := len(k.warnings); n > 0 {
		said = ", with " + counted(n, "warning", "warnings")
	}
	fmt.Fprintf(stdout, "%s: ok%s\n", k.path, said)
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
