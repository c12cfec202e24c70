package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Compiled code is kept on disk, since a large module takes a second to compile.
//
//	CacheDir/                  0700: who writes here runs code in this process
//	  HASH/                    of the metered module, sha256: 32 hexadecimal digits
//	    SUM                    a line for each file: sha256, two spaces, its name
//	    wazero-VERSION-.../    wazero's own
//
// wazero takes a damaged file for what it says, but for a checksum of its code: a wrong count makes it allocate without
// end, a wrong offset makes a call jump anywhere. So an entry whose files are not those of SUM, byte for byte, is thrown
// away and made again. That finds faults of a disk, and not who can write here.
//
// Processes may share a CacheDir. Files come by renaming, and whatever goes wrong with the cache costs the time to
// compile and nothing else.

// cacheEntries are kept; those that were used last.
const cacheEntries = 32

const sumFile = "SUM"

// cacheEntry is the directory of one module.
type cacheEntry struct{ dir string }

// openCache returns the entry of a metered module, without what is damaged in it.
func openCache(dir string, metered []byte) (*cacheEntry, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s may be written by others (%v): who writes there runs code in this process", dir, info.Mode().Perm())
	}
	h := sha256.Sum256(metered)
	c := &cacheEntry{filepath.Join(dir, hex.EncodeToString(h[:16]))}
	have, err := os.ReadFile(filepath.Join(c.dir, sumFile))
	if err == nil && bytes.Equal(have, c.sum()) {
		now := time.Now()
		return c, os.Chtimes(c.dir, now, now)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return nil, err
	}
	return c, os.Mkdir(c.dir, 0o700)
}

// sum returns what SUM should hold. A file that cannot be read has no line.
func (c *cacheEntry) sum() (lines []byte) {
	filepath.WalkDir(c.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == sumFile {
			return nil
		}
		if b, err := os.ReadFile(name); err == nil {
			lines = fmt.Appendf(lines, "%x  %s\n", sha256.Sum256(b), strings.TrimPrefix(name, c.dir))
		}
		return nil
	})
	return lines
}

// seal writes SUM, if the entry is new, and reports whether it was.
func (c *cacheEntry) seal() (fresh bool, err error) {
	name := filepath.Join(c.dir, sumFile)
	sum := c.sum()
	if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, sum) {
		return false, nil
	}
	f, err := os.CreateTemp(filepath.Dir(c.dir), "sum")
	if err != nil {
		return true, err
	}
	_, err = f.Write(sum)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return true, err
	}
	return true, c.prune()
}

// prune removes the entries that have not been used for longest.
func (c *cacheEntry) prune() error {
	dir := filepath.Dir(c.dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	type used struct {
		name string
		at   time.Time
	}
	var all []used
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() {
			all = append(all, used{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b used) int { return b.at.Compare(a.at) })
	for _, u := range all[min(len(all), cacheEntries):] {
		if err := os.RemoveAll(filepath.Join(dir, u.name)); err != nil {
			return err
		}
	}
	return nil
}

// compileCached compiles by way of the cache. Its error is the cache's or the module's: without the cache one sees.
func (m *Module) compileCached(ctx context.Context, metered []byte) (fromCache bool, err error) {
	entry, err := openCache(m.opt.CacheDir, metered)
	if err != nil {
		return false, err
	}
	if err := m.openRuntime(ctx, entry.dir); err != nil {
		return false, err
	}
	if m.compiled, err = m.runtime.CompileModule(withYields(ctx), metered); err != nil {
		return false, errors.Join(err, os.RemoveAll(entry.dir)) // damaged before it was sealed: the next start makes it anew
	}
	fresh, err := entry.seal()
	if err != nil {
		m.opt.Log.Warn("compiled module not kept", "module", m.manifest.Name, "dir", entry.dir, "error", err)
	}
	return !fresh, nil
}
