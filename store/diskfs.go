package store

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskFS stands between Pebble (v2.1.7) and the file system, for two things that Pebble leaves undone.
//
// A log that cannot be made, written, synced or closed when Pebble moves from one to the next is a panic that holds no
// lock and unlocks it: the runtime ends the process with two stacks and no word of what is wrong. A directory that
// cannot be synced when a marker moves is a panic too. So what fails on a log, or on syncing a directory, ends the process
// here, by Options.Fatal. A log that fails while the database is being opened is an error of the open.
//
// A marker is a file whose name tells which other file counts. Pebble syncs that file's content before it makes the
// marker and the names of both after, so that a crash could keep the marker and lose what it names. ext4 and XFS make a
// new file's name durable with its content; POSIX does not promise it. So the names are synced before.
type diskFS struct {
	vfs.FS
	db *DB
}

func (fs diskFS) Unwrap() vfs.FS { return fs.FS }

// must ends the process when a write failed that Pebble cannot do without.
func (fs diskFS) must(err error) error {
	if err != nil {
		logger{fs.db}.Fatalf("%w", err)
	}
	return nil
}

// mustLog is must once the database is open.
func (fs diskFS) mustLog(err error) error {
	if fs.db.opened.Load() {
		return fs.must(err)
	}
	return err
}

func (fs diskFS) file(name string, f vfs.File, err error) (vfs.File, error) {
	if !strings.HasSuffix(name, ".log") {
		return f, err
	}
	if fs.mustLog(err) != nil {
		return nil, err
	}
	return logFile{f, fs}, nil
}

func (fs diskFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), "marker.") {
		if err := fs.must(syncDir(fs.FS, fs.PathDir(name))); err != nil {
			return nil, err
		}
	}
	f, err := fs.FS.Create(name, c)
	if c == compactionWrites && err == nil {
		return compactedFile{f, fs.db}, nil
	}
	return fs.file(name, f, err)
}

func (fs diskFS) ReuseForWrite(from, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(from, name, c)
	return fs.file(name, f, err)
}

func (fs diskFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return dirFile{f, fs}, nil
}

type dirFile struct {
	vfs.File
	fs diskFS
}

func (f dirFile) Sync() error { return f.fs.must(f.File.Sync()) }

// logFile leaves Preallocate alone: not every file system can, and Pebble goes on without.
type logFile struct {
	vfs.File
	fs diskFS
}

func (f logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fs.mustLog(err)
}

func (f logFile) Sync() error     { return f.fs.mustLog(f.File.Sync()) }
func (f logFile) SyncData() error { return f.fs.mustLog(f.File.SyncData()) }

func (f logFile) SyncTo(n int64) (bool, error) {
	full, err := f.File.SyncTo(n)
	return full, f.fs.mustLog(err)
}

func (f logFile) Close() error { return f.fs.mustLog(f.File.Close()) }
