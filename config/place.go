package config

import (
	"errors"

	"github.com/foldrun/foldrun/hint"
)

// At returns the place of a key of the fold, as a Problem that says nothing yet: At("module", "path"). The line of a key
// that does not stand in the file is that of the table around it.
func (f Fold) At(key ...string) Problem {
	path := append([]string{"fold", f.Name}, key...)
	return Problem{File: f.File, Line: f.lines.at(path), Key: dotted(path)}
}

// At returns the place of a key of the main file, as Fold.At does.
func (c *Config) At(key ...string) Problem {
	return Problem{File: c.Path, Line: c.lines.at(key), Key: dotted(key)}
}

// Err returns the problem as an error with its hint.
func (p Problem) Err() error {
	err := errors.New(p.String())
	if p.Hint == "" {
		return err
	}
	return hint.Error(err, "%s", p.Hint)
}
