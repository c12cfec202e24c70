package main

import (
	"context"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// outdated says whether a plugin's module is missing, or older than a file of its source.
func outdated(dir, module string) (bool, error) {
	built, err := os.Stat(module)
	if os.IsNotExist(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	stale := false
	root := sourceRoot(dir)
	err = walkPlugin(root, func(path string, info fs.FileInfo) {
		if !isTest(root, path) && info.ModTime().After(built.ModTime()) {
			stale = true
		}
	})
	return stale, err
}

// isTest says whether a file below root is of the tests, and no source of the module.
func isTest(root, path string) bool {
	below := strings.TrimPrefix(strings.TrimPrefix(path, root), string(filepath.Separator))
	return strings.HasSuffix(path, "_test.go") || slices.Contains(strings.Split(filepath.Dir(below), string(filepath.Separator)), "testdata")
}

// sourceRoot returns the directory that holds all of a plugin's source: that of the Go module it is a package of, else its
// own.
func sourceRoot(dir string) string {
	if found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*.go")); len(found) == 0 {
		return dir
	}
	at, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	for up := at; ; up = filepath.Dir(up) {
		if _, err := os.Stat(filepath.Join(up, "go.mod")); err == nil {
			return up
		}
		if up == filepath.Dir(up) {
			return dir
		}
	}
}

// walkPlugin calls f for each file below dir that is not made by a build. Links are followed to files, and not to folders.
func walkPlugin(dir string, f func(path string, info fs.FileInfo)) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != dir && (strings.HasPrefix(e.Name(), ".") || e.Name() == rustTargetDir || e.Name() == nodeModules):
			return filepath.SkipDir
		case e.IsDir() || strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), ".wasm") || strings.HasSuffix(e.Name(), ".wasm.new"):
			return nil
		}
		if info, err := os.Stat(path); err == nil && !info.IsDir() { // else it went meanwhile
			f(path, info)
		}
		return nil
	})
}

// pollEvery is how long --watch waits between two looks at the files.
const pollEvery = 300 * time.Millisecond

// A stamp is what changes of a file when it is written.
type stamp struct {
	time time.Time
	size int64
}

// again runs the tests, and whenever a file has changed again, until a signal comes. What goes wrong is told, and waits
// for the mend.
func (p *pluginTest) again(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		was := p.stamps()
		if err := p.once(ctx); err != nil && err != errFailed && err != errDifferent && ctx.Err() == nil {
			tell(p.stderr, err)
		}
		for same(was, p.stamps()) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// stamps returns the stamps of all files of the plugin; of what cannot be read there is none.
func (p *pluginTest) stamps() map[string]stamp {
	all := map[string]stamp{}
	note := func(path string, info fs.FileInfo) { all[path] = stamp{info.ModTime(), info.Size()} }
	walkPlugin(sourceRoot(p.dir), note)
	tests, _ := p.files() // a linked testdata too
	for _, path := range append(tests, p.wasm) {
		if info, err := os.Stat(path); err == nil {
			note(path, info)
		}
	}
	return all
}

func same(a, b map[string]stamp) bool {
	for path, s := range a {
		if !b[path].equal(s) {
			return false
		}
	}
	return len(a) == len(b)
}

func (s stamp) equal(o stamp) bool { return s.size == o.size && s.time.Equal(o.time) }
