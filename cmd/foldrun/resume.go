package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

func resumeCommand() *cobra.Command {
	var d door
	var accept bool
	c := &cobra.Command{
		Use:   "resume FOLD",
		Short: "Have a fold that stopped or is paused go on",
		Long: `Have the running foldrun try again with a fold that stopped or is paused, or whose build stopped. Nothing is lost by that: what stopped
it stops it again if it is still there: some seconds are waited for that, and the exit code is 1 then.

With --accept-loss, accept what it stopped for: a stream that holds another history is folded as it is, a generation that
was built with far fewer rows replaces the old one. docs/runbook.md says what that means for each code.`,
		Example: "  foldrun resume users -c foldrun.toml\n  foldrun resume users --accept-loss",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := d.admin()
			if err != nil {
				return err
			}
			s, err := who.Resume(c.Context(), args[0], accept)
			if err != nil {
				return err
			}
			return tellResumed(c.OutOrStdout(), s)
		},
	}
	d.flags(c)
	c.Flags().BoolVar(&accept, "accept-loss", false, "accept that rows are lost")
	return c
}

// tellResumed says how a fold stands that was asked to go on.
func tellResumed(out io.Writer, s *client.FoldStatus) error {
	switch {
	case s.State == "stopped" || s.State == "held":
		return standsStill(s)
	case s.Code != "":
		_, err := fmt.Fprintf(out, "%s goes on: %s, %s: %s\n", s.Name, s.State, s.Code, s.Reason)
		return err
	}
	_, err := fmt.Fprintf(out, "%s goes on: %s, seq %d\n", s.Name, s.State, s.Seq)
	return err
}

// standsStill is the error of an action after which a fold does not go on.
func standsStill(s *client.FoldStatus) error {
	return hint.Error(fmt.Errorf("%s is %s: %s: %s", s.Name, s.State, s.Code, s.Reason), "%s", s.Hint)
}
