package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/golden"
)

// heldCase makes a test of an update that a fold holds.
type heldCase struct {
	door
	fold   string
	source sourceFlag
}

func (h *heldCase) flags(c *cobra.Command) {
	h.door.flags(c)
	c.Flags().StringVar(&h.fold, "from", "", "make a test of an update that this fold holds in quarantine, or else its stream: with --source")
	h.source.flags(c)
}

// unused refuses flags that mean nothing without --from.
func (h *heldCase) unused(c *cobra.Command) error {
	for _, name := range []string{"source", "source-hex", "source-base64", "url", "config", "data-dir"} {
		if c.Flags().Changed(name) {
			return hint.Error(misuse{fmt.Errorf("--%s without --from", name)}, "say which fold holds the update: --from FOLD --source KEY")
		}
	}
	return nil
}

// write prints the test.
func (h *heldCase) write(c *cobra.Command, args []string) error {
	key, err := h.source.key(c)
	switch {
	case err != nil:
		return err
	case key == nil:
		return errNoSource
	case len(args) > 0:
		return hint.Error(misuse{errors.New("--from makes a test, and runs none of " + args[0])}, "send it to a file: foldrun plugin test --from %s … > %s/testdata/NAME.txtar", h.fold, args[0])
	}
	who, err := h.open(c.Context(), c.ErrOrStderr())
	if err != nil {
		return err
	}
	k, err := h.make(c.Context(), who, key)
	if err != nil {
		return err
	}
	_, err = c.OutOrStdout().Write(k.Text())
	return err
}

// make makes the test: of the update in quarantine, else of what the stream holds.
func (h *heldCase) make(ctx context.Context, who *client.Client, key []byte) (*golden.Case, error) {
	q, err := who.QuarantinedSource(ctx, h.fold, key)
	switch {
	case errors.Is(err, client.ErrNotFound):
		return h.liveCase(ctx, key)
	case err != nil:
		return nil, err
	}
	return caseOf(h.fold, q), nil
}

// caseOf makes a test of an update in quarantine. It expects what happened: whoever mends the module sees it differ.
func caseOf(fold string, q *client.Quarantined) *golden.Case {
	k := &golden.Case{
		Comment: fmt.Sprintf("From quarantine of %s, module %.16s, seq %d of %s.", fold, q.Module, q.Seq, q.Time.UTC().Format(time.RFC3339Nano)),
		Op:      q.Update.Op, Key: q.Source, Subject: q.Update.Subject, Value: q.Update.Value, Seq: q.Seq, Time: q.Time,
		Reason: strings.TrimSuffix(fmt.Sprintf("%s: %s", reasonOf(q), q.Message), ": "),
	}
	for _, h := range q.Update.Headers {
		k.Headers = append(k.Headers, [2]string{string(h.Name), string(h.Value)})
	}
	return k
}
