package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/plugins/sdk"
)

func pluginNewCommand() *cobra.Command {
	var lang string
	c := &cobra.Command{
		Use:   "new NAME --lang " + strings.Join(languages(), "|"),
		Short: "Write a new plugin",
		Long: `Write a new plugin into the directory NAME: a module that works, its manifest, its tests and the SDK's one file.
Nothing is fetched, and nothing that is there is overwritten.`,
		Example: "  foldrun plugin new cities-by-timezone --lang go",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if text, mend := config.CheckPluginName(args[0]); text != "" {
				return hint.Error(misuse{errors.New(text)}, "%s", mend)
			}
			l, err := language(lang)
			if err != nil {
				return err
			}
			return newPlugin(c.OutOrStdout(), args[0], l)
		},
	}
	c.Flags().StringVar(&lang, "lang", "", "the language: "+strings.Join(languages(), ", "))
	c.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(languages(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func languages() (names []string) {
	for _, l := range sdk.Languages {
		names = append(names, l.Name)
	}
	return names
}

func language(name string) (sdk.Language, error) {
	for _, l := range sdk.Languages {
		if l.Name == name {
			return l, nil
		}
	}
	err := fmt.Errorf("there is no SDK for %q", name)
	if name == "" {
		err = errors.New("--lang is missing")
	}
	return sdk.Language{}, hint.Error(misuse{err}, "write --lang %s", strings.Join(languages(), " or --lang "))
}

// newPlugin writes a plugin into a directory that it makes: what is there already stays as it is.
func newPlugin(out io.Writer, name string, l sdk.Language) (err error) {
	if err := os.Mkdir(name, 0o755); err != nil {
		if errors.Is(err, os.ErrExist) {
			return hint.Error(fmt.Errorf("%s is there already", name), "choose another name, or remove it")
		}
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(name)
		}
	}()
	files := l.Project(name)
	for _, f := range files {
		path := filepath.Join(name, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Text, 0o644); err != nil {
			return err
		}
	}
	for _, f := range files {
		fmt.Fprintf(out, "%s/%s\n", name, f.Path)
	}
	return nil
}
