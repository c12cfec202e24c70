package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

func getCommand() *cobra.Command {
	var f rowFlags
	c := &cobra.Command{
		Use:   "get FOLD/INDEX KEY...",
		Short: "Read the rows of keys",
		Long: `Read the rows of keys: KEY, SOURCE and VALUE between tabs, a line for each source key that claims one. What cannot be
printed is quoted as in Go. Up to 100 keys are of one moment, as far as their rows are within 1 MiB. When one is not there,
the others are printed, and the exit code is 1.

With --min-seq, the seq that a put returned, the rows are as of that put or later: see docs/http.md.
When no foldrun runs on the data directory, it is read as it stands.`,
		Example: `  foldrun get users/by_email ann@example.com bob@example.com
  foldrun get users/by_email ann@example.com --min-seq 4711 --wait 250ms
  foldrun get cities/main --hex 5061726973 --json
  foldrun get orders/by_country --tuple '("DE",42)'`,
		Args: arguments(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, args []string) error { return get(c, &f, args[0], args[1:]) },
	}
	f.flags(c)
	return c
}

// maxKeys is how many keys one request reads.
const maxKeys = 100

func get(c *cobra.Command, f *rowFlags, name string, texts []string) error {
	fold, index, keys, err := f.rows(c, name, texts)
	if err != nil {
		return err
	}
	r, who, err := f.begin(c, f.scope)
	if err != nil {
		return err
	}
	g := getter{c: c, name: name, fold: fold, out: newRowPrinter(c.OutOrStdout(), f)}
	for len(keys) > 0 && err == nil {
		n := min(len(keys), maxKeys)
		err = g.get(who, index, keys[:n], r)
		keys = keys[n:]
	}
	return errors.Join(g.out.w.Flush(), err, g.missed())
}

// A getter prints the rows of keys.
type getter struct {
	c          *cobra.Command
	name, fold string
	out        *rowPrinter
	missing    []string // keys, quoted
	mend       string   // what there is to say of one
	noted      bool
}

func (g *getter) get(who *client.Client, index string, keys [][]byte, r client.Range) error {
	for {
		p, err := who.GetAll(g.c.Context(), g.fold, index, keys, r)
		var refused *client.Error
		if errors.Is(err, client.ErrNotFound) && errors.As(err, &refused) {
			g.note(refused.At)
			g.missing, g.mend = append(g.missing, strconv.Quote(string(keys[0]))), refused.Hint
			return nil
		}
		if err != nil {
			return err
		}
		g.note(p.At)
		for _, row := range p.Rows {
			if err := g.print(row); err != nil {
				return err
			}
		}
		for _, key := range p.Missing {
			g.missing = append(g.missing, strconv.Quote(string(key)))
		}
		if p.Next == nil {
			return nil
		}
		r.After = p.Next
	}
}

func (g *getter) print(row client.Row) error {
	if row.Kept != 0 {
		defer line(g.c.ErrOrStderr(), "note", fmt.Sprintf("the row of source key %q is that of its seq %d: a newer record is in quarantine", []byte(row.Source), row.Kept),
			fmt.Sprintf("foldrun quarantine ls %s says why", g.fold))
	}
	return g.out.print(row)
}

// missed returns the error of keys that are not there, nil if all are.
func (g *getter) missed() error {
	switch len(g.missing) {
	case 0:
		return nil
	case 1:
		err := fmt.Errorf("%s: key %s: not found", g.name, g.missing[0])
		if g.mend != "" {
			return hint.Error(err, "%s", g.mend)
		}
		return err
	}
	return fmt.Errorf("%s: keys %s: not found", g.name, strings.Join(g.missing, ", "))
}

// note notes once how the fold stands.
func (g *getter) note(at client.Position) {
	if !g.noted {
		noteState(g.c.ErrOrStderr(), g.fold, at)
	}
	g.noted = true
}
