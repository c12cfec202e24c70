package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// dataDir finds whether a start could use the data directory, or make it.
func (k *checker) dataDir(ctx context.Context) {
	dir := k.config.DataDir
	exists, err := usable(dir)
	if err == nil {
		k.disk(dir)
	}
	if err != nil {
		text := strings.TrimPrefix(err.Error(), dir+" ")
		k.problem(hint.Error(fmt.Errorf("data_dir %s: %s", dir, text), "create it, owned by the user that runs foldrun, or set data_dir to another"))
		return
	}
	if !exists {
		k.fact("data_dir: %s, to be created", dir)
		return
	}
	k.fact("data_dir: %s", dir)
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); err != nil {
		k.strange(dir)
		return // nothing ran here
	}
	err = lockable(dir)
	if errors.Is(err, store.ErrLocked) {
		if noted, _ := readAddress(dir); noted.answers(ctx) {
			k.running = true
			k.fact("data_dir: a foldrun runs on it, at %s", noted.url)
			k.ask(ctx, noted.url)
			return
		}
	}
	if err != nil {
		k.problem(err)
		return
	}
	k.stores()
}

// disk warns of a file system on which folds would pause at once.
func (k *checker) disk(dir string) {
	for !isDir(dir) {
		dir = filepath.Dir(dir)
	}
	free, known := freeDisk(dir)
	if least := k.config.Store.MinFreeDisk; known && free < least {
		k.coded(runtime.CodeDiskLow, fmt.Sprintf("data_dir %s: %s: %d MiB are free, less than store.min_free_disk, %d MiB: folds would pause",
			k.config.DataDir, runtime.CodeDiskLow, free/mib, least/mib), "free space, or lower min_free_disk", false)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// strange warns of a directory that is something else.
func (k *checker) strange(dir string) {
	all, err := os.ReadDir(dir)
	if err != nil || len(all) == 0 {
		return
	}
	k.warn(hint.Error(fmt.Errorf("data_dir %s is not empty, and no foldrun ran there: it has %s", dir, all[0].Name()),
		"set data_dir to a directory of its own; foldrun adds its files to what is there"))
}

// usable reports whether path is a directory that can be written, or could be made. A file system may refuse whatever
// the permissions say, so that it is tried.
func usable(path string) (exists bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path:
		_, err := usable(filepath.Dir(path))
		return false, err
	case err != nil:
		return false, err
	case !info.IsDir():
		return true, fmt.Errorf("%s is not a directory", path)
	}
	err = writable(path)
	if err == nil {
		err = tryWriting(path)
	}
	if err != nil {
		return true, fmt.Errorf("%s cannot be written: %w", path, err)
	}
	return true, nil
}

// tryWriting makes a file in a directory, and removes it.
func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".foldrun-check-")
	if err != nil {
		return bareCause(err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// bareCause drops the path from an error that is told beside it.
func bareCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// address finds whether the address is free. That of the foldrun that runs is.
func (k *checker) address() {
	listen := k.config.HTTP.Listen
	l, err := serve.Listen(listen)
	if err == nil {
		l.Close()
		k.fact("http: %s", listen)
		return
	}
	noted, _ := readAddress(k.config.DataDir)
	_, have, _ := net.SplitHostPort(strings.TrimPrefix(noted.url, "http://"))
	_, want, _ := net.SplitHostPort(listen)
	if k.running && have == want {
		k.fact("http: %s, of the foldrun that runs", listen)
		return
	}
	k.problem(err)
}
