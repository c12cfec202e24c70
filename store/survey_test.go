package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func init() { children["remove"] = removeChild }

// removeChild removes the generation STORE_TEST_GENERATION of fold f, and says how that went.
func removeChild() {
	fmt.Print(RemoveOrphan(os.Getenv("STORE_TEST_DIR"), "f", os.Getenv("STORE_TEST_GENERATION")))
}

// removeAside has another process remove a generation.
func removeAside(t *testing.T, path, generation string) (said string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childEnv+"=remove", "STORE_TEST_DIR="+path, "STORE_TEST_GENERATION="+generation)
	out, err := c.Output()
	ok(t, err)
	return string(out)
}

// TestSurvey has one of everything in a fold's directory: what it is said to be is what it is, and what is removed is only what
// nothing names, foldrun made, and nobody has open.
func TestSurvey(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path, Options{Memory: small})
	ok(t, err)
	var all []*DB
	for n := 1; n <= 5; n++ {
		db, err := d.Build(Identity{Fold: "f", Module: "m", Indexes: twoIndexes}, n)
		ok(t, err)
		ok(t, db.KeepModule([]byte("wasm")))
		ok(t, db.NoteCopied("00000000000000ee"))
		all = append(all, db)
	}
	name := func(n int) string { return all[n-1].Generation() }
	ok(t, d.SetCurrent("f", name(1)))
	ok(t, d.Begin("f", Next{Generation: name(2), Replaces: name(1)}))
	ok(t, d.Retain("f", time.Now().Add(time.Hour))) // of 1, which serves: that counts
	ok(t, d.Begin("f", Next{Generation: name(3), Replaces: name(4)}))
	for _, db := range all[:4] {
		ok(t, db.Close())
	}
	put := func(elem ...string) {
		t.Helper()
		file := filepath.Join(append([]string{path, "folds", "f"}, elem...)...)
		ok(t, os.MkdirAll(filepath.Dir(file), 0o755))
		ok(t, os.WriteFile(file, []byte("text"), 0o644))
	}
	ok(t, os.Rename(d.foldPath("f", name(2)), d.foldPath("f", name(2)+gone)))
	put("CURRENT.new")
	put("notes.txt")
	put("mine", "notes.txt")
	put("00000000000000aa", moduleFile)
	put("00000000000000bb", moduleFile)
	put("00000000000000bb", "notes.txt")
	put("00000000000000cc", "000001.log", "inside.txt")
	ok(t, os.CopyFS(d.foldPath("f", "00000000000000dd"), os.DirFS(d.foldPath("f", name(4)))))

	want := map[string]Standing{name(1): StandingCurrent, name(2): StandingLeaving, name(3): StandingNext, name(4): StandingReplaced, name(5): StandingOrphan,
		"notes.txt": StandingUnknown, "mine": StandingUnknown, "00000000000000aa": StandingOrphan, "00000000000000bb": StandingUnknown,
		"00000000000000cc": StandingUnknown, "00000000000000dd": StandingUnknown}
	look := func() map[string]Standing {
		t.Helper()
		folds, err := SurveyFolds(path)
		if err != nil || len(folds) != 1 || folds[0].Fold != "f" || folds[0].Current != name(1) {
			t.Fatalf("%+v, %v", folds, err)
		}
		is := map[string]Standing{}
		for _, e := range folds[0].Entries {
			if is[e.Name] = e.Standing; e.Why == "" || e.Bytes == 0 && e.Name != "00000000000000cc" {
				t.Errorf("%+v", e)
			}
		}
		return is
	}
	equal := func(is map[string]Standing) {
		t.Helper()
		for name, s := range want {
			if is[name] != s {
				t.Errorf("%s is %q, want %q", name, is[name], s)
			}
		}
		if len(is) != len(want) {
			t.Errorf("%v, want %v", is, want)
		}
	}
	equal(look())

	// While this process has the directory, and the fifth is open.
	for name, s := range want {
		if said := removeAside(t, path, name); s != StandingOrphan && !strings.Contains(said, "no orphan") && !strings.Contains(said, "no generation") {
			t.Errorf("%s, %s: %s", name, s, said)
		} else if name == all[4].Generation() && !strings.Contains(said, "is open") {
			t.Errorf("it is open: %s", said)
		}
	}
	delete(want, "00000000000000aa")
	equal(look())
	ok(t, all[4].Close())
	ok(t, os.Rename(d.foldPath("f", "CURRENT"), filepath.Join(path, "CURRENT")))
	if said := removeAside(t, path, name(5)); !strings.Contains(said, "may take") {
		t.Errorf("nothing serves, and a foldrun runs: %s", said)
	}
	ok(t, os.Rename(filepath.Join(path, "CURRENT"), d.foldPath("f", "CURRENT")))
	ok(t, d.Close())
	ok(t, RemoveOrphan(path, "f", name(5)))
	delete(want, name(5))
	equal(look())
	if err := RemoveOrphan(path, "f", name(5)); !errors.Is(err, ErrNoGeneration) {
		t.Errorf("removed twice: %v", err)
	}
}
