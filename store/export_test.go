package store

import "github.com/cockroachdb/pebble/v2/vfs"

// What the tests of whole folds, which are of another package since they import runtime, take from those of this one.

// Children is children.
var Children = children

// ChildEnv is childEnv.
const ChildEnv = childEnv

// Small is small.
var Small = small

// Seeded is seeded.
var Seeded = seeded

// EveryOne is the flag -all.
func EveryOne() bool { return *all }

// Watched returns options with a file system that calls before ahead of every operation that writes; its error is the
// operation's.
func Watched(o Options, fs vfs.FS, before func(kind, name string) error) Options {
	o.fs = &hookFS{FS: fs, before: before}
	return o
}

// On returns options with a file system.
func On(o Options, fs vfs.FS) Options {
	o.fs = fs
	return o
}

// Reading returns options of a foldrun that opens databases of these formats, and writes the last.
func Reading(o Options, formats ...int) Options {
	o.formats = formats
	return o
}

// Crashed returns what lies on mem, under options that Watched made, after the process was killed, and after the power was cut:
// with a share of what was not synced. A CrashClone with all of that is not the first: a name that was removed is there again
// unless its directory was synced since.
func Crashed(o Options, mem *vfs.MemFS, c vfs.CrashCloneCfg) (killed, cut *vfs.MemFS, err error) {
	fs := o.fs.(*hookFS)
	fs.cloning.Lock()
	defer fs.cloning.Unlock()
	killed = vfs.NewMem()
	_, err = vfs.Clone(mem, killed, dataDir, dataDir)
	return killed, mem.CrashClone(c), err
}
