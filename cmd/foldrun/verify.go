package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
)

func verifyCommand() *cobra.Command {
	var d door
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify [FOLD]",
		Short: "Check the stores against themselves",
		Long: `Read the store of a fold, or of each, whole, and check that its rows, its lineage, its counts and its digests agree.
Exit 3 where they do not.`,
		Example: "  foldrun verify -c foldrun.toml\n  foldrun verify users --data-dir /var/lib/foldrun",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := d.open(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if args, err = foldNames(c.Context(), who); err != nil {
					return err
				}
			}
			return verify(c, who, args, asJSON)
		},
	}
	d.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a fold")
	return c
}

func foldNames(ctx context.Context, who *client.Client) (names []string, err error) {
	s, err := who.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range s.Folds {
		names = append(names, f.Name)
	}
	return names, nil
}

// verify checks each fold. One that cannot be read does not keep it from the others, and damage outweighs it.
func verify(c *cobra.Command, who *client.Client, folds []string, asJSON bool) error {
	var unread, damaged bool
	for _, fold := range folds {
		r, err := who.Verify(c.Context(), fold)
		if err != nil {
			tell(c.ErrOrStderr(), err)
			var refused *client.Error
			if errors.As(err, &refused) && refused.Code == "store_damaged" {
				damaged = true
			}
			unread = true
			continue
		}
		damaged = damaged || !r.OK
		if asJSON {
			err = json.NewEncoder(c.OutOrStdout()).Encode(r)
		} else {
			err = printReport(c.OutOrStdout(), r)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case damaged:
		return errDifferent
	case unread:
		return errFailed
	}
	return nil
}

func printReport(w io.Writer, r *client.Report) error {
	var b strings.Builder
	verdict := "ok"
	if !r.OK {
		verdict = fmt.Sprintf("%d problems", r.Found)
	}
	fmt.Fprintf(&b, "%s: %s: %d rows, %d lineages, seq %d, generation %s\n", r.Fold, verdict, r.Rows, r.Lineages, r.At.Seq, r.At.Generation)
	for _, x := range r.Indexes {
		fmt.Fprintf(&b, "  index %s: %d rows, digest %s\n", x.Name, x.Rows, x.Digest)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  %s\n", problemText(p))
	}
	if n := uint64(len(r.Problems)); r.Found > n {
		fmt.Fprintf(&b, "  and %d more\n", r.Found-n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func problemText(p client.Problem) string {
	s := p.Kind
	if p.Index != "" {
		s += fmt.Sprintf(" %s %q", p.Index, []byte(p.Key))
	}
	if p.Source != nil {
		s += fmt.Sprintf(" of source key %q", []byte(p.Source))
	}
	return s + ": " + p.Text
}
