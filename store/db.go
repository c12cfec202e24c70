package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/foldrun/foldrun/hint"
)

// DB is one generation of one fold. Commit is for one goroutine at a time; everything else is safe for many.
type DB struct {
	dir        *Dir
	env        *Options
	path       string
	fold       string
	generation string
	id         Identity
	specs      []IndexSpec
	pebble     *pebble.DB

	tableOptions sstable.WriterOptions // of tables that are ingested
	columns      columns               // of those tables; owned by persist

	building building
	life     context.Context // until Close
	end      context.CancelFunc

	limits  atomic.Pointer[limits]
	state   atomic.Pointer[State] // what the last commit that was stored left; replaced, never changed
	ahead   atomic.Pointer[State] // what those left that wait to be stored; nil when none do
	dirty   atomic.Bool           // something was written since the last sync
	damage  atomic.Pointer[error]
	damaged chan struct{} // closed when damage is set
	stored  chan struct{} // see Stored
	opened  atomic.Bool   // Pebble has opened: errors of diskFS have nobody to return to

	flushes, compactions atomic.Int32 // that failed since the last one that did not

	pace      atomic.Pointer[pace] // of Compact, nil while it is not at work
	closing   atomic.Bool          // Pebble is being closed: compactions are given up
	leftAbove uint64               // bytes of tables that the last Compact left above the lowest level; owned by Compact
	compacted bool                 // there was one; owned by Compact

	turns atomic.Pointer[turns] // nil: there are none

	commitMu sync.Mutex
	commit   committer // owned by Commit
	failed   error     // owned by Commit
	used     usage     // owned by Commit

	epochs  epochs
	readers sync.WaitGroup // open views
	views   atomic.Int32   // how many they are
	closeMu sync.RWMutex
	closed  bool
}

// ErrNoGeneration is part of the error of Open for a generation that is not there.
var ErrNoGeneration = errors.New("no generation")

// Create opens the first generation of id, making it if it is not there.
func (d *Dir) Create(id Identity) (*DB, error) { return d.Build(id, 1) }

// Build opens a generation of id, making it if it is not there. The first one of an identity has the number 1; a fold
// that is built anew as it is has a second, beside the first. One that was begun under other limits goes on if none of
// them is lower now: else the error is ErrLimits.
func (d *Dir) Build(id Identity, n int) (*DB, error) {
	if d.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	generation, err := id.Build(n)
	if err != nil {
		return nil, err
	}
	path := d.foldPath(id.Fold, generation)
	if err := d.fs.MkdirAll(path, 0o700); err != nil {
		return nil, hint.Error(fmt.Errorf("store: fold %s: %w", id.Fold, err), "data_dir must be writable by the user that runs foldrun")
	}
	for _, p := range []string{d.path, d.foldPath(""), d.foldPath(id.Fold)} {
		if err := syncDir(d.fs, p); err != nil {
			return nil, hint.Error(fmt.Errorf("store: fold %s: sync %s: %w", id.Fold, p, err), diskHint)
		}
	}
	db, err := d.open(id.Fold, generation, &id)
	if err != nil {
		return nil, err
	}
	if err := db.adopt(id); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Open opens a generation that is there.
func (d *Dir) Open(fold, generation string) (*DB, error) { return d.open(fold, generation, nil) }

// open opens the database of a generation. A new database gets the identity create; an old one must have its name's.
func (d *Dir) open(fold, generation string, create *Identity) (*DB, error) {
	db := &DB{dir: d, env: &d.opt, path: d.foldPath(fold, generation), fold: fold, generation: generation, damaged: make(chan struct{}), stored: make(chan struct{}, 1)}
	db.commit.stage = &staged{}
	db.life, db.end = context.WithCancel(context.Background())
	if _, err := d.fs.Stat(db.path); create == nil && errors.Is(err, os.ErrNotExist) {
		return nil, db.absent()
	}
	if err := db.gutted(); err != nil {
		return nil, hint.Error(fmt.Errorf("store: open %s: %w", db.path, err), rebuildHint, db.path)
	}
	if err := db.foretold(); err != nil {
		return nil, err
	}
	o := db.options(create == nil)
	o.EnsureDefaults()
	p, err := pebble.Open(db.path, o)
	switch {
	case errors.Is(err, pebble.ErrDBDoesNotExist):
		return nil, db.absent()
	case err != nil && systemTrouble(err):
		return nil, hint.Error(fmt.Errorf("store: open %s: %w", db.path, err), diskHint)
	case err != nil:
		return nil, hint.Error(fmt.Errorf("store: open %s: %w: %w", db.path, ErrDamaged, plain(err)), rebuildHint, db.path)
	}
	db.pebble = p
	db.tableOptions = o.MakeWriterOptions(0, o.FormatMajorVersion.MaxTableFormat())
	db.tableOptions.DisableValueBlocks = true
	db.opened.Store(true)
	err = db.load(create)
	db.beginEra()
	if err == nil && !db.env.ReadOnly {
		err = errors.Join(db.removeRuns(), db.describe())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", db.path, plain(err)), p.Close())
	}
	return db, nil
}

func (db *DB) absent() error {
	return hint.Error(fmt.Errorf("store: fold %s has %w %s", db.fold, ErrNoGeneration, db.generation), "start foldrun: it builds the fold")
}

// options sets Pebble up. The figures that chose these settings are in docs/performance.md.
func (db *DB) options(mustExist bool) *pebble.Options {
	m := db.env.Memory
	o := &pebble.Options{
		FS:                          diskFS{db.dir.fs, db},
		Cache:                       db.dir.cache,
		FileCache:                   db.dir.files,
		Comparer:                    comparer,
		FormatMajorVersion:          pebble.FormatValueSeparation,
		ErrorIfNotExists:            mustExist,
		ReadOnly:                    db.env.ReadOnly,
		Logger:                      logger{db},
		MemTableSize:                uint64(m.Memtable),
		MemTableStopWritesThreshold: memtables + 1,
		L0CompactionThreshold:       2 * l0Depth, // fewer, larger compactions
		L0StopWritesThreshold:       1000,
		LBaseMaxBytes:               baseMemtables * m.Memtable,
		MaxOpenFiles:                openFiles,
		EventListener: &pebble.EventListener{
			DataCorruption:  func(i pebble.DataCorruptionInfo) { db.setDamage(fmt.Errorf("%s: %w", i.Path, i.Details)) },
			BackgroundError: db.backgroundError,
			FlushEnd:        func(i pebble.FlushInfo) { db.background(&db.flushes, i.Err) },
			CompactionEnd: func(i pebble.CompactionInfo) {
				db.epochs.files.Add(1)
				db.background(&db.compactions, i.Err)
			},
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 8 * kib
		o.Levels[i].IndexBlockSize = 256 * kib // one block of a table's index, not two, on the way to a row
	}
	db.only(o)
	// The claimants of a key share a prefix, and Pebble would take those but the first for old versions, and put their values
	// elsewhere.
	o.Experimental.SpanPolicyFunc = func([]byte) (pebble.SpanPolicy, []byte, error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true}, nil, nil
	}
	return o
}

// load reads what the database says of itself, or says it for the first time.
func (db *DB) load(create *Identity) error {
	id, err := db.get(keyIdentity)
	if errors.Is(err, pebble.ErrNotFound) && create != nil {
		if err := db.found(*create); err != nil {
			return err
		}
		id, err = db.get(keyIdentity)
	}
	if err == nil {
		err = db.checkFormat()
	}
	if errors.Is(err, ErrFormat) {
		return err
	}
	if err != nil {
		return hint.Error(fmt.Errorf("its identity: %w", err), rebuildHint, db.path)
	}
	n, err := db.get(keyBuild)
	if err != nil || len(n) != 8 {
		return hint.Error(fmt.Errorf("its number: %d bytes: %w", len(n), err), rebuildHint, db.path)
	}
	if is := buildName(generationOf(id), int(binary.LittleEndian.Uint64(n))); is != db.generation {
		return hint.Error(fmt.Errorf("its identity is that of generation %s, not of the directory's name", is),
			"the directory was renamed or copied: move it back")
	}
	if err := json.Unmarshal(id, &db.id); err != nil {
		return fmt.Errorf("its identity: %w", err)
	}
	if err := db.loadLimits(); err != nil {
		return hint.Error(err, rebuildHint, db.path)
	}
	db.specs = db.id.Indexes
	v, err := db.get(keyState)
	if err != nil {
		return fmt.Errorf("its state: %w", err)
	}
	state := &State{}
	if err := state.decode(v); err != nil {
		return err
	}
	if len(state.Indexes) != len(db.specs) {
		return fmt.Errorf("its state has %d indexes, its identity %d", len(state.Indexes), len(db.specs))
	}
	db.state.Store(state)
	if state.Live == 0 {
		db.commit.seen = newSeen(db.env.Memory.Cache/2, db.commit.take(db.dir.cache))
	}
	return nil
}

// found writes the first batch of a database: format, identity and an empty state.
func (db *DB) found(id Identity) error {
	b, err := id.canonical()
	if err != nil {
		return err
	}
	if is, writes := cmp.Or(id.Format, FormatVersion), db.dir.Format(); is != writes {
		return fmt.Errorf("its identity is of store format %d, what is written of %d", is, writes)
	}
	state := State{Indexes: make([]IndexState, len(id.Indexes))}
	w := db.pebble.NewBatch()
	defer w.Close()
	w.Set(keyFormat, appendU64(nil, uint64(db.dir.Format())), nil)
	w.Set(keyIdentity, b, nil)
	w.Set(keyBuild, appendU64(nil, uint64(Number(db.generation))), nil)
	w.Set(keyState, state.append(nil), nil)
	l, err := json.Marshal(limits{Of: id.Limits})
	if err != nil {
		return err
	}
	w.Set(keyLimits, l, nil)
	return db.pebble.Apply(w, pebble.Sync)
}

// get returns a copy of a value.
func (db *DB) get(key []byte) ([]byte, error) {
	v, c, err := db.pebble.Get(key)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return append([]byte(nil), v...), nil
}

// State returns what the last commit left that is stored. It must not be changed.
func (db *DB) State() *State { return db.state.Load() }

// Ahead returns what the last commit left, stored or waiting: see Batch.More. It must not be changed.
func (db *DB) Ahead() *State {
	if s := db.ahead.Load(); s != nil {
		return s
	}
	return db.state.Load()
}

// Waiting says whether commits wait to be stored.
func (db *DB) Waiting() bool { return db.ahead.Load() != nil }

// Identity returns what the generation is a function of.
func (db *DB) Identity() Identity {
	id := db.id
	id.Limits = db.limits.Load().Of
	return id
}

// Path returns the directory of the generation.
func (db *DB) Path() string { return db.path }

// Generation returns the generation's name.
func (db *DB) Generation() string { return db.generation }

// Indexes returns the indexes in the order of their ordinals.
func (db *DB) Indexes() []IndexSpec { return db.specs }

// Flush makes what was committed durable: for sync = "1s", whose owner calls it each second.
func (db *DB) Flush() error {
	db.closeMu.RLock()
	defer db.closeMu.RUnlock()
	if db.closed || !db.dirty.Swap(false) {
		return nil
	}
	if err := db.pebble.LogData(nil, pebble.Sync); err != nil {
		return fmt.Errorf("store: sync: %w", err)
	}
	return nil
}

// Failed returns why nothing more can be committed until the store is opened again, nil while it can.
func (db *DB) Failed() error {
	db.commitMu.Lock()
	defer db.commitMu.Unlock()
	return db.failed
}

// Close waits for open views and closes the store. A Compact that is under way is given up.
func (db *DB) Close() error {
	db.closeMu.Lock()
	was := db.closed
	db.closed = true
	db.closeMu.Unlock()
	if was {
		return nil
	}
	db.end()
	if p := db.pace.Load(); p != nil {
		p.cut(ErrClosed)
	}
	db.readers.Wait()
	db.retireEpoch()
	db.commitMu.Lock()
	defer db.commitMu.Unlock()
	db.commit.more = false
	if err := db.join(); err != nil {
		db.env.Log.Warn("commits that waited are not stored", "path", db.path, "err", err)
	}
	db.failed = ErrClosed
	db.discard()
	db.commit.give()
	for _, e := range db.epochs.eras {
		e.give()
	}
	db.closing.Store(true)
	if err := db.pebble.Close(); err != nil {
		return hint.Error(fmt.Errorf("store: close %s: %w", db.path, err), diskHint)
	}
	return nil
}
