package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func reloadCommand() *cobra.Command {
	var d door
	c := &cobra.Command{
		Use:   "reload",
		Short: "Have a running foldrun read its configuration again",
		Long: `Have the running foldrun read its configuration and the modules again, as SIGHUP does. All of it is checked first: with any
mistake nothing changes. Then each fold that differs, or whose module does, takes that up as a start would: another generation
is built beside the one that serves. The other folds go on untouched.

What is not in a fold that runs already, a new fold, [store] or [http] say, takes a start.`,
		Example: "  foldrun reload -c foldrun.toml\n  kill -HUP $(pidof foldrun)",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			who, err := d.admin()
			if err != nil {
				return err
			}
			did, err := who.Reload(c.Context())
			if err != nil {
				return err
			}
			said := "nothing has changed"
			if len(did.Changed) > 0 {
				said = "taken up: " + strings.Join(did.Changed, ", ")
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s; %s unchanged\n", said, counted(did.Unchanged, "fold", "folds"))
			return err
		},
	}
	d.flags(c)
	return c
}
