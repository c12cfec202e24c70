package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
)

func quarantineExportCommand() *cobra.Command {
	var d readDoor
	var prefix, output string
	c := &cobra.Command{
		Use:   "export FOLD",
		Short: "Write out what is in quarantine, with the updates",
		Long: `Write out what is in quarantine as JSON, a source key a line, with the reason and the whole update: enough to make a test
case of it. What is no text is {"base64": "…"}.`,
		Example: "  foldrun quarantine export users > failed.ndjson\n  foldrun quarantine export users --prefix eu. --output failed.ndjson",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := d.open(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			r := client.QuarantineRange{Prefix: []byte(prefix), Updates: true}
			write := func(w io.Writer) (n int, err error) {
				e := json.NewEncoder(w)
				e.SetEscapeHTML(false)
				for q, err := range who.Quarantine(c.Context(), args[0], r) {
					if err == nil {
						err = e.Encode(q)
					}
					if err != nil {
						return n, err
					}
					n++
				}
				return n, nil
			}
			if output == "" {
				out := bufio.NewWriter(c.OutOrStdout())
				_, err := write(out)
				return errors.Join(out.Flush(), err)
			}
			n, err := toFile(output, write)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s in %s\n", counted(uint64(n), "source key", "source keys"), output)
			return err
		},
	}
	d.flags(c)
	c.Flags().StringVar(&prefix, "prefix", "", "only source keys that start with this")
	c.Flags().StringVarP(&output, "output", "o", "", "the file to write (default stdout)")
	return c
}

// toFile has write write a file. What a failure leaves of it is removed.
func toFile(name string, write func(io.Writer) (int, error)) (n int, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriter(f)
	n, err = write(w)
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		os.Remove(name)
	}
	return n, err
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
