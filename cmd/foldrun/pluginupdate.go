package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/plugins/sdk"
)

func pluginUpdateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "update [DIR]",
		Short: "Renew a plugin's copy of the SDK",
		Long: `Replace the SDK's one file in the plugin in DIR, by default here, by that of this foldrun. Nothing else is touched: build
and test the plugin then. What was changed in that file is lost.`,
		Example: "  foldrun plugin update users",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return updatePlugin(c.OutOrStdout(), append(args, ".")[0])
		},
	}
}

func updatePlugin(out io.Writer, dir string) error {
	for _, l := range sdk.Languages {
		f := l.SDK()
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		have, err := os.ReadFile(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return err
		case bytes.Equal(have, f.Text):
			fmt.Fprintf(out, "%s: it is this foldrun's already\n", path)
			return nil
		}
		if err := replaceFile(path, f.Text); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: renewed\n", path)
		return nil
	}
	return hint.Error(fmt.Errorf("%s has no copy of an SDK", dir), "name the directory of a plugin that foldrun plugin new wrote")
}
