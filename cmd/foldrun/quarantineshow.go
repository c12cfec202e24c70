package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

func quarantineShowCommand() *cobra.Command {
	var d readDoor
	var source sourceFlag
	var asJSON bool
	c := &cobra.Command{
		Use:   "show FOLD --source KEY",
		Short: "Show why one source key is in quarantine, and its update",
		Long: `Show why one source key is in quarantine: the whole reason, the module that failed, and the update as it was given to it,
headers and value included. A value that is JSON is set out, one that is no text is shown in base64.`,
		Example: "  foldrun quarantine show users --source ann\n  foldrun quarantine show events --source-hex 00000000000004d2 --json",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := source.key(c)
			if err != nil {
				return err
			}
			if key == nil {
				return errNoSource
			}
			who, err := d.open(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			q, err := who.QuarantinedSource(c.Context(), args[0], key)
			if errors.Is(err, client.ErrNotFound) {
				return notHeld(args[0], key)
			}
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetEscapeHTML(false)
				return e.Encode(q)
			}
			return showQuarantined(c.OutOrStdout(), q)
		},
	}
	d.flags(c)
	source.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func notHeld(fold string, key []byte) error {
	return hint.Error(fmt.Errorf("%s: source key %q is not in quarantine", fold, key), "foldrun quarantine ls %s lists what is", fold)
}

func showQuarantined(out io.Writer, q *client.Quarantined) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	field := func(name string, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	field("source", "%s", appendField(nil, q.Source))
	field("seq", "%d", q.Seq)
	field("time", "%s", q.Time.UTC().Format(time.RFC3339Nano))
	field("reason", "%s", reasonOf(q))
	field("module", "%s", orDash(q.Module))
	if q.Kept != 0 {
		field("kept", "the rows of seq %d stand", q.Kept)
	}
	if u := q.Update; u != nil {
		field("update", "%s of %s", u.Op, appendField(nil, u.Subject))
		for _, h := range u.Headers {
			field("header", "%s: %s", appendField(nil, h.Name), appendField(nil, h.Value))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	block(out, "message", strings.Split(q.Message, "\n"))
	if q.Update == nil {
		return nil
	}
	name, lines := valueLines(q.Update.Value)
	return block(out, name, lines)
}

// valueLines returns a value as it is best looked at, and what that is.
func valueLines(v client.Bytes) (name string, lines []string) {
	var set bytes.Buffer
	b, err := v.MarshalJSON()
	switch {
	case err != nil || bytes.HasPrefix(b, []byte("{")):
		return fmt.Sprintf("value (%d bytes, base64)", len(v)), []string{base64Of(v)}
	case json.Valid(v) && json.Indent(&set, v, "", "  ") == nil:
		return fmt.Sprintf("value (%d bytes, JSON)", len(v)), strings.Split(set.String(), "\n")
	}
	return fmt.Sprintf("value (%d bytes)", len(v)), strings.Split(string(v), "\n")
}

// printable returns a line with what would do something to a terminal escaped as in Go.
func printable(line string) string {
	var b strings.Builder
	for _, r := range line {
		if r == '\t' || strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}

// block prints lines under a name, each as it can be printed.
func block(out io.Writer, name string, lines []string) error {
	_, err := fmt.Fprintf(out, "%s\n", name)
	for _, l := range lines {
		if err == nil {
			_, err = fmt.Fprintf(out, "  %s\n", printable(l))
		}
	}
	return err
}
