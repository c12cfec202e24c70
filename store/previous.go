package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// A Previous is the generation that an upgrade replaced, kept as the way back.
type Previous struct {
	Generation string // "" when there is none
	Until      time.Time
}

// Previous returns the generation of a fold that is kept as the way back, the zero value when none is.
func (d *Dir) Previous(fold string) (p Previous, err error) {
	b, err := readFile(d.fs, d.foldPath(fold, "PREVIOUS"))
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("store: previous generation of fold %s: %w", fold, err)
	}
	words := strings.Fields(string(b))
	if len(words) == 2 && Number(words[0]) != 0 {
		if p.Until, err = time.Parse(time.RFC3339, words[1]); err == nil {
			p.Generation = words[0]
		}
	}
	return p, nil // else nothing can be said of it: as good as none
}

// Retain keeps, after a switch and instead of Finish, the generation that was replaced, until a time.
func (d *Dir) Retain(fold string, until time.Time) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	n, err := d.Next(fold)
	if err == nil && n.Replaces == "" {
		err = fmt.Errorf("store: fold %s: nothing was replaced", fold)
	}
	if err == nil {
		err = d.keep(fold, n.Replaces, until)
	}
	if err != nil {
		return err
	}
	return d.Forget(fold)
}

// Release gives up the way back: the generation that Retain kept is removed, which must be closed. It may be repeated, after
// a crash too.
func (d *Dir) Release(fold string) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	p, err := d.Previous(fold)
	if err != nil {
		return err
	}
	current, err := d.Current(fold)
	if err == nil && p.Generation != current {
		err = d.remove(fold, p.Generation)
	}
	if err != nil {
		return err
	}
	return d.unlink(fold, "PREVIOUS")
}

// Return makes the generation that Retain kept the one that is built next, so that it can replace the current one again.
// With asked an operator has it so. It may be repeated, after a crash too.
func (d *Dir) Return(fold string, asked bool) error {
	p, err := d.Previous(fold)
	if err != nil {
		return err
	}
	current, err := d.Current(fold)
	if err == nil && p.Generation != "" && p.Generation != current {
		err = d.Begin(fold, Next{Generation: p.Generation, Replaces: current, Asked: asked})
	}
	if err != nil {
		return err
	}
	return d.unlink(fold, "PREVIOUS")
}

// Stay calls off a way back that Hold and Return noted: what was to serve again is kept, until a time, as Retain does. A crash before
// Hold is taken back leaves the way back as it was; after that, a NEXT that names what is kept, which Forget removes.
func (d *Dir) Stay(fold string, until time.Time) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	n, err := d.Next(fold)
	if err == nil && n.Generation == "" {
		err = fmt.Errorf("store: fold %s: nothing is to serve again", fold)
	}
	if err == nil {
		err = d.keep(fold, n.Generation, until)
	}
	if err == nil {
		err = d.Unhold(fold)
	}
	if err != nil {
		return err
	}
	return d.Forget(fold)
}

// keep writes PREVIOUS.
func (d *Dir) keep(fold, generation string, until time.Time) error {
	return d.replaceFile(d.foldPath(fold, "PREVIOUS"), []byte(generation+" "+until.UTC().Format(time.RFC3339)+"\n"))
}

// Hold notes that an operator went back from what is configured: until the configuration is another, or Unhold.
func (d *Dir) Hold(fold string, configured Identity) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	is, err := configured.fingerprint()
	if err != nil {
		return err
	}
	return d.replaceFile(d.foldPath(fold, "HELD"), []byte(is+"\n"))
}

// Unhold takes Hold back.
func (d *Dir) Unhold(fold string) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	return d.unlink(fold, "HELD")
}

// Holds reports whether Hold stands, for what is configured now. Where it stood for another configuration, it is taken back.
func (d *Dir) Holds(fold string, configured Identity) (bool, error) {
	b, err := readFile(d.fs, d.foldPath(fold, "HELD"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	is, err2 := configured.fingerprint()
	if err = errors.Join(err, err2); err != nil {
		return false, fmt.Errorf("store: is fold %s held: %w", fold, err)
	}
	if string(bytes.TrimSpace(b)) == is {
		return true, nil
	}
	if d.opt.ReadOnly {
		return false, nil
	}
	return false, d.Unhold(fold)
}

// fingerprint is a hash of the identity with its limits.
func (id Identity) fingerprint() (string, error) {
	b, err := id.canonical()
	if err != nil {
		return "", err
	}
	l, err := json.Marshal(id.Limits)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(b, l...))
	return hex.EncodeToString(sum[:]), nil
}

// unlink removes a file of a fold's directory, if it is there.
func (d *Dir) unlink(fold, name string) error {
	if err := d.fs.Remove(d.foldPath(fold, name)); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("store: fold %s: %w", fold, err)
	}
	return syncDir(d.fs, d.foldPath(fold))
}
