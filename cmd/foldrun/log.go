package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/hint"
)

// logFlags say how a verb that stays logs.
type logFlags struct{ format, level string }

func (f *logFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.format, "log-format", "text", `"text" or "json"`)
	c.Flags().StringVar(&f.level, "log-level", "info", `"debug", "info", "warn" or "error"`)
}

// open returns a logger to w.
func (f *logFlags) open(w io.Writer) (*slog.Logger, error) {
	var o slog.HandlerOptions
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, hint.Error(misuse{fmt.Errorf("--log-level is %q", f.level)}, "write debug, info, warn or error")
	}
	o.Level = level
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &o)), nil
	}
	return nil, hint.Error(misuse{fmt.Errorf("--log-format is %q", f.format)}, "write text or json")
}
