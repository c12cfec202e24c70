package store

import (
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// IsDamage reports whether an error is that of a file of the store that is corrupt.
func IsDamage(err error) bool { return pebble.IsCorruptionError(err) }

// damage is a corruption without the line that Pebble adds to its text for code of its own.
type damage struct{ error }

func (d damage) Error() string {
	return strings.ReplaceAll(d.error.Error(), "\n<corruption detail carrier>", "")
}

func (d damage) Unwrap() error { return d.error }

// plain returns err with a text for people.
func plain(err error) error {
	if pebble.IsCorruptionError(err) {
		return damage{err}
	}
	return err
}
