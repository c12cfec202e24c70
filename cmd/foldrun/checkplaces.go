package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// dataDir finds whether a start could use the data directory, or make it.
func (k *checker) dataDir(ctx context.Context) {
	dir := k.config.DataDir
	exists, err := usable(dir)
	if err != nil {
		k.problem(hint.Error(fmt.Errorf("data_dir %s: %w", dir, err), "create it, owned by the user that runs foldrun"))
		return
	}
	if !exists {
		k.fact("data_dir: %s, to be created", dir)
		return
	}
	k.fact("data_dir: %s", dir)
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); err != nil {
		return // nothing ran here
	}
	err = lockable(dir)
	if errors.Is(err, store.ErrLocked) {
		if noted, _ := readAddress(dir); noted.answers(ctx) {
			k.running = true
			k.fact("data_dir: a foldrun runs on it, at %s", noted.url)
			return
		}
	}
	if err != nil {
		k.problem(err)
	}
}

// usable reports whether path is a directory that can be written, or could be made.
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
	if err := writable(path); err != nil {
		return true, fmt.Errorf("%s cannot be written: %w", path, err)
	}
	return true, nil
}

// current returns the generation of a fold that a start would find, "" if there is none.
func (k *checker) current(fold string) string {
	b, err := os.ReadFile(filepath.Join(k.config.DataDir, "folds", fold, "CURRENT"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
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

// natsTimeout bounds what is asked of NATS for one fold.
const natsTimeout = 5 * time.Second

// nats looks at the folds' streams. A server that is away, or a stream that is not there yet, are what a start waits
// for.
func (k *checker) nats(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(k.links)) {
		l := k.links[name]
		switch {
		case l.err == nil && l.context != "":
			k.fact("connection %s: %s, of the context %s", name, source.At(l.conn), l.context)
		case l.err == nil:
			k.fact("connection %s: %s", name, source.At(l.conn))
		case l.err != nil && l.away:
			k.warn(l.err)
		case l.err != nil:
			k.problem(l.err)
		}
	}
	for _, fc := range k.config.Folds {
		if l := k.links[fc.Source.NATS]; l.err == nil {
			k.stream(ctx, fc, l)
		}
	}
}

func (k *checker) stream(ctx context.Context, fc config.Fold, l link) {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	o, _ := foldOptions(k.config, fc, l, nil) // its error, of the module, is told already
	src, err := source.Open(ctx, l.conn, o.Source)
	if err != nil {
		var stop *source.Stop
		if errors.As(err, &stop) {
			err = hint.Error(errors.New(stop.Text), "%s", stop.Hint)
		}
		k.problem(fmt.Errorf("fold %s: %w", fc.Name, err))
		return
	}
	missing, err := src.Denied(ctx)
	for _, err := range missing {
		k.problem(fmt.Errorf("fold %s: %w", fc.Name, err))
	}
	if err != nil {
		k.warn(fmt.Errorf("fold %s: not all permissions were tried: %w", fc.Name, err))
	}
	st := src.Status()
	switch {
	case st.Code == source.CodeDenied:
		return // told just now
	case st.Reason != "":
		mend := st.Hint
		if mend == "" {
			mend = "a start waits for it"
		}
		k.warn(hint.Error(fmt.Errorf("fold %s: stream %s: %s", fc.Name, st.Stream, st.Reason), "%s", mend))
		return
	}
	k.fact("fold %s: stream %s, %d messages, last seq %d", fc.Name, st.Stream, st.Messages, st.LastSeq)
}
