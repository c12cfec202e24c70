package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// ErrDamaged is part of the error of a store whose files are not what was written: some are missing or cut short.
var ErrDamaged = errors.New("files of the store are missing or damaged")

// IsDamage reports whether an error is that of a store whose files are corrupt or missing.
func IsDamage(err error) bool { return pebble.IsCorruptionError(err) || errors.Is(err, ErrDamaged) }

// systemTrouble reports whether an error says that the system would not let us, and nothing about the files.
func systemTrouble(err error) bool {
	for _, e := range []error{os.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.EACCES, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// gutted returns an error for a directory with tables or logs and without the marker that names the manifest: a copy
// or a removal that stopped half-way. Pebble would take it for a new database and read old logs into it.
func (db *DB) gutted() error {
	names, err := db.dir.fs.List(db.path)
	if err != nil {
		return nil // opening says what is wrong
	}
	left := ""
	for _, name := range names {
		if strings.HasPrefix(name, "marker.manifest.") {
			return nil
		}
		if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") {
			left = name
		}
	}
	if left == "" {
		return nil
	}
	return fmt.Errorf("%w: it has %s and no marker.manifest file", ErrDamaged, left)
}

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
