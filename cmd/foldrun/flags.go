package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/foldrun/foldrun/hint"
)

// flagTakes says what a flag takes, by the type of its value, and an example.
var flagTakes = map[string]struct{ what, as string }{
	"bool":     {"true or false", ""},
	"duration": {"a duration", ", as 250ms or 30s"},
	"int":      {"a whole number", ", as 100"},
	"uint16":   {"a whole number from 0 to 65535", ", as 4222"},
	"uint64":   {"a whole number from 0", ", as 4711"},
}

// flagError says what is wrong with a flag, and what it takes. Of a value pflag has what the function said that could not
// read it.
func flagError(c *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		f := bad.GetFlag()
		if takes, known := flagTakes[f.Value.Type()]; known {
			wrong := "not " + takes.what
			if errors.Is(err, strconv.ErrRange) {
				wrong = "too far from 0"
			}
			return hint.Error(misuse{fmt.Errorf("--%s is %q, %s", f.Name, bad.GetValue(), wrong)}, "--%s takes %s%s: %s", f.Name, takes.what, takes.as, f.Usage)
		}
	}
	return hint.Error(misuse{err}, "%s --help lists the flags", c.CommandPath())
}
