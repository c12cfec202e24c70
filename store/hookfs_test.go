package store

import (
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// hookFS calls before ahead of every operation that writes; an error of it is the operation's.
type hookFS struct {
	vfs.FS
	before func(kind, name string) error
	usage  func() (vfs.DiskUsage, error) // nil = that of FS

	// Held by every operation while it is done. Whoever clones holds it alone: so that no operation is seen half done, and
	// since MemFS takes its clone lock twice, one inside the other, in Lock, Link and ReuseForWrite, so that a CrashClone
	// between the two would wait for ever.
	cloning sync.RWMutex
}

func (h *hookFS) Unwrap() vfs.FS { return h.FS }

func (h *hookFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if h.usage != nil {
		return h.usage()
	}
	return h.FS.GetDiskUsage(path)
}

// file does an operation that opens a file, and hooks what will be written to it.
func (h *hookFS) file(kind, name string, open func() (vfs.File, error)) (vfs.File, error) {
	if kind != "" {
		if err := h.before(kind, name); err != nil {
			return nil, &os.PathError{Op: kind, Path: name, Err: err}
		}
	}
	h.cloning.RLock()
	defer h.cloning.RUnlock()
	f, err := open()
	if err != nil {
		return nil, err
	}
	return &hookFile{f, h, name}, nil
}

func (h *hookFS) do(kind, name string, f func() error) error {
	if err := h.before(kind, name); err != nil {
		return &os.PathError{Op: kind, Path: name, Err: err}
	}
	h.cloning.RLock()
	defer h.cloning.RUnlock()
	return f()
}

func (h *hookFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return h.file("create", name, func() (vfs.File, error) { return h.FS.Create(name, c) })
}

func (h *hookFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return h.file("openrw", name, func() (vfs.File, error) { return h.FS.OpenReadWrite(name, c, o...) })
}

func (h *hookFS) ReuseForWrite(from, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return h.file("reuse", name, func() (vfs.File, error) { return h.FS.ReuseForWrite(from, name, c) })
}

func (h *hookFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	return h.file("", name, func() (vfs.File, error) { return h.FS.Open(name, o...) })
}

func (h *hookFS) OpenDir(name string) (vfs.File, error) {
	return h.file("", name, func() (vfs.File, error) { return h.FS.OpenDir(name) })
}

func (h *hookFS) Link(from, name string) error {
	return h.do("link", name, func() error { return h.FS.Link(from, name) })
}

func (h *hookFS) Remove(name string) error {
	return h.do("remove", name, func() error { return h.FS.Remove(name) })
}

// RemoveAll removes one file after the other, as an operating system does, so that it can end in the middle.
func (h *hookFS) RemoveAll(name string) error {
	inside, _ := h.FS.List(name) // of a file: none
	for _, x := range inside {
		if err := h.RemoveAll(h.FS.PathJoin(name, x)); err != nil {
			return err
		}
	}
	return h.do("remove", name, func() error { return h.FS.RemoveAll(name) })
}

func (h *hookFS) Rename(from, name string) error {
	return h.do("rename", name, func() error { return h.FS.Rename(from, name) })
}

func (h *hookFS) MkdirAll(name string, mode os.FileMode) error {
	return h.do("mkdir", name, func() error { return h.FS.MkdirAll(name, mode) })
}

func (h *hookFS) Lock(name string) (c io.Closer, err error) {
	err = h.do("lock", name, func() error { c, err = h.FS.Lock(name); return err })
	return c, err
}

type hookFile struct {
	vfs.File
	fs   *hookFS
	name string
}

func (f *hookFile) Write(p []byte) (n int, err error) {
	err = f.fs.do("write", f.name, func() error { n, err = f.File.Write(p); return err })
	return n, err
}

func (f *hookFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do("write", f.name, func() error { n, err = f.File.WriteAt(p, off); return err })
	return n, err
}

func (f *hookFile) Preallocate(off, n int64) error {
	return f.fs.do("preallocate", f.name, func() error { return f.File.Preallocate(off, n) })
}

func (f *hookFile) Sync() error     { return f.fs.do("sync", f.name, f.File.Sync) }
func (f *hookFile) SyncData() error { return f.fs.do("sync", f.name, f.File.SyncData) }

func (f *hookFile) SyncTo(n int64) (full bool, err error) {
	err = f.fs.do("sync", f.name, func() error { full, err = f.File.SyncTo(n); return err })
	return full, err
}

func (f *hookFile) Close() error { return f.fs.do("close", f.name, f.File.Close) }
