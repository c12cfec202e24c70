package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/foldrun/foldrun/hint"
)

// Sync says how durable a commit is when Commit returns. Whatever it is, rows and cursor agree after any crash.
type Sync string

const (
	SyncAlways Sync = "always" // on disk
	SyncSecond Sync = "1s"     // in the operating system; on disk within a second: the owner calls DB.Flush
	SyncNever  Sync = "never"  // in the operating system
)

// Options say how to open a data directory. The zero value works: 256 MiB for one fold, sync always.
type Options struct {
	Memory      Memory
	Sync        Sync
	MinFreeDisk int64         // bytes; Commit returns ErrDiskLow below it
	ReadOnly    bool          // nothing is created or written
	LockWait    time.Duration // how long to wait for another process to release the directory
	Log         *slog.Logger
	// Fatal is called when the disk failed under a write, with the directory and the error, and must not return.
	// Default: print both with the mend on stderr, exit 1.
	Fatal func(dir string, err error)

	fs     vfs.FS                                                      // tests put a failing or crashing file system here
	apply  func(*pebble.DB, *pebble.Batch, *pebble.WriteOptions) error // tests look at the one write of a commit, or break it, here
	ingest func(*pebble.DB, []string) error                            // as apply, for what is stored by ingestion

	formats []int // those of a release to come, for tests; default formats
}

// Dir is an open data directory: the folds of one process, which share a cache. It holds the directory's lock.
type Dir struct {
	path  string
	opt   Options
	fs    vfs.FS
	lock  io.Closer
	cache *pebble.Cache
	files *pebble.FileCache

	compacting chan struct{} // holds one value while a store is compacted
}

// ErrLocked is returned by OpenDir when another process has the directory.
var ErrLocked = errors.New("data directory is in use by another process")

// ErrReadOnly is returned by what would write into a directory that was opened with Options.ReadOnly.
var ErrReadOnly = errors.New("store: data directory is open for reading only")

// Mends: of what fails for the disk's sake, and of a store whose files are damaged.
const (
	diskHint    = "see that the disk works and has room, then start again"
	rebuildHint = "a running foldrun builds the fold again from the stream, and then removes %s"
)

// openFiles is the number of table files that all folds together keep open.
const openFiles = OpenFiles

// OpenFiles is openFiles, for who counts the descriptors of the process.
const OpenFiles = 1024

// OpenDir opens a data directory, creating it unless o.ReadOnly.
func OpenDir(path string, o Options) (*Dir, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	d := &Dir{path: path, opt: o, fs: o.fs, compacting: make(chan struct{}, 1)}
	if !o.ReadOnly {
		if err := makeDir(d.fs, path); err != nil {
			return nil, hint.Error(fmt.Errorf("data_dir %s: %w", path, err), "create it, owned by the user that runs foldrun")
		}
	} else if _, err := d.fs.Stat(path); err != nil {
		return nil, hint.Error(fmt.Errorf("data_dir %s: %w", path, err), "name the data_dir of a foldrun that ran here")
	}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	if err := d.checkFormat(); err != nil {
		d.lock.Close()
		return nil, err
	}
	d.cache = pebble.NewCache(o.Memory.Cache + o.Memory.Memtables())
	d.files = pebble.NewFileCache(2, openFiles)
	return d, nil
}

func (o *Options) defaults() (err error) {
	if o.Memory.Total == 0 {
		if o.Memory, err = SplitMemory(256*mib, 1, 0); err != nil {
			return err
		}
	}
	if o.Sync == "" {
		o.Sync = SyncAlways
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Fatal == nil {
		o.Fatal = exit
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
	return nil
}

// exit is the default of Options.Fatal.
func exit(dir string, err error) {
	fmt.Fprintf(os.Stderr, "foldrun: error: %s: the disk failed under a write: %v\n", dir, err)
	fmt.Fprintf(os.Stderr, "foldrun: hint: free or replace the disk, then start again: it resumes at the last commit\n")
	os.Exit(1)
}

// takeLock locks the directory, waiting up to LockWait for its holder.
func (d *Dir) takeLock() error {
	name := d.fs.PathJoin(d.path, "LOCK")
	if d.opt.ReadOnly {
		if _, err := d.fs.Stat(name); errors.Is(err, os.ErrPermission) {
			return hint.Error(fmt.Errorf("data_dir %s: %w", d.path, err), "run as the user that owns it")
		} else if err != nil {
			return hint.Error(fmt.Errorf("%s is not a data_dir of foldrun: it has no LOCK", d.path), "name the data_dir of a foldrun that ran here")
		}
	}
	for deadline := time.Now().Add(d.opt.LockWait); ; time.Sleep(50 * time.Millisecond) {
		lock, err := d.fs.Lock(name)
		if err == nil {
			d.lock = lock
			return nil
		}
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
			return hint.Error(fmt.Errorf("data_dir %s: %w", d.path, err), "run as the user that owns it")
		}
		if errno := syscall.Errno(0); errors.As(err, &errno) && errno != syscall.EAGAIN {
			return hint.Error(fmt.Errorf("data_dir %s: lock: %w", d.path, err), diskHint)
		}
		if time.Now().After(deadline) {
			return hint.Error(fmt.Errorf("data_dir %s: %w", d.path, ErrLocked), "stop the other foldrun, or ask it through its HTTP address")
		}
	}
}

// checkFormat writes FORMAT into a new directory and refuses another format in an old one.
func (d *Dir) checkFormat() error {
	name := d.fs.PathJoin(d.path, "FORMAT")
	b, err := readFile(d.fs, name)
	if folds, _ := d.fs.List(d.fs.PathJoin(d.path, "folds")); errors.Is(err, os.ErrNotExist) && len(folds) > 0 {
		return hint.Error(fmt.Errorf("data_dir %s has folds and no FORMAT", d.path),
			"put the file back: it holds the version of the format, %d for this foldrun; or point data_dir at an empty directory", DirVersion)
	}
	if errors.Is(err, os.ErrNotExist) && !d.opt.ReadOnly {
		return d.replaceFile(name, []byte(strconv.Itoa(DirVersion)+"\n"))
	}
	if err != nil {
		return fmt.Errorf("data_dir %s: %w", d.path, err)
	}
	v, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	switch {
	case err != nil || v < 1:
		return hint.Error(fmt.Errorf("%s holds %q, not a format version", name, b), "restore the file, or point data_dir at an empty directory")
	case v > DirVersion:
		return hint.Error(fmt.Errorf("data_dir %s has format %d, this foldrun knows up to %d", d.path, v, DirVersion),
			"run the newer foldrun, or point data_dir at an empty directory and let the folds be built again")
	}
	return nil
}

// Close closes the directory. Its stores must be closed.
func (d *Dir) Close() error {
	d.files.Unref()
	d.cache.Unref()
	return d.lock.Close()
}

// Path returns the path that the directory was opened by.
func (d *Dir) Path() string { return d.path }

// Memory returns how the memory budget is split.
func (d *Dir) Memory() Memory { return d.opt.Memory }

// Sync returns how durable commits are.
func (d *Dir) Sync() Sync { return d.opt.Sync }

// FoldPath returns the directory of a fold: its generations and which of them is current.
func (d *Dir) FoldPath(fold string) string { return d.foldPath(fold) }

func (d *Dir) foldPath(fold string, elem ...string) string {
	return d.fs.PathJoin(append([]string{d.path, "folds", fold}, elem...)...)
}

// Folds returns the names of the folds that have a current generation, sorted.
func (d *Dir) Folds() ([]string, error) {
	all, err := d.fs.List(d.fs.PathJoin(d.path, "folds"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: list folds: %w", err)
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		g, err := d.Current(name)
		return err != nil || g == ""
	})
	slices.Sort(all)
	return all, nil
}

// Current returns the generation of a fold that serves, "" when it has none.
func (d *Dir) Current(fold string) (string, error) {
	b, err := readFile(d.fs, d.foldPath(fold, "CURRENT"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("store: current generation of fold %s: %w", fold, err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// SetCurrent makes a generation the one that serves. It is on disk when SetCurrent returns.
func (d *Dir) SetCurrent(fold, generation string) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	return d.replaceFile(d.foldPath(fold, "CURRENT"), []byte(generation+"\n"))
}

// fresh is the end of the name of a file that is about to replace another.
const fresh = ".new"

// replaceFile puts a file in place whole or not at all: written beside, synced, renamed, its directory synced.
func (d *Dir) replaceFile(name string, b []byte) error {
	err := func() error {
		tmp := name + fresh
		f, err := d.fs.Create(tmp, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		_, err = f.Write(bytes.Clone(b)) // a vfs.File may change what it is given
		err = errors.Join(err, f.Sync(), f.Close())
		if err != nil {
			return err
		}
		if err := d.fs.Rename(tmp, name); err != nil {
			return err
		}
		return syncDir(d.fs, d.fs.PathDir(name))
	}()
	if err != nil {
		return hint.Error(fmt.Errorf("store: replace %s: %w", name, err), diskHint)
	}
	return nil
}

// makeDir makes a directory and its parents, durably: a power cut that takes a directory's name takes all that was ever
// synced inside it.
func makeDir(fs vfs.FS, path string) error {
	parent := fs.PathDir(path)
	_, err := fs.Stat(path)
	made := errors.Is(err, os.ErrNotExist)
	if made && parent != path {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if err := syncDir(fs, parent); err != nil && (made || !errors.Is(err, os.ErrPermission)) {
		return err
	}
	return nil
}

func syncDir(fs vfs.FS, path string) error {
	f, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func readFile(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
