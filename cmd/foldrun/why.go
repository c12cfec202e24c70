package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

func whyCommand() *cobra.Command {
	var f rowFlags
	var source sourceFlag
	c := &cobra.Command{
		Use:   "why FOLD/INDEX KEY | why FOLD --source KEY",
		Short: "Show which source records made a row, or what a source key owns",
		Long: `Show which source records claim a key of an index: for each its source key, the seq and time of the update that was
applied, and every row that it owns, in all indexes. With --source, show that of one source key.`,
		Example: "  foldrun why users/by_email ann@example.com\n  foldrun why users --source ann",
		Args:    arguments(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := source.key(c)
			switch {
			case err != nil:
				return err
			case key != nil && len(args) == 1:
				return whySource(c, &f, args[0], key)
			case key != nil:
				return hint.Error(misuse{errors.New("a KEY and --source exclude each other")}, "usage: %s", c.UseLine())
			case len(args) == 1:
				return hint.Error(misuse{errors.New("it is not said which key")}, "usage: %s", c.UseLine())
			}
			return whyKey(c, &f, args[0], args[1])
		},
	}
	f.readDoor.flags(c)
	f.waitFlags(c)
	c.Flags().BoolVar(&f.asJSON, "json", false, "print a JSON object a source record")
	c.Flags().BoolVar(&f.asHex, "hex", false, "the key on the command line is hexadecimal")
	c.Flags().BoolVar(&f.asBase64, "base64", false, "the key on the command line is base64, of either alphabet")
	c.Flags().BoolVar(&f.asTuple, "tuple", false, `the key on the command line is a tuple, as ("DE",42)`)
	source.flags(c)
	return c
}

func whySource(c *cobra.Command, f *rowFlags, fold string, source []byte) error {
	r, who, err := f.begin(c, f.scope)
	if err != nil {
		return err
	}
	why, err := who.WhySource(c.Context(), fold, source, r)
	if err := notFound(c, fold, fmt.Sprintf("%s: source key %q: it has no live record", fold, source), err); err != nil {
		return err
	}
	noteState(c.ErrOrStderr(), fold, why.At)
	return printWhy(c.OutOrStdout(), why, f.asJSON)
}

func whyKey(c *cobra.Command, f *rowFlags, name, text string) error {
	fold, index, key, err := f.row(c, name, text)
	if err != nil {
		return err
	}
	r, who, err := f.begin(c, f.scope)
	if err != nil {
		return err
	}
	for {
		why, err := who.WhyKey(c.Context(), fold, index, key, r)
		if err := notFound(c, fold, fmt.Sprintf("%s: key %q: not found", name, key), err); err != nil {
			return err
		}
		if err := printWhy(c.OutOrStdout(), why, f.asJSON); err != nil {
			return err
		}
		if why.Next == nil {
			noteState(c.ErrOrStderr(), fold, why.At)
			return nil
		}
		r.After = why.Next
	}
}

// notFound makes an error of what is not there, and notes how the fold stands.
func notFound(c *cobra.Command, fold, text string, err error) error {
	var refused *client.Error
	if errors.Is(err, client.ErrNotFound) && errors.As(err, &refused) {
		noteState(c.ErrOrStderr(), fold, refused.At)
		return errors.New(text)
	}
	return err
}

func printWhy(out io.Writer, why *client.Why, asJSON bool) error {
	for _, o := range why.Owners {
		if asJSON {
			e := json.NewEncoder(out)
			e.SetEscapeHTML(false)
			if err := e.Encode(o); err != nil {
				return err
			}
			continue
		}
		if _, err := io.WriteString(out, ownerText(o, why)); err != nil {
			return err
		}
	}
	return nil
}

func ownerText(o client.Owner, why *client.Why) string {
	var b strings.Builder
	field := func(p []byte) string { return string(appendField(nil, p)) }
	fmt.Fprintf(&b, "source key %s: seq %d of %s, module %.16s, generation %s\n", field(o.Source), o.Seq, o.Time.Format(time.RFC3339Nano), why.Module, why.At.Generation)
	switch {
	case o.Kept != 0:
		fmt.Fprintf(&b, "  in quarantine; the rows are those of seq %d\n", o.Kept)
	case o.Quarantined:
		b.WriteString("  in quarantine\n")
	case len(o.Rows) == 0:
		b.WriteString("  it yields no row\n")
	}
	if !o.Expires.IsZero() {
		fmt.Fprintf(&b, "  expires %s\n", o.Expires.Format(time.RFC3339Nano))
	}
	for _, r := range o.Rows {
		fmt.Fprintf(&b, "  %s\t%s", r.Index, field(r.Key))
		if !r.Expires.IsZero() {
			fmt.Fprintf(&b, "\texpires %s", r.Expires.Format(time.RFC3339Nano))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
