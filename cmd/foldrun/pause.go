package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func pauseCommand() *cobra.Command {
	var d door
	c := &cobra.Command{
		Use:   "pause FOLD",
		Short: "Have a fold stop following its stream; reads go on",
		Long: `Have the running foldrun stop one fold from following its stream. It finishes what it has read, and answers reads from
what it has; a build is left where it is. It stays paused, through restarts, until 'foldrun resume FOLD'.

A fold that is paused for longer than its stream keeps messages, or the markers of removals, takes longer to resume: what it
missed is found by listing the stream.`,
		Example: "  foldrun pause users -c foldrun.toml\n  foldrun resume users",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := d.admin()
			if err != nil {
				return err
			}
			s, err := who.Pause(c.Context(), args[0])
			if err != nil {
				return err
			}
			said := "is paused"
			if s.State != "paused" {
				said = "pauses once it has finished what it has read"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s %s, at seq %d\n", s.Name, said, s.Seq)
			return err
		},
	}
	d.flags(c)
	return c
}
