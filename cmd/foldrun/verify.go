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
	"github.com/foldrun/foldrun/hint"
)

func verifyCommand() *cobra.Command {
	var d door
	var asJSON, keys, repair bool
	c := &cobra.Command{
		Use:   "verify [FOLD]",
		Short: "Check the stores against themselves, or their keys against the source",
		Long: `Read the store of a fold, or of each, whole, and check that its rows, its lineage, its counts and its digests agree.
Exit 3 where they do not.

With --keys, have the running foldrun list the stream of each fold, without values, and compare every message with what
was folded. Nothing is changed: a running fold mends what differs by itself, with its own sweeps; --repair has it do that now.`,
		Example: "  foldrun verify -c foldrun.toml\n  foldrun verify users --keys\n  foldrun verify users --keys --repair\n  foldrun verify users --data-dir /var/lib/foldrun",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if repair && !keys {
				return hint.Error(misuse{errors.New("--repair is of --keys")}, "give both; rows that differ are mended with foldrun rebuild FOLD")
			}
			who, err := d.open(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if args, err = foldNames(c.Context(), who); err != nil {
					return err
				}
			}
			check := verifyStore
			if keys {
				check = verifyKeys
			}
			if repair {
				if who, err = d.admin(); err != nil {
					return err
				}
				check = repairKeys
			}
			return verify(c, who, args, asJSON, check)
		},
	}
	d.flags(c)
	c.Flags().BoolVar(&keys, "keys", false, "compare the source keys with those of the stream")
	c.Flags().BoolVar(&repair, "repair", false, "with --keys: mend what differs")
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
func verify(c *cobra.Command, who *client.Client, folds []string, asJSON bool, check verifier) error {
	var unread, damaged bool
	for _, fold := range folds {
		r, err := check(c.Context(), who, fold)
		if err != nil {
			tell(c.ErrOrStderr(), ofFold(fold, err))
			var refused *client.Error
			if errors.As(err, &refused) && refused.Code == "store_damaged" {
				damaged = true
			}
			unread = true
			continue
		}
		damaged = damaged || !r.ok()
		if asJSON {
			err = json.NewEncoder(c.OutOrStdout()).Encode(r)
		} else {
			_, err = io.WriteString(c.OutOrStdout(), r.text())
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

// ofFold names the fold that an error is of.
func ofFold(fold string, err error) error {
	var refused *client.Error
	if !errors.As(err, &refused) {
		return fmt.Errorf("%s: %w", fold, err)
	}
	if strings.Contains(refused.Message, fmt.Sprintf("fold %q", fold)) || strings.Contains(refused.Message, "fold "+fold+" ") {
		return err
	}
	named := *refused
	named.Message = fold + ": " + named.Message
	return &named
}

// A verifier checks one fold.
type verifier func(ctx context.Context, who *client.Client, fold string) (verdict, error)

// A verdict is a report that encodes as JSON.
type verdict interface {
	ok() bool
	text() string
}

type storeFinding struct{ *client.Report }

type keyFinding struct{ *client.KeyReport }

func verifyStore(ctx context.Context, who *client.Client, fold string) (verdict, error) {
	r, err := who.Verify(ctx, fold)
	return storeFinding{r}, err
}

func verifyKeys(ctx context.Context, who *client.Client, fold string) (verdict, error) {
	r, err := who.VerifyKeys(ctx, fold)
	return keyFinding{r}, err
}

func repairKeys(ctx context.Context, who *client.Client, fold string) (verdict, error) {
	r, err := who.Repair(ctx, fold)
	return keyFinding{r}, err
}

func (r keyFinding) ok() bool { return r.OK }

func (r keyFinding) text() string {
	var b strings.Builder
	said := "ok"
	if !r.OK {
		said = fmt.Sprintf("%d stale, %d missed", r.Stale, r.Missed)
	}
	if r.Repair && !r.OK {
		said += ", mended"
	}
	fmt.Fprintf(&b, "%s: %s: %d messages listed up to seq %d, %d live source keys match\n", r.Fold, said, r.Listed, r.Seq, r.Matched)
	if r.LastSeq > r.Seq {
		fmt.Fprintf(&b, "  what the stream has from there to seq %d was not folded yet, and not compared\n", r.LastSeq)
	}
	for _, k := range r.Keys {
		fmt.Fprintf(&b, "  %s: source key %q, seq %d\n", k.Kind, []byte(k.Source), k.Seq)
	}
	if n := uint64(len(r.Keys)); r.Stale+r.Missed > n {
		fmt.Fprintf(&b, "  and %d more\n", r.Stale+r.Missed-n)
	}
	return b.String()
}

func (r storeFinding) ok() bool { return r.OK }

func (r storeFinding) text() string {
	var b strings.Builder
	said := "ok"
	if !r.OK {
		said = counted(r.Found, "problem", "problems")
	}
	fmt.Fprintf(&b, "%s: %s: %d rows, %d lineages, seq %d, generation %s\n", r.Fold, said, r.Rows, r.Lineages, r.At.Seq, r.At.Generation)
	if r.Kept > 0 {
		fmt.Fprintf(&b, "  %s rows of an older record (on_error = \"keep_last_good\"): those are no function of the source\n",
			counted(r.Kept, "source key keeps", "source keys keep"))
	}
	for _, x := range r.Indexes {
		fmt.Fprintf(&b, "  index %s: %d rows, digest %s\n", x.Name, x.Rows, x.Digest)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  %s\n", problemText(p))
	}
	if n := uint64(len(r.Problems)); r.Found > n {
		fmt.Fprintf(&b, "  and %d more\n", r.Found-n)
	}
	return b.String()
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
