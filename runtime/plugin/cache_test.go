package plugin

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// cached compiles the module echo with a cache, has it judge a record, and returns its log.
func cached(t testing.TB, dir string) string {
	t.Helper()
	l := newLines()
	m, err := Compile(t.Context(), testModule(t, "echo"), Options{CacheDir: dir, Log: slog.New(l)})
	check(t, err)
	w := m.Worker()
	if got := judge(t, w, 1, "x").text[0]; got != `0 "k0"="x"+0;` {
		t.Errorf("the module says %s", got)
	}
	w.Close(t.Context())
	check(t, m.Close(t.Context()))
	return l.b.String()
}

func wantCached(t testing.TB, dir string, want bool) {
	t.Helper()
	log := cached(t, dir)
	if got := strings.Contains(log, "cached=true"); got != want || strings.Contains(log, "WARN") {
		t.Errorf("cached is not %v:\n%s", want, log)
	}
}

// files returns the files of a directory.
func files(t testing.TB, dir string) (all []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all = append(all, name)
		}
		return err
	}))
	return all
}

// TestCache compiles once, and finds it the next time.
func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "cache")
	wantCached(t, dir, false)
	wantCached(t, dir, true)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v %v", info.Mode(), err)
	}
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d files in the cache: %q", n, files(t, dir))
	}
}

// TestCacheDamaged changes each byte of some, and the length, of every file of the cache: what is damaged is made again.
func TestCacheDamaged(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o700))
	wantCached(t, dir, false)
	for _, name := range files(t, dir) {
		whole, err := os.ReadFile(name)
		check(t, err)
		damaged := [][]byte{nil, whole[:len(whole)/2], whole[:len(whole)-1], append(whole[:len(whole):len(whole)], 0)}
		for at := 0; at < len(whole); at += max(len(whole)/40, 1) {
			b := append([]byte(nil), whole...)
			b[at] ^= 0xff
			damaged = append(damaged, b)
		}
		for _, b := range damaged {
			check(t, os.WriteFile(name, b, 0o600))
			wantCached(t, dir, false)
		}
		check(t, os.Remove(name))
		wantCached(t, dir, false)
		wantCached(t, dir, true)
	}
	check(t, os.WriteFile(filepath.Join(filepath.Dir(files(t, dir)[0]), "more"), []byte("x"), 0o600))
	wantCached(t, dir, false)
	wantCached(t, dir, true)
}

// TestCacheUnusable does without a cache that cannot be used, and says so.
func TestCacheUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	open := filepath.Join(t.TempDir(), "open")
	check(t, errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)))
	for _, dir := range []string{file, open} {
		log := cached(t, dir)
		if !strings.Contains(log, `level=WARN msg="compiled module not kept"`) || !strings.Contains(log, "cached=false") {
			t.Errorf("%s: %s", dir, log)
		}
	}
	if n := len(files(t, open)); n != 0 {
		t.Errorf("%d files where everybody can write", n)
	}
}

// TestCacheShared has many compile the same module at once, while somebody damages the entry.
func TestCacheShared(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o700))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 5 {
				if i == 0 {
					if names, err := filepath.Glob(filepath.Join(dir, "*", "*", "*")); err == nil && len(names) > 0 {
						os.Truncate(names[0], 100)
					}
				}
				cached(t, dir)
			}
		})
	}
	all.Wait()
	for range 2 { // it may have been damaged before it was sealed, which the first finds and the second mends
		cached(t, dir)
	}
	wantCached(t, dir, true)
}

// TestCachePruned keeps the entries that were used last.
func TestCachePruned(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o700))
	for i := range 2 * cacheEntries {
		c, err := openCache(dir, []byte{byte(i)})
		check(t, err)
		check(t, os.WriteFile(filepath.Join(c.dir, "code"), []byte("x"), 0o600))
		_, err = c.seal()
		check(t, err)
		_, err = openCache(dir, []byte{0}) // is used all the time
		check(t, err)
	}
	entries, err := os.ReadDir(dir)
	check(t, err)
	if len(entries) != cacheEntries {
		t.Errorf("%d entries are kept, not %d", len(entries), cacheEntries)
	}
	c, err := openCache(dir, []byte{0})
	check(t, err)
	if len(c.sum()) == 0 {
		t.Error("the entry that was used all the time is gone")
	}
}
