package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/foldrun/foldrun/hint"
)

// refused asserts that an error says something, and has a mend.
func refused(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) || hint.Of(err) == "" {
		t.Errorf("%v (hint %q), want one that says %q, with a hint", err, hint.Of(err), says)
	}
}

// lockChild opens the directory of STORE_TEST_LOCK, waiting as long as STORE_TEST_WAIT says, and says how that went.
func lockChild() {
	wait, err := time.ParseDuration(os.Getenv("STORE_TEST_WAIT"))
	if err != nil {
		panic(err)
	}
	fmt.Println("opening")
	d, err := OpenDir(os.Getenv("STORE_TEST_LOCK"), Options{LockWait: wait})
	switch {
	case errors.Is(err, ErrLocked):
		fmt.Println("locked")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println("open", d.Close())
	}
}

// startLockChild starts one and returns what it prints; it has begun to open when this returns.
func startLockChild(t *testing.T, dir, wait string) (lines *bufio.Scanner) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=lock", "STORE_TEST_LOCK="+dir, "STORE_TEST_WAIT="+wait)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { io.Copy(io.Discard, out); cmd.Wait() })
	lines = bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "opening" {
		t.Fatal(lines.Text())
	}
	return lines
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	d, err := OpenDir(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenDir(dir, Options{})
	refused(t, err, ErrLocked.Error())
	_, err = OpenDir(dir, Options{ReadOnly: true})
	refused(t, err, ErrLocked.Error())

	child := startLockChild(t, dir, "0s")
	if child.Scan(); child.Text() != "locked" {
		t.Errorf("a second process: %s", child.Text())
	}
	child = startLockChild(t, dir, "1m")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if child.Scan(); child.Text() != "open <nil>" {
		t.Errorf("a second process that waits: %s", child.Text())
	}
	if d, err = OpenDir(dir, Options{LockWait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestNotWritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := OpenDir(file+"/data", Options{})
	refused(t, err, file)
	_, err = OpenDir(file, Options{})
	refused(t, err, file)
}

func TestFormat(t *testing.T) {
	for _, c := range []struct{ format, says string }{
		{"2\n", "has format 2, this foldrun knows up to 1"},
		{"99", "has format 99"},
		{"0", "not a format version"},
		{"-1", "not a format version"},
		{"one", "not a format version"},
		{"", "not a format version"},
		{"1", ""},
		{" 1\n\n", ""},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/FORMAT", []byte(c.format), 0o666); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a refusal gives the lock back
			d, err := OpenDir(dir, Options{})
			if c.says != "" {
				refused(t, err, c.says)
			} else if err != nil {
				t.Error(err)
			} else if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestFormatOfDatabase: a database says its format itself, whatever the file beside it does, and one is built of no other format
// than is written.
func TestFormatOfDatabase(t *testing.T) {
	fs := vfs.NewMem()
	o := options(fs)
	o.formats = []int{1, 2}
	d, err := OpenDir(dataDir, o)
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{Fold: "f", Indexes: twoIndexes}
	if _, err = d.Create(id); err == nil || !strings.Contains(err.Error(), "store format 1, what is written of 2") {
		t.Errorf("%v", err)
	}
	id.Format = 2
	db, err := d.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Close(), d.Close(), fs.Remove(db.path+"/"+identityFile)); err != nil {
		t.Fatal(err)
	}
	d, err = OpenDir(dataDir, options(fs))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = d.Open("f", db.generation); !errors.Is(err, ErrFormat) {
		t.Errorf("%v", err)
	}
	refused(t, err, "is of store format 2: ")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestGenerations: each identity has its directory, and a directory holds the identity of its name.
func TestGenerations(t *testing.T) {
	fs := vfs.NewMem()
	d, err := OpenDir(dataDir, options(fs))
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{Fold: "f", Indexes: twoIndexes}
	names := map[string]bool{}
	for _, change := range []func(*Identity){
		func(*Identity) {}, func(id *Identity) { id.Module = "x" }, func(id *Identity) { id.Indexes = twoIndexes[:1] },
		func(id *Identity) { id.Meter = 1 }, func(id *Identity) { id.Domain = "hub" },
	} {
		other := id
		change(&other)
		db, err := d.Create(other)
		if err != nil {
			t.Fatal(err)
		}
		names[db.Generation()] = true
		again, err := other.Generation()
		if err != nil || again != db.Generation() || db.Identity().Differs(other) != " differ" {
			t.Errorf("%s, then %s (%v), differs in %q", db.Generation(), again, err, db.Identity().Differs(other))
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if db, err = d.Open("f", again); err != nil || len(db.Indexes()) != len(other.Indexes) {
			t.Fatal(err)
		}
		check(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(names) != 5 {
		t.Errorf("%d generations of 5 identities", len(names))
	}
	_, err = d.Open("f", "0123456789abcdef")
	refused(t, err, "has no generation 0123456789abcdef")
	_, err = d.Open("g", "0123456789abcdef")
	refused(t, err, "fold g has no generation")
	if got, _ := fs.List(dataDir + "/folds"); !slices.Equal(got, []string{"f"}) {
		t.Errorf("opening what is not there made %v", got)
	}
	generation, _ := id.Generation()
	if err := fs.Rename(dataDir+"/folds/f/"+generation, dataDir+"/folds/f/0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	_, err = d.Open("f", "0123456789abcdef")
	refused(t, err, "its identity is that of generation "+generation)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestCurrent(t *testing.T) {
	fs := vfs.NewMem()
	d, err := OpenDir(dataDir, options(fs))
	if err != nil {
		t.Fatal(err)
	}
	want := func(folds ...string) {
		t.Helper()
		if got, err := d.Folds(); err != nil || !slices.Equal(got, folds) {
			t.Errorf("folds %v, want %v: %v", got, folds, err)
		}
	}
	want()
	for _, fold := range []string{"zebra", "ant"} {
		for _, module := range []string{"one", "two"} {
			db, err := d.Create(Identity{Fold: fold, Module: module, Indexes: twoIndexes})
			if err != nil {
				t.Fatal(err)
			}
			if fold == "zebra" && module == "one" {
				want()
			}
			if err := d.SetCurrent(fold, db.Generation()); err != nil {
				t.Error(err)
			}
			if g, err := d.Current(fold); err != nil || g != db.Generation() {
				t.Errorf("current %s, want %s: %v", g, db.Generation(), err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	want("ant", "zebra")
	if g, err := d.Current("none"); g != "" || err != nil {
		t.Error(g, err)
	}
	// What a crash leaves of a replacement is no current generation, and is in nobody's way.
	if f, err := fs.Create(dataDir+"/folds/ant/CURRENT.new", vfs.WriteCategoryUnspecified); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if err := d.SetCurrent("ant", "x"); err != nil {
		t.Error(err)
	}
	want("ant", "zebra")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestReadOnly reads a directory that nothing else has open and leaves every byte of it alone.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenDir(dir+"/none", Options{ReadOnly: true})
	refused(t, err, "none")
	_, err = OpenDir(dir, Options{ReadOnly: true})
	refused(t, err, "is not a data_dir")

	h := sabotaged
	w, _ := newWorld(twoIndexes).after(h[0])
	d, db, err := openStore(dir, Options{}, twoIndexes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commitStep(db, h[0]); err != nil {
		t.Fatal(err)
	}
	generation := db.Generation()
	if err := errors.Join(d.SetCurrent("f", generation), closeStore(d, db)); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	if d, err = OpenDir(dir, Options{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	if db, err = d.Open("f", generation); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.compare(db), checkStore(db)); err != nil {
		t.Error(err)
	}
	_, err = commitStep(db, at(11, 0))
	_, err2 := d.Create(Identity{Fold: "new", Indexes: twoIndexes})
	for _, err := range []error{err, err2, d.SetCurrent("f", "x")} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("a write into a directory that is open for reading: %v", err)
		}
	}
	if err := closeStore(d, db); err != nil {
		t.Error(err)
	}
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("files were\n%s\nand are\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// files lists a directory's files with size and time of change.
func files(t *testing.T, dir string) (all []string) {
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || filepath.Base(path) == "LOCK" { // taking a lock truncates the empty file
			return err
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		all = append(all, fmt.Sprint(path, " ", i.Size(), " ", i.ModTime()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
