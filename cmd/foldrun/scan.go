package main

import (
	"encoding/json"
	"errors"
	"fmt"

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
	keys, collisions   bool
	count              bool
}

func scanCommand() *cobra.Command {
	var f scanFlags
	c := &cobra.Command{
		Use:   "scan FOLD/INDEX",
		Short: "Read rows in the order of their keys",
		Long: `Read rows in the order of their keys: KEY, SOURCE and VALUE between tabs, a line a row. What cannot be printed is
quoted as in Go.

All that is printed is of one moment with --all; else, and over NATS, what is more than 10,000 rows, or 1 MiB, is read in
pages, each of its own moment. --count prints how many rows and keys there are, and reads in pieces of some seconds. Where the index's collisions
are "latest", one row of a key is shown; --claimants shows all. --latest shows one in any index.
When no foldrun runs on the data directory, it is read as it stands.`,
		Example: `  foldrun scan users/by_email --prefix ann@
  foldrun scan cities/by_country --start FR/ --end FS/ --limit 1000
  foldrun scan cities/main --all --json > cities.ndjson
  foldrun scan users/by_email --collisions
  foldrun scan orders/by_country --tuple --prefix '("DE")' --count`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return scan(c, &f, args[0]) },
	}
	f.flags(c)
	c.Flags().StringVar(&f.prefix, "prefix", "", "only keys that start with this")
	c.Flags().StringVar(&f.start, "start", "", "only this key and those after it")
	c.Flags().StringVar(&f.end, "end", "", "only keys before this one")
	c.Flags().IntVar(&f.limit, "limit", 100, "rows at most")
	c.Flags().BoolVar(&f.all, "all", false, "no limit")
	c.Flags().BoolVar(&f.keys, "keys-only", false, "each key once, and nothing else")
	c.Flags().BoolVar(&f.collisions, "collisions", false, "only keys that more than one source key claims, each claimant of them")
	c.Flags().BoolVar(&f.count, "count", false, "print the numbers of rows and keys instead")
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
	r.Keys, r.Collisions = f.keys, f.collisions
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
	if err := errors.Join(exclusive(c, "limit", "all"), exclusive(c, "limit", "count"), exclusive(c, "keys-only", "count"),
		exclusive(c, "claimants", "count"), exclusive(c, "latest", "count"), exclusive(c, "latest", "collisions"), exclusive(c, "reverse", "count"),
		oneWay(c)); err != nil {
		return err
	}
	r, who, err := f.begin(c, f.scope)
	if err != nil {
		return err
	}
	if f.count {
		return count(c, who, f, fold, index, r)
	}
	pages := who.Pages
	if f.all && !f.overNATS {
		pages = who.Stream
	}
	out := newRowPrinter(c.OutOrStdout(), &f.rowFlags)
	out.keys = f.keys
	n, more, at := 0, false, client.Position{}
	for p, err := range pages(c.Context(), fold, index, r) {
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

// count prints the numbers of rows and keys. They are of one moment if one piece is enough.
func count(c *cobra.Command, who *client.Client, f *scanFlags, fold, index string, r client.Range) error {
	var all client.Counted
	for r.Limit = 0; ; r.After = all.Next {
		n, err := who.Count(c.Context(), fold, index, r)
		if err != nil {
			return err
		}
		if r.After != nil && n.At.Generation != all.At.Generation {
			return client.ErrChanged
		}
		n.Rows, n.Keys = n.Rows+all.Rows, n.Keys+all.Keys
		if all = *n; !n.More {
			break
		}
	}
	noteState(c.ErrOrStderr(), fold, all.At)
	if f.asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(all)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s, %s\n", counted(int(all.Rows), "row", "rows"), counted(int(all.Keys), "key", "keys"))
	return err
}
