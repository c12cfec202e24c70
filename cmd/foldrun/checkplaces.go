package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
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
		if who, url := running(ctx, dir); who != nil {
			k.running = true
			k.fact("data_dir: a foldrun runs on it, at %s", url)
			k.ask(ctx, who, url)
			return
		}
	}
	if err != nil {
		k.problem(err)
		return
	}
	k.stores()
}

// running returns a client of the foldrun that runs on a directory, and its address; nil when none answers.
func running(ctx context.Context, dir string) (who *client.Client, url string) {
	noted, _ := readAddress(dir)
	if who = throughSocket(dir); (address{url: who.URL}).answers(ctx, who.HTTP) {
		return who, noted.url
	}
	if noted.answers(ctx, http.DefaultClient) {
		return client.New(noted.url), noted.url
	}
	return nil, ""
}

// disk warns of a file system on which folds would pause at once.
func (k *checker) disk(dir string) {
	free, known := freeDisk(existing(dir))
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

// access finds what is wrong with the tokens and the certificate.
func (k *checker) access() {
	h := k.config.HTTP
	a, key, err := openAccess(h, slog.New(slog.DiscardHandler))
	if err != nil {
		k.at(k.config.At("http", key), err.Error(), hint.Of(err))
		return
	}
	if a.tokens != nil {
		k.fact("http: %s in %s", counted(len(a.tokens.All()), "token", "tokens"), h.Tokens)
	}
	if a.certificate != nil {
		k.fact("http: TLS for %s, until %s", strings.Join(a.certificate.Names(), ", "), a.certificate.Until().UTC().Format(time.RFC3339))
	}
	for _, note := range a.notes(k.config) {
		k.warn(note)
	}
}

// addresses finds whether the addresses are free. Those of the foldrun that runs are.
func (k *checker) addresses() {
	noted, _ := readAddress(k.config.DataDir)
	at, _ := url.Parse(noted.url)
	h := k.config.HTTP
	if k.said(h.Listen != config.Default().HTTP.Listen) {
		_, want, _ := net.SplitHostPort(h.Listen)
		k.address("http", "listen", h.Listen, k.running && at != nil && at.Port() == want)
	}
	if h.OpsListen != "" {
		k.address("http: ops", "ops_listen", h.OpsListen, k.running)
	}
}

// address finds whether the one that a key of [http] gives is free, unless a foldrun that runs may have it.
func (k *checker) address(name, key, address string, held bool) {
	l, err := listenAt(k.config, key, address)
	switch {
	case err == nil:
		l.Close()
		k.fact("%s: %s", name, address)
	case held:
		k.fact("%s: %s, of the foldrun that runs", name, address)
	default:
		k.problem(err)
	}
}
