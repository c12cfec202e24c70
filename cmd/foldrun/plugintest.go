package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/golden"
	"github.com/foldrun/foldrun/runtime/plugin"
)

// pluginTest runs the golden tests of a plugin.
type pluginTest struct {
	dir    string
	wasm   string // a module to test, instead of the plugin's
	only   string
	match  *regexp.Regexp
	update bool
	watch  bool
	asJSON bool
	cache  string // of compiled modules
	out    io.Writer
	stderr io.Writer
}

func pluginTestCommand() *cobra.Command {
	var p pluginTest
	var held heldCase
	c := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Run a plugin's tests: updates in, rows out",
		Long: `Run the tests of the plugin in DIR, by default here: DIR/testdata/*.txtar. The module is built first if its source is newer.

A test is a file of updates, with all that each changes below it:

  -- updates --
  put 1 {"name":"Ann"}
  + main Ann {"name":"Ann"}
  put 2 {"name":5}
  ! module 1: not a string: 5
  delete 1
  - main Ann

They are transformed, compared and committed into a store as a fold does it, and what differs is printed; then the exit code
is 3. With --update it is written into the file instead: read it before you keep it. docs/writing-a-plugin.md tells the rest
of the format.

With --from a test is not run but made, of an update that a fold holds in quarantine, or else of the message that its stream holds
of the source key, read from NATS with the connection of the configuration; --update then adds what it yields.`,
		Example: "  foldrun plugin test\n  foldrun plugin test users --run 'delete|purge' --update\n  foldrun plugin test --watch\n" +
			"  foldrun plugin test --from users --source ann > testdata/ann.txtar",
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if held.fold != "" {
				return held.write(c, args)
			}
			if err := held.unused(c); err != nil {
				return err
			}
			p.dir, p.out, p.stderr = append(args, ".")[0], c.OutOrStdout(), c.ErrOrStderr()
			if p.match, err = regexp.Compile(p.only); err != nil {
				return hint.Error(misuse{fmt.Errorf("--run: %w", err)}, "write a regular expression of Go: https://pkg.go.dev/regexp/syntax")
			}
			return p.run(c.Context())
		},
	}
	c.Flags().StringVar(&p.only, "run", "", "only tests whose name matches this regular expression")
	c.Flags().BoolVar(&p.update, "update", false, "write what came out into the tests")
	c.Flags().BoolVar(&p.watch, "watch", false, "run the tests again whenever a file of the plugin changes, until interrupted")
	c.Flags().StringVar(&p.wasm, "wasm", "", "test this module, which has its manifest, instead of the plugin's")
	c.Flags().BoolVar(&p.asJSON, "json", false, "print a JSON object a test")
	c.MarkFlagFilename("wasm", "wasm")
	held.flags(c)
	return c
}

// run runs the tests once, or with --watch whenever something changes.
func (p *pluginTest) run(ctx context.Context) (err error) {
	if p.cache, err = os.MkdirTemp("", "foldrun-modules-"); err != nil {
		return err
	}
	defer os.RemoveAll(p.cache)
	if p.watch {
		return p.again(ctx)
	}
	return p.once(ctx)
}

// once builds the module if need be, and runs the tests.
func (p *pluginTest) once(ctx context.Context) error {
	files, err := p.files()
	if err != nil {
		return err
	}
	wasm, err := p.module(ctx)
	if err != nil {
		return err
	}
	o, err := testOptions(wasm, p.cache)
	if err != nil {
		return err
	}
	var failed, different int
	start := time.Now()
	for _, file := range files {
		r := p.test(ctx, file, o)
		if err := r.print(p); err != nil {
			return err
		}
		switch {
		case r.err != nil:
			failed++
		case !r.OK:
			different++
		}
	}
	if !p.asJSON {
		fmt.Fprintln(p.out, summary(len(files), different, failed, time.Since(start)))
	}
	switch {
	case failed > 0:
		return errFailed
	case different > 0:
		return errDifferent
	}
	return nil
}

// summary is the last line.
func summary(all, different, failed int, took time.Duration) string {
	s := fmt.Sprintf("%s, %d ok", counted(all, "test", "tests"), all-different-failed)
	if different > 0 {
		s += fmt.Sprintf(", %d different", different)
	}
	if failed > 0 {
		s += fmt.Sprintf(", %d not run", failed)
	}
	return fmt.Sprintf("%s; %.1fs", s, took.Seconds())
}

// files returns the tests that are asked for.
func (p *pluginTest) files() (chosen []string, err error) {
	all, err := filepath.Glob(filepath.Join(escapeGlob(p.dir), "testdata", "*.txtar"))
	if err != nil {
		return nil, err
	}
	for _, file := range all {
		if p.match.MatchString(strings.TrimSuffix(filepath.Base(file), ".txtar")) {
			chosen = append(chosen, file)
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	if len(all) > 0 {
		return nil, hint.Error(fmt.Errorf("none of %s matches %q", counted(len(all), "test", "tests"), p.only), "a test's name is its file's, without .txtar")
	}
	if _, err := (&pluginBuild{dir: p.dir}).manifest(); err != nil {
		return nil, err
	}
	return nil, hint.Error(fmt.Errorf("%s has no tests", filepath.Join(p.dir, "testdata")),
		"write one, testdata/first.txtar: a line -- updates --, below it a line put KEY VALUE; then: foldrun plugin test --update")
}

// escapeGlob makes a pattern of a path that matches it alone.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// testOptions are what a fold grants that gives the module the limits it asks for.
func testOptions(wasm []byte, cache string) (golden.Options, error) {
	m, _, err := abi.ReadManifest(wasm)
	if err != nil {
		return golden.Options{}, err
	}
	l, asked := config.DefaultFold("test").Limits, m.Limits
	return golden.Options{Wasm: wasm, Module: plugin.Options{
		Memory:           max(l.Memory, asked.Memory),
		FuelPerRecord:    max(l.FuelPerRecord, asked.FuelPerRecord),
		EntriesPerRecord: max(l.EntriesPerRecord, int(asked.EntriesPerRecord)),
		BytesPerRecord:   max(l.BytesPerRecord, asked.BytesPerRecord),
		CacheDir:         cache,
	}}, nil
}

// A testReport is what one test came to.
type testReport struct {
	Test        string              `json:"test"`
	File        string              `json:"file"`
	OK          bool                `json:"ok"`
	Updates     int                 `json:"updates"`
	Updated     bool                `json:"updated,omitempty"` // the file was written
	Differences []golden.Difference `json:"differences,omitempty"`
	Problem     string              `json:"problem,omitempty"`
	Hint        string              `json:"hint,omitempty"`
	err         error
}

func (p *pluginTest) test(ctx context.Context, file string, o golden.Options) *testReport {
	r := &testReport{Test: strings.TrimSuffix(filepath.Base(file), ".txtar"), File: file}
	if r.err = p.try(ctx, r, o); r.err != nil {
		r.Problem, r.Hint = r.err.Error(), hint.Of(r.err)
	}
	r.OK = r.err == nil && len(r.Differences) == 0
	return r
}

func (p *pluginTest) try(ctx context.Context, r *testReport, o golden.Options) error {
	text, err := os.ReadFile(r.File)
	if err != nil {
		return err
	}
	t, err := golden.Parse(r.File, text)
	if err != nil {
		return err
	}
	came, err := t.Run(ctx, o)
	if err != nil {
		return err
	}
	r.Updates, r.Differences = came.Updates, came.Differences
	if !p.update || len(r.Differences) == 0 {
		return nil
	}
	r.Differences, r.Updated = nil, true
	return os.WriteFile(r.File, came.Text(), 0o644)
}

func (r *testReport) print(p *pluginTest) error {
	if p.asJSON {
		e := json.NewEncoder(p.out)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	switch {
	case r.err != nil:
		fmt.Fprintf(p.out, "not run    %s\n", r.Test)
		tell(p.stderr, r.err)
	case r.Updated:
		fmt.Fprintf(p.out, "updated    %s\n", r.File)
	case r.OK:
		fmt.Fprintf(p.out, "ok         %s\n", r.Test)
	default:
		fmt.Fprintf(p.out, "different  %s\n", r.Test)
		of := ""
		for _, d := range r.Differences {
			if d.Of != of {
				of = d.Of
				fmt.Fprintf(p.out, "  %s\n", printable(shortened(of)))
			}
			sign, text := "want", d.Want
			if d.Got != "" {
				sign, text = "got ", d.Got
			}
			fmt.Fprintf(p.out, "  %s:%d: %s  %s\n", r.File, d.Line, sign, printable(text))
		}
	}
	return nil
}

// shortened cuts a line that is for orientation.
func shortened(s string) string {
	const most = 100
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// module returns the module under test. The plugin's is built if a file of its source is newer.
func (p *pluginTest) module(ctx context.Context) ([]byte, error) {
	if p.wasm != "" {
		return os.ReadFile(p.wasm)
	}
	b := pluginBuild{dir: p.dir}
	m, err := b.manifest()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.dir, m.Name+".wasm")
	stale, err := outdated(p.dir, file)
	if err != nil {
		return nil, err
	}
	if !stale {
		return os.ReadFile(file)
	}
	if _, err := compilerOf(p.dir); err != nil {
		if _, none := os.Stat(file); none != nil {
			return nil, err
		}
		line(p.stderr, "note", file+" is older than its source, and another tool builds it", "build it, then: foldrun plugin build --wasm FILE")
		return os.ReadFile(file)
	}
	r, err := b.run(ctx, p.stderr)
	if err != nil {
		return nil, err
	}
	if !p.asJSON {
		fmt.Fprintf(p.out, "%s: %d bytes\n", r.Path, r.Size)
	}
	return os.ReadFile(file)
}
