package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.etcd.io/bbolt"

	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/store"
)

// A reader reads rows from a key on, in order, while they have a prefix, as many as limit at most; it returns how many, and a sum of
// their values, which says that they were read. Where the prefix is the whole key it may read one row by its key.
type reader interface {
	rows(from, prefix []byte, limit int) (n int, sum uint64, err error)
	get(key []byte) (n int, sum uint64, err error)
	Close() error
}

// stores are what is beside one another. load fills a store with the routes that it is given in the order of their keys, but for
// foldrun's, whose routes come in the order of their source keys, and leaves it at rest.
var stores = []struct {
	name string
	load func(path string, r routes) error
	open func(path string, cache int64) (reader, error)
}{
	{"foldrun", loadFold, openFold},
	{"badger", loadBadger, openBadger},
	{"bbolt", loadBolt, openBolt},
}

// routes are so many routes, so many of each service.
type routes struct{ n, per, size int }

func (r routes) service(i int) []byte { return fmt.Appendf(nil, "service-%07d/", i) }
func (r routes) key(i int) []byte     { return fmt.Appendf(r.service(i/r.per), "route-%04d", i%r.per) }
func (r routes) value(i int) []byte   { return rig.Value(i, r.size) }

// added is what a value adds to the sum.
func added(value []byte) uint64 { return binary.LittleEndian.Uint64(value[len(value)-8:]) }

type foldReader struct {
	dir *store.Dir
	db  *store.DB
}

const fold = "routes"

// headroom is what of a fold's memory is not cache.
const headroom = 1 << 30

func openFoldDir(path string, cache int64) (*store.Dir, error) {
	m, err := store.SplitMemory(cache+headroom, 1, cache)
	if err != nil {
		return nil, err
	}
	return store.OpenDir(path, store.Options{Memory: m})
}

// loadFold commits one update for each route: the source key says nothing about the service.
func loadFold(path string, r routes) (err error) {
	d, err := openFoldDir(path, 64<<20)
	if err != nil {
		return err
	}
	db, err := d.Create(store.Identity{Fold: fold, Indexes: []store.IndexSpec{{Name: "main", Collisions: store.All}}})
	if err != nil {
		return errors.Join(err, d.Close())
	}
	defer func() { err = errors.Join(err, db.Close(), d.Close()) }()
	if err := d.SetCurrent(fold, db.Generation()); err != nil {
		return err
	}
	const batch = 16_384 // divides store.PointEvery, of which no commit may span a multiple
	for from := 0; from < r.n; from += batch {
		b := store.NewBatch(db.Indexes())
		to := min(from+batch, r.n)
		for i := from; i < to; i++ {
			route := int(uint64(i) * 2_654_435_761 % uint64(r.n)) // a prime: each route once
			b.Put([]byte(rig.Key(i)), uint64(i+1), 1, 0)
			if err := errors.Join(b.Row(0, r.key(route), r.value(route), 0), b.End()); err != nil {
				return err
			}
		}
		b.More = to < r.n
		if err := b.Seal(); err != nil {
			return err
		}
		if _, err := db.Commit(b, store.Position{Stream: "KV_routes", Seq: uint64(to)}, 0); err != nil {
			return err
		}
	}
	if report, err := db.Check(); err != nil || report.Found > 0 || report.Rows != uint64(r.n) {
		return fmt.Errorf("%+v, %w", report, err)
	}
	if err := db.Settle(background); err != nil {
		return err
	}
	if _, err := db.Compact(background, store.CompactOptions{}); err != nil { // as the runtime does when a fold stands
		return err
	}
	m, _ := db.Metrics()
	fmt.Printf("foldrun: after %d updates a read may have to look into %d tables\n", r.n, m.ReadAmp)
	return nil
}

func openFold(path string, cache int64) (reader, error) {
	d, err := openFoldDir(path, cache)
	if err != nil {
		return nil, err
	}
	g, err := d.Current(fold)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	db, err := d.Open(fold, g)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &foldReader{d, db}, nil
}

// rows has a view of its own for each read, as a query has.
func (x *foldReader) rows(from, prefix []byte, limit int) (n int, sum uint64, err error) {
	v, err := x.db.View()
	if err != nil {
		return 0, 0, err
	}
	defer v.Close()
	err = v.Scan(0, store.Range{Start: from, Prefix: prefix}, func(row store.Row) bool {
		n, sum = n+1, sum+added(row.Value)
		return n < limit
	})
	return n, sum, err
}

func (x *foldReader) get(key []byte) (n int, sum uint64, err error) {
	v, err := x.db.View()
	if err != nil {
		return 0, 0, err
	}
	defer v.Close()
	err = v.Get(0, key, store.Range{}, func(row store.Row) bool {
		n, sum = n+1, sum+added(row.Value)
		return true
	})
	return n, sum, err
}

func (x *foldReader) Close() error { return errors.Join(x.db.Close(), x.dir.Close()) }

type badgerReader struct{ db *badger.DB }

func badgerOptions(path string, cache int64) badger.Options {
	return badger.DefaultOptions(path).WithLogger(nil).WithBlockCacheSize(cache).WithCompression(options.Snappy)
}

func loadBadger(path string, r routes) (err error) {
	db, err := badger.Open(badgerOptions(path, 64<<20))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	b := db.NewWriteBatch()
	defer b.Cancel()
	for i := range r.n {
		if err := b.Set(r.key(i), r.value(i)); err != nil {
			return err
		}
	}
	return errors.Join(b.Flush(), db.Flatten(2))
}

func openBadger(path string, cache int64) (reader, error) {
	db, err := badger.Open(badgerOptions(path, cache))
	return &badgerReader{db}, err
}

// rows does not prefetch: these values stand beside their keys, and the goroutines of it cost more than they bring.
func (x *badgerReader) rows(from, prefix []byte, limit int) (n int, sum uint64, err error) {
	err = x.db.View(func(tx *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix, o.PrefetchValues = prefix, false
		it := tx.NewIterator(o)
		defer it.Close()
		for it.Seek(from); it.Valid() && n < limit; it.Next() {
			if err := it.Item().Value(func(v []byte) error { n, sum = n+1, sum+added(v); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	return n, sum, err
}

func (x *badgerReader) get(key []byte) (n int, sum uint64, err error) {
	err = x.db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(key)
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error { n, sum = 1, added(v); return nil })
	})
	return n, sum, err
}

func (x *badgerReader) Close() error { return x.db.Close() }

type boltReader struct{ db *bbolt.DB }

var bucket = []byte("routes")

func loadBolt(path string, r routes) (err error) {
	db, err := bbolt.Open(filepath.Join(path, "bolt"), 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Sync(), db.Close()) }()
	const batch = 100_000
	for from := 0; from < r.n; from += batch {
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucket)
			if err != nil {
				return err
			}
			b.FillPercent = 1 // they come in order
			for i := from; i < min(from+batch, r.n); i++ {
				if err := b.Put(r.key(i), r.value(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// openBolt opens a store whose cache is the system's: it takes what it gets.
func openBolt(path string, _ int64) (reader, error) {
	db, err := bbolt.Open(filepath.Join(path, "bolt"), 0o600, &bbolt.Options{ReadOnly: true})
	return &boltReader{db}, err
}

func (x *boltReader) rows(from, prefix []byte, limit int) (n int, sum uint64, err error) {
	err = x.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.Seek(from); k != nil && n < limit && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			n, sum = n+1, sum+added(v)
		}
		return nil
	})
	return n, sum, err
}

func (x *boltReader) get(key []byte) (n int, sum uint64, err error) {
	err = x.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucket).Get(key); v != nil {
			n, sum = 1, added(v)
		}
		return nil
	})
	return n, sum, err
}

func (x *boltReader) Close() error { return x.db.Close() }
