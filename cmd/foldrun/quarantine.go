package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

func quarantineCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "quarantine",
		Args:  cobra.ArbitraryArgs,
		Short: "See the records that a module could not transform, and try them again",
		Long: `A record that a module cannot transform is held in quarantine, with the reason and the update itself. It leaves when its
key is updated or deleted, when another module has built the fold anew, or when a retry succeeds.`,
		Example: "  foldrun quarantine ls users\n  foldrun quarantine show users --source ann",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			err := misuse{fmt.Errorf("there is no command %q", "quarantine "+args[0])}
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				return hint.Error(err, "the nearest is %q", "quarantine "+near[0])
			}
			return hint.Error(err, "foldrun quarantine --help lists the commands")
		},
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(quarantineLsCommand(), quarantineShowCommand(), quarantineExportCommand(), quarantineRetryCommand())
	return c
}

// A sourceFlag is a source key on the command line, in one of three forms.
type sourceFlag struct{ text, hex, base64 string }

func (f *sourceFlag) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.text, "source", "", "the source key: the KV key, or the subject")
	c.Flags().StringVar(&f.hex, "source-hex", "", "the source key in hexadecimal; with keying = \"message\" the seq as 8 bytes, big-endian")
	c.Flags().StringVar(&f.base64, "source-base64", "", "the source key in base64, of either alphabet")
}

// key returns the source key that is given, nil if none is.
func (f *sourceFlag) key(c *cobra.Command) (key []byte, err error) {
	given := ""
	for _, name := range []string{"source", "source-hex", "source-base64"} {
		if !c.Flags().Changed(name) {
			continue
		}
		if given != "" {
			return nil, exclusive(c, given, name)
		}
		given = name
	}
	switch given {
	case "":
		return nil, nil
	case "source-hex":
		key, err = hex.DecodeString(f.hex)
	case "source-base64":
		key, err = base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(f.base64, "=")))
	default:
		key = []byte(f.text)
	}
	if err != nil {
		return nil, hint.Error(misuse{fmt.Errorf("--%s: %w", given, err)}, "--source gives the key as it is")
	}
	return append([]byte{}, key...), nil
}

// errNoSource is of a command line that lacks a source key.
var errNoSource = hint.Error(misuse{errors.New("it is not said which source key")}, "give --source KEY; foldrun quarantine ls FOLD lists them")

// reasonOf says what went wrong: the code, and the module's number where it gave one.
func reasonOf(q *client.Quarantined) string {
	if q.Code == "module" {
		return fmt.Sprintf("module %d", q.Number)
	}
	return q.Code
}

// quarantineOf says how a fold's quarantine stands.
func quarantineOf(f *client.FoldStatus) string {
	s := fmt.Sprintf("quarantine %d", f.Quarantined)
	if f.Allowed > 0 {
		s += fmt.Sprintf(" of %d allowed", f.Allowed)
	}
	if f.Lifted {
		s += ", which an operator lifted"
	}
	s += ", " + roundBytes(f.Held)
	if f.Kept > 0 {
		s += fmt.Sprintf("; %s an older record's rows", counted(f.Kept, "source key keeps", "source keys keep"))
	}
	return s
}

// roundBytes is a number of bytes, rounded.
func roundBytes(n uint64) string {
	const units = "KMGT"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
