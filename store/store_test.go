package store

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	update   = flag.Bool("update", false, "write what the text tests print into testdata")
	seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 = another one each time")
	all      = flag.Bool("all", false, "every crash image and every fault instead of a sample")
)

// children are what a test runs in a process of its own, by the value of the environment variable that chooses one.
var children = map[string]func(){"fault": faultChild, "lock": lockChild}

const childEnv = "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childEnv)]; child != nil {
		child()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// seeded returns a source of randomness whose seed is printed when the test fails.
func seeded(t testing.TB) *rand.Rand {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("go test ./store -run %s -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 0))
}

// small is a memory so small that a few commits flush, compact and recycle logs.
var small = Memory{Total: 8 * mib, Folds: 1, Cache: 2 * mib, Memtable: 32 * kib, Batch: 256 * kib, Batches: 4}

const dataDir = "/data"

// options are those of a test: a disk that fails where none should is a panic.
func options(fs vfs.FS) Options {
	return Options{fs: fs, Memory: small, Fatal: func(dir string, err error) { panic(fmt.Sprint(dir, ": ", err)) }}
}

// open opens a store on fs for a test and asserts at its end that it is whole.
func open(t testing.TB, fs vfs.FS, specs ...IndexSpec) *DB {
	t.Helper()
	db := openBroken(t, options(fs), specs...)
	t.Cleanup(func() { check(t, db) })
	return db
}

// openBroken opens a store for a test that may leave it in pieces.
func openBroken(t testing.TB, o Options, specs ...IndexSpec) *DB {
	t.Helper()
	d, db, err := openStore(dataDir, o, specs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeStore(d, db); err != nil {
			t.Error(err)
		}
	})
	return db
}

// openStore opens a directory and the fold f in it.
func openStore(path string, o Options, specs []IndexSpec) (*Dir, *DB, error) {
	return openFold(path, o, Identity{Fold: "f", Indexes: specs})
}

// openKeeping opens a store that keeps records.
func openKeeping(path string, o Options, specs []IndexSpec) (*Dir, *DB, error) {
	return openFold(path, o, Identity{Fold: "f", Indexes: specs, KeepSource: true})
}

func openFold(path string, o Options, id Identity) (*Dir, *DB, error) {
	d, err := OpenDir(path, o)
	if err != nil {
		return nil, nil, err
	}
	db, err := d.Create(id)
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	return d, db, nil
}

func closeStore(d *Dir, db *DB) error {
	if err := db.Close(); err != nil {
		return err
	}
	return d.Close()
}

// checkStore returns what Check found as an error.
func checkStore(db *DB) error {
	r, err := db.Check()
	if err != nil {
		return err
	}
	if r.Found > 0 {
		return fmt.Errorf("check: %d problems, the first: %s", r.Found, r.Problems[0])
	}
	return nil
}

func check(t testing.TB, db *DB) {
	t.Helper()
	if err := checkStore(db); err != nil {
		t.Error(err)
	}
}
