package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

// What one page of a scan holds, at most.
const maxPage = 10_000

type scanFlags struct {
	rowFlags
	prefix, start, end string
	limit              int
	all                bool
}

func scanCommand() *cobra.Command {
	var f scanFlags
	c := &cobra.Command{
		Use:   "scan FOLD/INDEX",
		Short: "Read rows in the order of their keys",
		Long: `Read rows in the order of their keys: KEY, SOURCE and VALUE between tabs, a line a row. What cannot be printed is
quoted as in Go.

Up to 10,000 rows, or 1 MiB, are of one moment; what is more than that is read in pages, each of its own moment.
When no foldrun runs on the data directory, it is read as it stands.`,
		Example: `  foldrun scan users/by_email --prefix ann@
  foldrun scan cities/by_country --start FR/ --end FS/ --limit 1000
  foldrun scan cities/main --all --json > cities.ndjson`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return scan(c, &f, args[0]) },
	}
	f.flags(c)
	c.Flags().StringVar(&f.prefix, "prefix", "", "only keys that start with this")
	c.Flags().StringVar(&f.start, "start", "", "only this key and those after it")
	c.Flags().StringVar(&f.end, "end", "", "only keys before this one")
	c.Flags().IntVar(&f.limit, "limit", 100, "rows at most")
	c.Flags().BoolVar(&f.all, "all", false, "no limit")
	return c
}

func (f *scanFlags) scope() (r client.Range, err error) {
	if r, err = f.rowFlags.scope(); err != nil {
		return r, err
	}
	for _, x := range []struct {
		text string
		to   *[]byte
	}{{f.prefix, &r.Prefix}, {f.start, &r.Start}, {f.end, &r.End}} {
		if *x.to, err = f.key(x.text); err != nil {
			return r, err
		}
	}
	if f.limit < 1 {
		return r, hint.Error(misuse{errors.New("--limit is below 1")}, "--all has no limit")
	}
	r.Limit = maxPage
	if !f.all {
		r.Limit = min(f.limit+1, maxPage) // one more tells whether there are more
	}
	return r, nil
}

func scan(c *cobra.Command, f *scanFlags, name string) error {
	fold, index, err := target(name)
	if err != nil {
		return err
	}
	if err := errors.Join(exclusive(c, "limit", "all"), exclusive(c, "key-hex", "key-base64")); err != nil {
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
	n, more, at := 0, false, client.Position{}
	for p, err := range who.Pages(c.Context(), fold, index, r) {
		if err != nil {
			return errors.Join(err, out.w.Flush())
		}
		at = p.At
		if more = !f.all && n+len(p.Rows) > f.limit; more {
			p.Rows = p.Rows[:f.limit-n]
		}
		n += len(p.Rows)
		for _, row := range p.Rows {
			if err := out.print(row); err != nil {
				return err
			}
		}
		if more {
			break
		}
	}
	err = out.w.Flush()
	noteState(c.ErrOrStderr(), fold, at)
	if more {
		line(c.ErrOrStderr(), "note", "there is more than "+counted(n, "row", "rows"), "--limit N or --all reads more")
	}
	return err
}
