package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
)

func getCommand() *cobra.Command {
	var f rowFlags
	c := &cobra.Command{
		Use:   "get FOLD/INDEX KEY",
		Short: "Read the rows of one key",
		Long: `Read the rows of one key: KEY, SOURCE and VALUE between tabs, a line for each source key that claims it. What cannot
be printed is quoted as in Go.

With --min-seq, the seq that a put returned, the rows are as of that put or later: see docs/http.md.
When no foldrun runs on the data directory, it is read as it stands.`,
		Example: "  foldrun get users/by_email ann@example.com\n  foldrun get users/by_email ann@example.com --min-seq 4711 --wait 250ms\n  foldrun get cities/main --key-hex 5061726973 --json",
		Args:    arguments(cobra.ExactArgs(2)),
		RunE:    func(c *cobra.Command, args []string) error { return get(c, &f, args[0], args[1]) },
	}
	f.flags(c)
	return c
}

func get(c *cobra.Command, f *rowFlags, name, text string) error {
	fold, index, key, err := f.row(c, name, text)
	if err != nil {
		return err
	}
	r, err := f.scope()
	if err != nil {
		return err
	}
	who, err := f.open(c.Context(), c.ErrOrStderr())
	if err != nil {
		return err
	}
	out := newRowPrinter(c.OutOrStdout(), f.asJSON)
	for {
		p, err := who.Get(c.Context(), fold, index, key, r)
		var refused *client.Error
		if errors.Is(err, client.ErrNotFound) && errors.As(err, &refused) {
			noteState(c.ErrOrStderr(), fold, refused.At)
			return fmt.Errorf("%s: key %q: not found", name, key)
		}
		if err != nil {
			return err
		}
		for _, row := range p.Rows {
			if err := out.print(row); err != nil {
				return err
			}
			if row.Kept != 0 {
				defer line(c.ErrOrStderr(), "note", fmt.Sprintf("the row of source key %q is that of its seq %d: a newer record is in quarantine", []byte(row.Source), row.Kept),
					fmt.Sprintf("foldrun quarantine ls %s says why", fold))
			}
		}
		if p.Next == nil {
			noteState(c.ErrOrStderr(), fold, p.At)
			return out.w.Flush()
		}
		r.After = p.Next
	}
}
