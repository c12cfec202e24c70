package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

func generationsCommand() *cobra.Command {
	var path, remove string
	var asJSON bool
	c := &cobra.Command{
		Use:   "generations [FOLD...]",
		Short: "List what the data directory holds of each fold, and remove what nothing names",
		Long: `List what the data directory holds of each fold: the generation that serves, one that is being built, the way back, one on its
way out; orphans, which no file of the fold names; and what foldrun did not make. Folds that are not configured are listed too.

It reads what lies in the data directory, whether a foldrun runs on it or not, and changes nothing. With --remove it removes one
generation of the fold that is named, which must be an orphan; nothing else is ever removed.`,
		Example: "  foldrun generations -c foldrun.toml\n  foldrun generations users --remove 0123456789abcdef",
		RunE: func(c *cobra.Command, args []string) error {
			if err := named(path); err != nil {
				return err
			}
			if c.Flags().Changed("remove") {
				return removeGeneration(c.OutOrStdout(), path, remove, args)
			}
			return listGenerations(c, path, args, asJSON)
		},
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	c.Flags().StringVar(&remove, "remove", "", "remove this generation, an orphan, of the fold")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a fold")
	c.MarkFlagFilename("config", "toml")
	return c
}

// dataOf reads a configuration: its data directory, and the names of its folds, those with a mistake too.
func dataOf(path string) (dir string, folds []string, err error) {
	c, err := config.Load(path)
	var problems *config.Problems
	if errors.As(err, &problems) && !problems.Fatal() {
		folds, err = problems.LeftOut, nil
	}
	if err != nil {
		return "", nil, err
	}
	for _, fc := range c.Folds {
		folds = append(folds, fc.Name)
	}
	return c.DataDir, folds, nil
}

func removeGeneration(out io.Writer, path, generation string, args []string) error {
	if len(args) != 1 || generation == "" {
		return hint.Error(misuse{errors.New("--remove needs one fold and one generation")}, "foldrun generations FOLD --remove GENERATION")
	}
	dir, _, err := dataOf(path)
	if err == nil {
		err = store.RemoveOrphan(dir, args[0], generation)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: removed generation %s\n", args[0], generation)
	return err
}

// storedFold is what the data directory holds of a fold, as it is printed.
type storedFold struct {
	Fold        string             `json:"fold"`
	Path        string             `json:"path"`
	Configured  bool               `json:"configured"`
	Unknown     bool               `json:"unknown,omitempty"` // foldrun did not make it
	Bytes       int64              `json:"bytes"`
	Generations []storedGeneration `json:"generations"`
}

type storedGeneration struct {
	Name    string         `json:"name"`
	Is      store.Standing `json:"is"`
	Why     string         `json:"why"`
	Hint    string         `json:"hint,omitempty"`
	Bytes   int64          `json:"bytes"`
	Until   string         `json:"until,omitempty"`    // of the way back
	OnEvict string         `json:"on_evict,omitempty"` // as it was built
	Seq     *uint64        `json:"seq,omitempty"`      // of what a foldrun that runs follows
	LastSeq *uint64        `json:"last_seq,omitempty"`
}

func listGenerations(c *cobra.Command, path string, args []string, asJSON bool) error {
	dir, configured, err := dataOf(path)
	if err != nil {
		return err
	}
	found, err := store.SurveyFolds(dir)
	if err != nil {
		return hint.Error(err, "data_dir must be readable by the user that runs this")
	}
	for _, name := range args {
		if !slices.ContainsFunc(found, func(s store.Survey) bool { return s.Fold == name }) {
			return hint.Error(fmt.Errorf("%s holds nothing of a fold %q", dir, name), "foldrun generations -c %s lists what it holds", path)
		}
	}
	runs := followed(c.Context(), dir)
	for _, s := range found {
		if len(args) > 0 && !slices.Contains(args, s.Fold) {
			continue
		}
		f := storedOf(s, slices.Contains(configured, s.Fold), runs[s.Fold])
		if asJSON {
			err = json.NewEncoder(c.OutOrStdout()).Encode(f)
		} else {
			_, err = fmt.Fprint(c.OutOrStdout(), f.text())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// followed asks the foldrun that runs on a data directory, if one does and answers, what it follows.
func followed(ctx context.Context, dir string) map[string]client.FoldStatus {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	all := map[string]client.FoldStatus{}
	who, _ := running(ctx, dir)
	if who == nil {
		return all
	}
	if s, err := who.Status(ctx); err == nil {
		for _, f := range s.Folds {
			all[f.Name] = f
		}
	}
	return all
}

func storedOf(s store.Survey, configured bool, runs client.FoldStatus) storedFold {
	f := storedFold{s.Fold, s.Path, configured, !s.Ours && !configured, s.Bytes, []storedGeneration{}}
	for _, e := range s.Entries {
		g := storedGeneration{Name: e.Name, Is: e.Standing, Why: e.Why, Bytes: e.Bytes, OnEvict: e.Identity.OnEvict}
		if !e.Until.IsZero() {
			g.Until = e.Until.UTC().Format(time.RFC3339)
		}
		if e.Standing == store.StandingOrphan {
			g.Hint = fmt.Sprintf("foldrun generations %s --remove %s", s.Fold, e.Name)
			if e.Identity.OnEvict == "keep" {
				g.Hint += ", if its rows are not wanted: it was built with on_evict = \"keep\", and the stream may hold their messages no more"
			}
		}
		g.progress(runs)
		f.Generations = append(f.Generations, g)
	}
	return f
}

// progress adds how far a generation is that a foldrun follows.
func (g *storedGeneration) progress(runs client.FoldStatus) {
	if b := runs.Build; b != nil && b.Generation == g.Name {
		g.Seq, g.LastSeq = &b.Seq, &b.LastSeq
	}
	if p := runs.Previous; p != nil && p.Generation == g.Name {
		g.Seq = &p.Seq
	}
	if runs.Generation == g.Name {
		g.Seq, g.LastSeq = &runs.Seq, &runs.LastSeq
	}
}

// text is what the data directory holds of a fold, for people.
func (f *storedFold) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s in %s\n", f.Fold, sizeText(f.Bytes), f.Path)
	switch {
	case f.Unknown:
		fmt.Fprint(&b, "  unknown: foldrun did not make it: it is never touched\n")
	case !f.Configured:
		fmt.Fprintf(&b, "  not in the configuration: nothing follows it. A fold that was renamed is built anew under its new name. If it is not wanted, stop foldrun, remove %s, start foldrun\n", f.Path)
	}
	for _, g := range f.Generations {
		fmt.Fprintf(&b, "  %s  %s  %s: %s", g.Name, g.Is, sizeText(g.Bytes), g.Why)
		if g.Until != "" {
			fmt.Fprintf(&b, ", until %s", g.Until)
		}
		switch {
		case g.Seq != nil && g.LastSeq != nil:
			fmt.Fprintf(&b, "; seq %d of %d", *g.Seq, *g.LastSeq)
		case g.Seq != nil:
			fmt.Fprintf(&b, "; seq %d", *g.Seq)
		}
		b.WriteString("\n")
		if g.Hint != "" {
			fmt.Fprintf(&b, "    hint: %s\n", g.Hint)
		}
	}
	return b.String()
}
