package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func resumeCommand() *cobra.Command {
	var d door
	var accept bool
	c := &cobra.Command{
		Use:   "resume FOLD",
		Short: "Have a fold that stopped go on",
		Long: `Have the running foldrun try again with a fold that stopped, or whose build did. Nothing is lost by that: what stopped
it stops it again if it is still there.

With --accept-loss, accept what it stopped for: a stream that holds another history is folded as it is, a generation that
was built with far fewer rows replaces the old one. docs/runbook.md says what that means for each code.`,
		Example: "  foldrun resume users -c foldrun.toml\n  foldrun resume users --accept-loss",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := d.admin()
			if err != nil {
				return err
			}
			if err := who.Resume(c.Context(), args[0], accept); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s goes on\n", args[0])
			return err
		},
	}
	d.flags(c)
	c.Flags().BoolVar(&accept, "accept-loss", false, "accept that rows are lost")
	return c
}
