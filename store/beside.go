package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Files in the directory of a generation, beside Pebble's, for who has not its lock: see Peek. What counts is in Pebble.
const (
	identityFile = "identity.json"
	builtFile    = "built.json"
)

// fileOfOurs says whether a file in the directory of a generation is one of ours, whole or about to be.
func fileOfOurs(name string) bool {
	return slices.Contains([]string{identityFile, builtFile, moduleFile, copiedFile}, strings.TrimSuffix(name, fresh))
}

// A described is what identityFile holds.
type described struct {
	Identity Identity         `json:"identity"`
	Limits   map[string]int64 `json:"limits"`
}

// Built says what it took to build a generation from nothing until it had caught up.
type Built struct {
	At      time.Time     `json:"at"`
	Took    time.Duration `json:"took_ns"`
	Updates uint64        `json:"updates"`          // folded
	Bytes   int64         `json:"bytes"`            // of its files
	Copied  bool          `json:"copied,omitempty"` // of the records that another generation kept, not of the source
}

// describe writes the identity and the limits beside Pebble's files, unless they are there.
func (db *DB) describe() error {
	b, err := json.Marshal(described{db.id, db.limits.Load().Of})
	if err != nil {
		return fmt.Errorf("store: identity of %s: %w", db.path, err)
	}
	name := db.dir.fs.PathJoin(db.path, identityFile)
	if was, err := readFile(db.dir.fs, name); err == nil && bytes.Equal(was, b) {
		return nil
	}
	return db.dir.replaceFile(name, b)
}

// KeepBuilt keeps what it took to build the generation. Bytes is set here.
func (db *DB) KeepBuilt(b Built) error {
	var err error
	if b.Bytes, err = sizeOf(db.dir.fs, db.path); err != nil {
		return err
	}
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("store: figures of %s: %w", db.path, err)
	}
	return db.dir.replaceFile(db.dir.fs.PathJoin(db.path, builtFile), text)
}

// A Peek is what a data directory says of a fold to who has not its lock. What runs there may go on: it is what stood when
// it was looked at.
type Peek struct {
	Current  string // the generation that serves, "" for none
	Identity Identity
	Built    Built // the zero value where nothing is known
	Bytes    int64 // of the files of the generation that serves
	Next     Next
	Previous Previous
	Paused   string // since when, "" when it is not

	dir  *Dir
	fold string
}

// ErrNotDescribed is part of the error of PeekAt for a generation that does not say beside Pebble's files what it is.
var ErrNotDescribed = errors.New("no " + identityFile)

// PeekAt looks at a fold of the data directory at path, which another process may have. It changes nothing. A fold of
// which nothing is there is no error.
func PeekAt(path, fold string) (p Peek, err error) {
	for range 3 {
		p = Peek{dir: &Dir{path: path, fs: vfs.Default, opt: Options{ReadOnly: true}}, fold: fold}
		if err = p.look(); err == nil {
			return p, nil
		}
		if now, _ := p.dir.Current(fold); now == p.Current {
			break // else a switch removed what was looked at
		}
	}
	return p, err
}

func (p *Peek) look() (err error) {
	if p.Current, err = p.dir.Current(p.fold); err != nil {
		return err
	}
	if p.Next, err = p.dir.Next(p.fold); err != nil && !errors.Is(err, ErrNext) {
		return err
	}
	if p.Previous, err = p.dir.Previous(p.fold); err != nil {
		return err
	}
	if p.Paused, _, err = p.dir.Paused(p.fold); err != nil || p.Current == "" {
		return err
	}
	if _, err := p.dir.fs.Stat(p.dir.foldPath(p.fold, p.Current)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: fold %s has %w %s", p.fold, ErrNoGeneration, p.Current)
	}
	if p.Identity, err = p.dir.Described(p.fold, p.Current); err != nil {
		return err
	}
	if err := p.read(builtFile, &p.Built); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p.Bytes, err = sizeOf(p.dir.fs, p.dir.foldPath(p.fold, p.Current))
	return err
}

// read decodes a file of the generation that serves.
func (p *Peek) read(name string, into any) error {
	return p.dir.readBeside(p.fold, p.Current, name, into)
}

// Described returns the identity of a generation, limits and all, as the file beside its database has it.
func (d *Dir) Described(fold, generation string) (id Identity, err error) {
	var x described
	if err := d.readBeside(fold, generation, identityFile, &x); errors.Is(err, os.ErrNotExist) {
		return id, fmt.Errorf("store: fold %s: generation %s has %w", fold, generation, ErrNotDescribed)
	} else if err != nil {
		return id, err
	}
	x.Identity.Limits = x.Limits
	return x.Identity, nil
}

// readBeside decodes a file of a generation.
func (d *Dir) readBeside(fold, generation, name string, into any) error {
	b, err := readFile(d.fs, d.foldPath(fold, generation, name))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("store: generation %s of fold %s: %s: %w", generation, fold, name, err)
	}
	return nil
}

// Module returns the module that makes the generation that serves: see DB.KeepModule.
func (p *Peek) Module() ([]byte, error) {
	b, err := readFile(p.dir.fs, p.dir.foldPath(p.fold, p.Current, moduleFile))
	if err != nil {
		return nil, fmt.Errorf("store: module of generation %s of fold %s: %w", p.Current, p.fold, err)
	}
	return b, nil
}

// Held reports whether an operator went back from what is configured: see Dir.Hold.
func (p *Peek) Held(configured Identity) (bool, error) { return p.dir.Holds(p.fold, configured) }

// Readable returns why the generation that serves cannot be opened for its format, nil where it can.
func (p *Peek) Readable() error {
	if p.Current == "" {
		return nil
	}
	return p.dir.reads(p.fold, p.Current, p.Identity.Format)
}

// Vacant returns the name of the next generation that would be built of an identity.
func (p *Peek) Vacant(id Identity) (string, error) {
	n, err := p.dir.Vacant(id)
	if err != nil {
		return "", err
	}
	return id.Build(n)
}

// sizeOf returns the bytes of the files in a directory. One that goes meanwhile counts for nothing.
func sizeOf(fs vfs.FS, path string) (n int64, err error) {
	all, err := fs.List(path)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	for _, name := range all {
		if info, err := fs.Stat(fs.PathJoin(path, name)); err == nil {
			n += info.Size()
		}
	}
	return n, nil
}
