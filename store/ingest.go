package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// runSuffix is the end of the name of a table on its way into the store. A crash leaves some; an open removes them.
const runSuffix = ".run"

// ingest stores what is staged as tables, in one ingestion: no log, no memtable, no flush. Pebble puts them into the
// lowest level where nothing overlaps them.
func (db *DB) ingest(state *State) error {
	paths, err := db.tables(state)
	if err == nil {
		ingest := func(p *pebble.DB, paths []string) error { return p.Ingest(context.Background(), paths) }
		if db.env.ingest != nil {
			ingest = db.env.ingest
		}
		err = ingest(db.pebble, paths)
	}
	if err != nil && systemTrouble(err) { // as where a log or a flush fails: who restarts the process resumes
		logger{db}.Fatalf("ingest: %w", err)
	}
	return err
}

// tables writes what is staged, the state first, into tables that do not overlap. They are on disk when it returns.
func (db *DB) tables(state *State) (paths []string, err error) {
	t := cutter{db: db, limit: db.env.Memory.Memtable / 2, kind: kindPoint} // the state's table is that of the points
	c := &db.commit
	c.buf = state.append(c.buf[:0])
	if err = t.set(keyState, c.buf); err == nil {
		err = c.stage.each(func(w *write) error {
			key := c.stage.at(w.key)
			if key[0] != t.kind {
				if err := t.end(); err != nil {
					return err
				}
				t.kind = key[0]
			}
			if w.deletes() {
				return t.delete(key)
			}
			return t.set(key, c.stage.at(w.value))
		})
	}
	return t.paths, errors.Join(err, t.end())
}

// cutter is a sorted sequence of keys, cut into tables of about limit bytes, each of one kind: where the keys of a kind only
// grow, as the lineages of an event log do, its tables overlap no others and need no compaction.
type cutter struct {
	db    *DB
	limit int64
	kind  byte
	w     *sstable.Writer
	size  int64 // of w
	paths []string
}

func (t *cutter) set(key, value []byte) error {
	if err := t.room(len(key) + len(value)); err != nil {
		return err
	}
	return t.w.Set(key, value)
}

func (t *cutter) delete(key []byte) error {
	if err := t.room(len(key)); err != nil {
		return err
	}
	return t.w.Delete(key)
}

// room has w be a table with room for so many bytes.
func (t *cutter) room(n int) error {
	if t.w != nil && t.size+int64(n) > t.limit {
		if err := t.end(); err != nil {
			return err
		}
	}
	if t.w == nil {
		path := t.db.dir.fs.PathJoin(t.db.path, fmt.Sprintf("%d%s", len(t.paths), runSuffix))
		f, err := diskFS{t.db.dir.fs, t.db}.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: 512 * kib})
		t.paths = append(t.paths, path)
		t.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), t.db.tableOptions)
		t.size = 0
	}
	t.size += int64(n)
	return nil
}

// end finishes the table in hand, synced.
func (t *cutter) end() error {
	if t.w == nil {
		return nil
	}
	w := t.w
	t.w = nil
	return w.Close()
}

// removeRuns removes the tables that a crash left on their way.
func (db *DB) removeRuns() error {
	names, err := db.dir.fs.List(db.path)
	for _, name := range names {
		if strings.HasSuffix(name, runSuffix) {
			err = errors.Join(err, db.dir.fs.Remove(db.dir.fs.PathJoin(db.path, name)))
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
