package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// logger hands Pebble's log on. Its Fatalf ends the process: see the package comment.
type logger struct{ db *DB }

func (l logger) Infof(format string, args ...any) {
	if l.db.env.Log.Enabled(context.Background(), slog.LevelDebug) {
		l.db.env.Log.Debug("pebble", "path", l.db.path, "text", fmt.Sprintf(format, args...))
	}
}

func (l logger) Errorf(format string, args ...any) {
	l.db.env.Log.Warn("pebble", "path", l.db.path, "text", fmt.Sprintf(format, args...))
}

func (l logger) Fatalf(format string, args ...any) {
	l.db.env.Fatal(l.db.path, fmt.Errorf(format, args...))
	select {} // whoever returned from Fatal anyway: nothing may be written after this
}

// maxStuck is how many flushes, or compactions, may fail in a row. Pebble repeats one that failed at once and for ever,
// and a commit that finds all memtables full would wait behind it for ever.
const maxStuck = 16

// background watches the writes that no commit waits for. One that fails is repeated; a disk that goes on failing ends
// the process as one that fails under the log does. A corruption is not the disk's failing under a write: it marks the
// store damaged.
func (db *DB) background(stuck *atomic.Int32, err error) {
	switch {
	case err == nil:
		stuck.Store(0)
	case errors.Is(err, pebble.ErrCancelledCompaction), errors.Is(err, errCut):
	case pebble.IsCorruptionError(err):
		db.setDamage(err)
	case stuck.Add(1) == maxStuck:
		logger{db}.Fatalf("failed %d times in a row: %w", maxStuck, err)
	}
}

// backgroundError logs what went wrong in the background; a damaged table fails every compaction of it, ten times a
// second, and is named once.
func (db *DB) backgroundError(err error) {
	if pebble.IsCorruptionError(err) {
		db.setDamage(err)
		return
	}
	if errors.Is(err, errCut) {
		return
	}
	db.env.Log.Warn("store background error", "path", db.path, "err", err)
}

// diskRoom returns ErrDiskLow when a commit could bring the disk below its minimum. What the memtables of all folds
// hold is on its way to the disk a second time and counts as used.
func (db *DB) diskRoom() error { return db.diskRoomFor(0) }

// diskRoomFor is diskRoom for what writes so many bytes more.
func (db *DB) diskRoomFor(more uint64) error {
	if db.env.MinFreeDisk <= 0 {
		return nil
	}
	u, err := db.dir.fs.GetDiskUsage(db.path)
	if err != nil {
		return fmt.Errorf("store: free space of %s: %w", db.path, err)
	}
	need := uint64(db.env.MinFreeDisk+db.env.Memory.Memtables()) + more
	if u.AvailBytes < need {
		return fmt.Errorf("%w: %d MiB free at %s, %d MiB needed: min_free_disk, and %d MiB that may still be written", ErrDiskLow, u.AvailBytes/mib, db.path, need/mib, (uint64(db.env.Memory.Memtables())+more)/mib)
	}
	return nil
}

// usageEvery is how old what quotaRoom knows may be.
const usageEvery = time.Second

// A usage is how much a fold was found to take.
type usage struct {
	bytes int64
	at    time.Time
}

// quotaRoom returns ErrQuota when the generations of the fold take more than so much, and with what waits to be stored. What
// memtables hold stands in the logs, which count. quota 0 is none.
func (db *DB) quotaRoom(quota int64) error {
	if quota == 0 {
		return nil
	}
	if time.Since(db.used.at) >= usageEvery {
		n, err := db.dir.Used(db.Identity().Fold)
		if err != nil {
			return err
		}
		db.used = usage{n, time.Now()}
	}
	if n := db.used.bytes + int64(db.commit.waitingBytes()); n > quota {
		return fmt.Errorf("%w: %d MiB of %d MiB", ErrQuota, n/mib, quota/mib)
	}
	return nil
}

// Size returns how much the store's files take, bytes.
func (db *DB) Size() (int64, error) { return sizeOf(db.dir.fs, db.path) }

// Used returns how much the files of all generations of a fold take, bytes.
func (d *Dir) Used(fold string) (bytes int64, err error) {
	path := d.foldPath(fold)
	generations, err := d.fs.List(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	for _, name := range generations {
		// one that is gone meanwhile takes nothing; what is no directory is a few bytes
		if n, err := sizeOf(d.fs, d.fs.PathJoin(path, name)); err == nil {
			bytes += n
		}
	}
	return bytes, err
}

// setDamage remembers the first corruption that was found.
func (db *DB) setDamage(err error) {
	err = plain(err)
	if db.damage.CompareAndSwap(nil, &err) {
		close(db.damaged)
		db.env.Log.Error("store is damaged", "path", db.path, "err", err, "hint", db.RebuildHint())
	}
}

// RebuildHint says what becomes of a store that is damaged.
func (db *DB) RebuildHint() string { return fmt.Sprintf(rebuildHint, db.path) }

// Damaged returns a channel that is closed once Damage returns an error.
func (db *DB) Damaged() <-chan struct{} { return db.damaged }

// Damage returns the first corruption that was found in the store's files, nil when none was.
func (db *DB) Damage() error {
	if p := db.damage.Load(); p != nil {
		return *p
	}
	return nil
}
