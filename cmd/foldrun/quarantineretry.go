package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

func quarantineRetryCommand() *cobra.Command {
	var d door
	var source sourceFlag
	var all, asJSON bool
	c := &cobra.Command{
		Use:   "retry FOLD (--source KEY | --all)",
		Short: "Transform what is in quarantine again",
		Long: `Have the running foldrun transform held updates again, with the module that runs now, while the fold goes on. What can be
transformed leaves quarantine; a source key that was updated or deleted meanwhile is left alone.

A module's verdict on a record is always the same, so this helps where something beside the module changed. Another module,
config or limit needs no retry: it builds the fold anew.`,
		Example: "  foldrun quarantine retry users --source ann\n  foldrun quarantine retry users --all",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := source.key(c)
			switch {
			case err != nil:
				return err
			case key == nil && !all:
				return hint.Error(misuse{errors.New("it is not said which source key")}, "give --source KEY, or --all")
			case key != nil && all:
				return hint.Error(misuse{errors.New("--source and --all exclude each other")}, "give one of them")
			}
			who, err := d.admin()
			if err != nil {
				return err
			}
			r, err := who.Retry(c.Context(), args[0], key)
			if errors.Is(err, client.ErrNotFound) {
				return notHeld(args[0], key)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(r)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s tried: %d released, %d failing still, %d moved on meanwhile\n",
				args[0], counted(r.Tried, "source key", "source keys"), r.Released, r.Failing, r.Moved)
			return err
		},
	}
	d.flags(c)
	source.flags(c)
	c.Flags().BoolVar(&all, "all", false, "all that is in quarantine")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
