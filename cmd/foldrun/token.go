package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/serve"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "token",
		Short:   "Make tokens for the HTTP address",
		Example: "  foldrun token new grafana --scope read",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return noCommand(c, args[0])
		},
	}
	c.AddCommand(tokenNewCommand())
	return c
}

func tokenNewCommand() *cobra.Command {
	var scope string
	var folds []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a token, and the line for the file of tokens",
		Long: `Make a token, and the line that lets it in: add that to the file that [http] tokens names, which a running foldrun reads
again by itself. The token is shown this once; the line has its hash only.

With the scope read a token reads; with admin it does also what operators do: reload, rebuild, apply, rollback, resume, pause, repair, retry, and profiles.
Without --folds it is for all folds.`,
		Example: "  foldrun token new grafana\n  foldrun token new shop --scope read --folds orders,users\n  foldrun token new oncall --scope admin --json",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			token, line, err := serve.NewToken(args[0], scope, folds)
			if err != nil {
				return hint.Error(misuse{err}, "foldrun token new NAME --scope read|admin --folds FOLD,FOLD")
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"token": token, "line": line})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "token: %s\nline:  %s\n", token, line)
			return err
		},
	}
	c.Flags().StringVar(&scope, "scope", serve.ScopeRead, `"read" or "admin"`)
	c.Flags().StringSliceVar(&folds, "folds", nil, "the folds that it may see, parted by commas (default all)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
