package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"
)

// Pause notes that an operator paused a fold, in the file PAUSED of its directory: it stays so until Unpause, through
// restarts.
func (d *Dir) Pause(fold string, at time.Time) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	if err := makeDir(d.fs, d.foldPath(fold)); err != nil {
		return fmt.Errorf("store: pause fold %s: %w", fold, err)
	}
	return d.replaceFile(d.foldPath(fold, "PAUSED"), []byte(at.UTC().Format(time.RFC3339)+"\n"))
}

// Unpause takes Pause back.
func (d *Dir) Unpause(fold string) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	return d.unlink(fold, "PAUSED")
}

// Paused returns since when a fold is paused, as Pause wrote it; paused is false when it is not.
func (d *Dir) Paused(fold string) (since string, paused bool, err error) {
	b, err := readFile(d.fs, d.foldPath(fold, "PAUSED"))
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("store: is fold %s paused: %w", fold, err)
	}
	return string(bytes.TrimSpace(b)), true, nil
}
