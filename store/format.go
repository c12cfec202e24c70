package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/foldrun/foldrun/hint"
)

// ErrFormat is part of the error of Open for a generation of a format that this foldrun does not read. Nothing of it is changed.
var ErrFormat = errors.New("not a format that this foldrun reads")

// Format returns the format of the databases that are written: Identity.Format of what is built.
func (d *Dir) Format() int {
	all := d.formats()
	return all[len(all)-1]
}

// formats are those of the databases that can be opened, the last one is what is written.
func (d *Dir) formats() []int {
	if d.opt.formats == nil {
		return formats
	}
	return d.opt.formats
}

// Readable returns why a generation cannot be opened for its format, as the file beside its database tells it: nil where it can,
// or nothing is told.
func (d *Dir) Readable(fold, generation string) error {
	id, err := d.Described(fold, generation)
	if err != nil {
		return nil
	}
	return d.reads(fold, generation, id.Format)
}

// reads refuses a format that is none of those that can be read.
func (d *Dir) reads(fold, generation string, format int) error {
	if slices.Contains(d.formats(), format) {
		return nil
	}
	err := fmt.Errorf("store: %s is of store format %d: %w: it reads %v", d.foldPath(fold, generation), format, ErrFormat, d.formats())
	if format > d.Format() {
		return hint.Error(err, "run the newer foldrun that wrote it; or have this one build the fold anew, which nothing answers for meanwhile: foldrun rebuild %s", fold)
	}
	return hint.Error(err, "run the foldrun before this one until it has built the fold in its own format; or have this one build it anew, "+
		"which nothing answers for meanwhile: foldrun rebuild %s", fold)
}

// foretold refuses a database by the file beside it, before Pebble has opened it: a newer one's format may be none that it knows.
func (db *DB) foretold() error { return db.dir.Readable(db.fold, db.generation) }

// checkFormat refuses a database by what it says of itself.
func (db *DB) checkFormat() error {
	v, err := db.get(keyFormat)
	if err != nil || len(v) != 8 {
		return fmt.Errorf("its format: %d bytes: %w", len(v), err)
	}
	return db.dir.reads(db.fold, db.generation, int(binary.LittleEndian.Uint64(v)))
}
