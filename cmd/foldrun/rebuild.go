package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func rebuildCommand() *cobra.Command {
	var d door
	c := &cobra.Command{
		Use:   "rebuild FOLD",
		Short: "Build a fold anew from its stream, while the old rows serve",
		Long: `Have the running foldrun build a fold anew from its stream, beside the generation that serves. Once the new one has
caught up it replaces the old one, which is removed, unless an index would lose more than half of its rows: then the fold
holds, and 'foldrun resume FOLD --accept-loss' switches all the same.

A build that is held, or that failed, is dropped and begun again. 'foldrun status' shows how far it is; a restart goes on
with it.`,
		Example: "  foldrun rebuild users -c foldrun.toml\n  foldrun status -c foldrun.toml",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := d.admin()
			if err != nil {
				return err
			}
			s, err := who.Rebuild(c.Context(), args[0])
			if err != nil {
				return err
			}
			if s.State == "stopped" || s.State == "held" {
				return standsStill(s)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is being built anew\n", args[0])
			return err
		},
	}
	d.flags(c)
	return c
}
