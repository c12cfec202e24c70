package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func applyCommand() *cobra.Command {
	var d door
	var force bool
	c := &cobra.Command{
		Use:   "apply FOLD",
		Short: "Have a fold serve what is configured: end a rollback, or the wait of upgrade = \"manual\"",
		Long: `Have the running foldrun build what is configured for a fold, beside the generation that serves; the new one replaces it once
it has caught up, unless an index would lose more than half of its rows. After 'foldrun rollback' the generation that was
gone back from serves again: as long as it is kept, that takes a moment. A rollback that is under way is called off. A build that
waits for its moment (build_jitter) begins.

With --force, a generation that is built and held serves, whatever it lacks. The module and the configuration are those that
foldrun was started with: foldrun reload has it take others.`,
		Example: "  foldrun apply users -c foldrun.toml\n  foldrun apply users --force",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := d.admin()
			if err != nil {
				return err
			}
			s, err := who.Apply(c.Context(), args[0], force)
			if err != nil {
				return err
			}
			switch {
			case s.State == "stopped" || s.State == "held":
				return standsStill(s)
			case s.Build != nil:
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s: generation %s is being built; %s serves until it has caught up\n", s.Name, s.Build.Generation, s.Generation)
			default:
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s: generation %s serves, at seq %d\n", s.Name, s.Generation, s.Seq)
			}
			return err
		},
	}
	d.flags(c)
	c.Flags().BoolVar(&force, "force", false, "have what is built and held serve, whatever it lacks")
	return c
}
