package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

type quarantineLsFlags struct {
	readDoor
	prefix      string
	limit       int
	all, asJSON bool
}

func quarantineLsCommand() *cobra.Command {
	var f quarantineLsFlags
	c := &cobra.Command{
		Use:   "ls FOLD",
		Short: "List what is in quarantine, by source key",
		Long: `List what is in quarantine, in the order of the source keys. A message is cut to its first line; 'foldrun quarantine
show' has it whole. KEPT is the seq of the older record whose rows still stand, with on_error = "keep_last_good".

When no foldrun runs on the data directory, it is read as it stands.`,
		Example: "  foldrun quarantine ls users\n  foldrun quarantine ls users --prefix eu. --all --json",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE:    func(c *cobra.Command, args []string) error { return quarantineLs(c, &f, args[0]) },
	}
	f.flags(c)
	c.Flags().StringVar(&f.prefix, "prefix", "", "only source keys that start with this")
	c.Flags().IntVar(&f.limit, "limit", 100, "source keys at most")
	c.Flags().BoolVar(&f.all, "all", false, "no limit")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print a JSON object a source key")
	return c
}

func quarantineLs(c *cobra.Command, f *quarantineLsFlags, fold string) error {
	if err := exclusive(c, "limit", "all"); err != nil {
		return err
	}
	if f.limit < 1 {
		return hint.Error(misuse{errors.New("--limit is below 1")}, "--all has no limit")
	}
	who, err := f.open(c.Context(), c.ErrOrStderr())
	if err != nil {
		return err
	}
	r := client.QuarantineRange{Prefix: []byte(f.prefix), Limit: maxPage}
	if !f.all {
		r.Limit = min(f.limit+1, maxPage) // one more tells whether there are more
	}
	out, n := newQuarantinePrinter(c.OutOrStdout(), f.asJSON), 0
	for q, err := range who.Quarantine(c.Context(), fold, r) {
		if err == nil && n == f.limit && !f.all {
			defer line(c.ErrOrStderr(), "note", fmt.Sprintf("there are more than these %d source keys", n), "--limit N or --all lists more")
			break
		}
		if err == nil {
			err = out.print(&q)
		}
		if err != nil {
			return errors.Join(out.end(), err)
		}
		n++
	}
	return out.end()
}

// quarantinePrinter prints what is in quarantine: as a table, or as JSON.
type quarantinePrinter struct {
	table *tabwriter.Writer
	json  *json.Encoder // nil for a table
	rows  int
}

func newQuarantinePrinter(w io.Writer, asJSON bool) *quarantinePrinter {
	if asJSON {
		p := &quarantinePrinter{json: json.NewEncoder(w)}
		p.json.SetEscapeHTML(false)
		return p
	}
	return &quarantinePrinter{table: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

// tableRows is after how many rows the widths of the columns are settled anew: a table of millions is not held.
const tableRows = 1000

func (p *quarantinePrinter) print(q *client.Quarantined) error {
	if p.json != nil {
		return p.json.Encode(q)
	}
	if p.rows%tableRows == 0 {
		if err := p.table.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(p.table, "SOURCE\tSEQ\tTIME\tKEPT\tREASON\tMESSAGE")
	}
	p.rows++
	kept := "-"
	if q.Kept != 0 {
		kept = fmt.Sprint(q.Kept)
	}
	_, err := fmt.Fprintf(p.table, "%s\t%d\t%s\t%s\t%s\t%s\n", appendField(nil, q.Source), q.Seq, q.Time.UTC().Format(time.RFC3339),
		kept, reasonOf(q), cut(q.Message))
	return err
}

func (p *quarantinePrinter) end() error {
	if p.table == nil {
		return nil
	}
	return p.table.Flush()
}

// cut returns the beginning of a text, at most one line of it, as it can be printed.
func cut(text string) string {
	const most = 80
	first, _, more := strings.Cut(text, "\n")
	if utf8.RuneCountInString(first) > most {
		first, more = string([]rune(first)[:most]), true
	}
	first = string(appendField(nil, []byte(first)))
	if more {
		first += " …"
	}
	return first
}
