//go:build unix

package serve

import (
	"fmt"
	"io/fs"

	"github.com/foldrun/foldrun/hint"
)

// writable refuses a file that others than its owner may write: they would decide who may do what here.
func writable(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return hint.Error(fmt.Errorf("%s: others than its owner may write it (mode %04o)", path, mode), "chmod go-w %s", path)
	}
	return nil
}

// readable is the note on a secret that every user of the machine may read.
func readable(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o004 != 0 {
		return hint.Error(fmt.Errorf("%s: every user of this machine may read it (mode %04o)", path, mode), "chmod o-r %s", path)
	}
	return nil
}
