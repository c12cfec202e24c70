package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
)

func statusCommand() *cobra.Command {
	var d readDoor
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the folds: state, position, lag, rows",
		Long: `Show the folds: state, position, lag, rows, and why one does not do its work.

SEQ is the stream's sequence number up to which a fold is folded: what a KV bucket calls the revision.`,
		Example: "  foldrun status -c foldrun.toml\n  foldrun status --url http://127.0.0.1:8480 --json\n  foldrun status --nats --instance node-1",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			who, err := d.open(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			s, err := who.Status(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(s)
			}
			return printStatus(c.OutOrStdout(), s)
		},
	}
	d.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printStatus(out io.Writer, s *client.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FOLD\tSTATE\tSEQ\tLAG\tKEYS\tQUARANTINED\tINDEXES\tGENERATION")
	for _, f := range s.Folds {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%d\t%s\t%s\n", f.Name, f.State, f.Seq, lagOf(f), f.Live, f.Quarantined, rowsOf(f.Indexes), orDash(f.Generation))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range s.Folds {
		if f.Code != "" || f.Reason != "" {
			fmt.Fprintf(out, "%s: %s: %s\n", f.Name, f.Code, f.Reason)
		}
		if f.Hint != "" {
			fmt.Fprintf(out, "%s: hint: %s\n", f.Name, f.Hint)
		}
		if f.Stale {
			fmt.Fprintf(out, "%s: stale: everything was folded last at %s, longer ago than max_staleness, %s\n", f.Name, orDash(f.BehindSince), f.Staleness)
		}
		if f.Quota > 0 && f.Disk > 0 {
			fmt.Fprintf(out, "%s: its generations take %s of disk_quota, %s\n", f.Name, sizeText(f.Disk), sizeText(f.Quota))
		}
		if f.Quarantined > 0 {
			fmt.Fprintf(out, "%s: %s\n", f.Name, quarantineOf(&f))
		}
		if b := f.Build; b != nil && b.State == "copying" {
			fmt.Fprintf(out, "%s: building generation %s of the records that %s keeps: %d of about %d source keys\n", f.Name, b.Generation, f.Generation, b.Live, f.Live)
		} else if b != nil {
			fmt.Fprintf(out, "%s: building generation %s: %s, seq %d of %d, rows %s\n", f.Name, b.Generation, b.State, b.Seq, b.LastSeq, rowsOf(b.Indexes))
			if b.Reason != "" {
				fmt.Fprintf(out, "%s: building: %s\n", f.Name, strings.TrimPrefix(b.Code+": "+b.Reason, ": "))
			}
			if b.Hint != "" {
				fmt.Fprintf(out, "%s: building: hint: %s\n", f.Name, b.Hint)
			}
		}
		if r := f.Refused; r != nil {
			fmt.Fprintf(out, "%s: not taken, what runs goes on: %s: %s\n", f.Name, r.Code, r.Reason)
			if r.Hint != "" {
				fmt.Fprintf(out, "%s: hint: %s\n", f.Name, r.Hint)
			}
		}
		if p := f.Previous; p != nil {
			fmt.Fprintf(out, "%s: generation %s, which was replaced, follows at seq %d and is kept until %s\n", f.Name, p.Generation, p.Seq, p.Until)
		}
	}
	return nil
}

// lagOf returns how far a fold is behind, or a dash where nobody knows: one that does not follow has no lag of 0.
func lagOf(f client.FoldStatus) string {
	if f.State == "stopped" || f.State == "paused" || f.LastSeq == 0 {
		return "-"
	}
	lag := fmt.Sprint(f.Lag)
	if since, err := time.Parse(time.RFC3339Nano, f.BehindSince); err == nil {
		lag += fmt.Sprintf(" (%s)", max(time.Since(since), 0).Round(time.Second))
	}
	return lag
}

func rowsOf(all []client.IndexStatus) (s string) {
	for i, x := range all {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprintf("%s=%d", x.Name, x.Rows)
	}
	return orDash(s)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
