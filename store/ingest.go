package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// runSuffix is the end of the name of a table on its way into the store. A crash leaves some; an open removes them.
const runSuffix = ".run"

// ingest stores what is staged as tables, in one ingestion: no log, no memtable, no flush. Pebble puts them into the
// lowest level where nothing overlaps them.
func (db *DB) ingest(s *staged, state *State) error {
	paths, err := db.tables(s, state)
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

// tables writes what is staged, the state first, into tables that do not overlap, two at a time: while one waits for the
// disk, the other goes on. They are on disk when it returns.
//
// A table is of one kind, but that the state's has the points: where the keys of a kind only grow, as the lineages of an
// event log do, its tables overlap no others and need no compaction. Otherwise it lies in a column: see columns.
func (db *DB) tables(s *staged, state *State) (paths []string, err error) {
	todo := s.cut(&db.columns, int(db.env.Memory.Memtable/8))
	paths = make([]string, len(todo))
	errs := make([]error, len(todo))
	heads := make([][]byte, len(todo))
	heads[0] = state.append(nil)
	var next atomic.Int32
	var all sync.WaitGroup
	for range min(2, len(todo)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(todo); i = int(next.Add(1)) - 1 {
				paths[i] = db.dir.fs.PathJoin(db.path, fmt.Sprintf("%d%s", i, runSuffix))
				errs[i] = db.table(paths[i], s, todo[i], heads[i])
			}
		})
	}
	all.Wait()
	return paths, errors.Join(errs...)
}

// table writes one table of what is staged, synced: the state, where it is the first, then all.
func (db *DB) table(path string, s *staged, all []write, state []byte) error {
	defer db.Turn()()
	f, err := diskFS{db.dir.fs, db}.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: 512 * kib})
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), db.tableOptions)
	if state != nil {
		err = w.Set(keyState, state)
	}
	if err == nil {
		err = s.each(all, func(x *write) error {
			if x.deletes() {
				return w.Delete(s.at(x.key))
			}
			return w.Set(s.at(x.key), s.at(x.value))
		})
	}
	return errors.Join(err, w.Close())
}

// columns are the keys at which ingestions are cut into tables, in order, for each list: where one ingestion was, later ones
// are too. So tables lie above one another in columns, and a compaction takes one column, not all that there is. They are forgotten when
// the store is closed; those of the next time do no harm but that the tables there are lie across them.
type columns [lists][][]byte

// mostColumns is how many of those keys are kept for a list.
const mostColumns = 1 << 12

// cut cuts the sorted lists into pieces of about so many bytes: at a key of columns once a piece has half of that, and at another, which
// becomes one of them, once it has twice that. The first piece is that of the points, which may be empty.
func (s *staged) cut(at *columns, size int) (pieces [][]write) {
	pieces = append(pieces, s.sorted[listPoint])
	for i := listPoint + 1; i < lists; i++ {
		all, next, n, most := s.sorted[i], 0, 0, size
		if len(at[i]) > 0 {
			most *= 2
		}
		for j := 0; j < len(all); {
			key, known := s.at(all[j].key), false
			for ; next < len(at[i]) && bytes.Compare(at[i][next], key) <= 0; next++ {
				known = true
			}
			if n >= most || known && n >= size/2 {
				if !known && len(at[i]) < mostColumns {
					at[i] = slices.Insert(at[i], next, bytes.Clone(key))
					next++
				}
				pieces, all, j, n = append(pieces, all[:j]), all[j:], 0, 0
			}
			n += int(all[j].key.n + all[j].value.n)
			j++
		}
		if len(all) > 0 {
			pieces = append(pieces, all)
		}
	}
	return pieces
}

// removeRuns removes the tables that a crash left on their way, and the files of ours.
func (db *DB) removeRuns() error {
	names, err := db.dir.fs.List(db.path)
	for _, name := range names {
		if strings.HasSuffix(name, runSuffix) || fileOfOurs(name) && strings.HasSuffix(name, fresh) {
			err = errors.Join(err, db.dir.fs.Remove(db.dir.fs.PathJoin(db.path, name)))
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
