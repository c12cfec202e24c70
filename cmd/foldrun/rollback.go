package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func rollbackCommand() *cobra.Command {
	var d door
	c := &cobra.Command{
		Use:   "rollback FOLD",
		Short: "Go back to the generation that the last upgrade replaced",
		Long: `Have the running foldrun serve the generation of a fold that the last upgrade replaced. It is kept for rollback_window, and has
followed the stream, so it is as new as the one that it replaces.

The fold is then held: a start with the same module and configuration keeps to the old generation and says so. Another
configuration is an upgrade as ever; 'foldrun apply FOLD' has the one that was gone back from serve again. This is about one
foldrun: go back on each node that runs the fold.`,
		Example: "  foldrun rollback users -c foldrun.toml",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := d.admin()
			if err != nil {
				return err
			}
			s, err := who.Rollback(c.Context(), args[0])
			if err != nil {
				return err
			}
			said := "goes back once that generation has caught up: foldrun status says how far it is"
			switch {
			case s.Code == "rolled_back" && s.State == "held":
				said = fmt.Sprintf("serves generation %s again, at seq %d", s.Generation, s.Seq)
			case s.State == "stopped" || s.State == "held":
				return standsStill(s)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s %s\n", s.Name, said)
			return err
		},
	}
	d.flags(c)
	return c
}
