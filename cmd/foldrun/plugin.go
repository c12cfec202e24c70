package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/hint"
)

func pluginCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "plugin",
		Short: "Write, test, build and look at modules",
		Long: `Write, test, build and look at modules. A plugin is a directory with its source, foldrun.plugin.toml and the SDK's one file;
its module is one .wasm file, which holds the manifest too.`,
		Example: "  foldrun plugin new users --lang go\n  foldrun plugin test users\n  foldrun plugin build users\n  foldrun plugin inspect users/users.wasm",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			err := misuse{fmt.Errorf("there is no command %q", "plugin "+args[0])}
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				return hint.Error(err, "the nearest is %q", "plugin "+near[0])
			}
			return hint.Error(err, "foldrun plugin --help lists the commands")
		},
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(pluginNewCommand(), pluginBuildCommand(), pluginTestCommand(), pluginInspectCommand(), pluginUpdateCommand(),
		pluginKeyCommand(), pluginSignCommand(), pluginPushCommand())
	return c
}
