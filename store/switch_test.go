package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestSwitchCrash replaces a generation, with images of the disk taken ahead of every write operation: each holds a
// generation that serves, whole, and a switch that can be finished.
func TestSwitchCrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	rng := seeded(t)
	fs := &hookFS{FS: mem}
	var images []*vfs.MemFS
	var at []string
	watching := false
	fs.before = func(kind, name string) error {
		if !watching || kind == "close" {
			return nil
		}
		for _, percent := range []int{0, 50, 100} {
			fs.cloning.Lock()
			images = append(images, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
			fs.cloning.Unlock()
			at = append(at, fmt.Sprintf("%s %s, %d %%", kind, name, percent))
		}
		return nil
	}
	d, old, err := openStore(dataDir, options(fs), twoIndexes)
	ok(t, err)
	ok(t, d.SetCurrent("f", old.Generation()))
	fill(t, old, "old")
	watching = true
	built := old.Generation() + "-2"
	ok(t, d.Begin("f", Next{Generation: built, Replaces: old.Generation()}))
	db, err := d.Build(old.Identity(), 2)
	ok(t, err)
	fill(t, db, "new")
	ok(t, d.Switch("f"))
	ok(t, old.Close())
	ok(t, d.Finish("f"))
	ok(t, fs.before("after", "all"))
	watching = false
	ok(t, db.Close())
	ok(t, d.Close())
	if len(images) < 100 {
		t.Fatalf("only %d images", len(images))
	}
	seen := map[string]int{}
	for i, image := range images {
		seen[judgeSwitch(t, image, at[i], built)]++
	}
	t.Logf("%d images: %v", len(images), seen)
	for _, state := range []string{"old", "new, old not gone", "new"} {
		if seen[state] == 0 {
			t.Errorf("no image was %q", state)
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pointsOf(t *testing.T, db *DB) []Point {
	t.Helper()
	v, err := db.View()
	ok(t, err)
	defer v.Close()
	all, err := v.Points()
	ok(t, err)
	return all
}

// fill commits one row.
func fill(t *testing.T, db *DB, key string) {
	t.Helper()
	b := NewBatch(db.Indexes())
	b.Put([]byte("s"), 1, 1, 0)
	ok(t, b.Row(0, []byte(key), nil, 0))
	ok(t, b.End())
	_, err := db.Commit(b, Position{Stream: "S", Created: 1, Seq: 1, Time: 1}, 1)
	ok(t, err)
}

// judgeSwitch opens what a crash left, finishes what was begun, and says what serves.
func judgeSwitch(t *testing.T, fs *vfs.MemFS, at, built string) (state string) {
	t.Helper()
	d, err := OpenDir(dataDir, options(fs))
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	defer d.Close()
	current, err := d.Current("f")
	next, err2 := d.Next("f")
	if err != nil || err2 != nil {
		t.Fatalf("%s: %v, %v", at, err, err2)
	}
	all, err := d.Generations("f")
	ok(t, err)
	key := "old"
	if state = "old"; current == built {
		if state, key = "new", "new"; len(all) == 2 {
			state = "new, old not gone"
		}
	}
	for _, finished := range []bool{false, true} {
		if finished {
			if err := d.Finish("f"); err != nil {
				t.Fatalf("%s: finish: %v", at, err)
			}
		}
		db, err := d.Open("f", current)
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		v, err := db.View()
		ok(t, err)
		var keys []string
		ok(t, v.Scan(0, Range{}, func(r Row) bool {
			keys = append(keys, string(r.Key))
			return true
		}))
		v.Close()
		ok(t, db.Close())
		if !slices.Equal(keys, []string{key}) {
			t.Errorf("%s: %s serves %q", at, current, keys)
		}
	}
	if all, err = d.Generations("f"); err != nil || !slices.Equal(all, []string{current}) && next.Generation != "" {
		t.Errorf("%s: finished, there are %q: %v", at, all, err)
	}
	return state
}

// TestRewind moves the cursor back: nothing else changes, the points go, and no commit but such a one may do that.
func TestRewind(t *testing.T) {
	d, db, err := openStore(dataDir, options(vfs.NewMem()), twoIndexes)
	ok(t, err)
	defer closeStore(d, db)
	at := func(seq uint64) Position { return Position{Stream: "S", Created: 1, Seq: seq, Time: 1} }
	commit := func(seq uint64, change func(b *Batch)) error {
		b := NewBatch(db.Indexes())
		change(b)
		_, err := db.Commit(b, at(seq), 1)
		return err
	}
	put := func(b *Batch) {
		b.Put([]byte("s"), 100, 1, 0)
		ok(t, b.Row(0, []byte("k"), nil, 0))
		ok(t, b.End())
	}
	nothing, back := func(*Batch) {}, func(b *Batch) { b.Rewind = true }
	ok(t, commit(100, put))
	ok(t, commit(3*PointEvery, nothing))
	if err := commit(50, nothing); err == nil {
		t.Error("a commit moved the cursor back")
	}
	if err := commit(50, func(b *Batch) { put(b); b.Rewind = true }); err == nil {
		t.Error("a rewind changed a source key")
	}
	ok(t, commit(50, back))
	if s := db.State(); s.Position().Seq != 50 || s.Rewound != 3*PointEvery || s.Live != 1 {
		t.Errorf("rewound: %+v", s)
	}
	check(t, db)
	if err := commit(50, put); err == nil {
		t.Error("a commit put what comes after the cursor")
	}
	if err := commit(50, func(b *Batch) { b.RemoveIf([]byte("s"), 3*PointEvery+1) }); err == nil {
		t.Error("a commit removed what comes after all that was folded")
	}
	ok(t, commit(50, func(b *Batch) { b.RemoveIf([]byte("s"), 100) })) // evicted before it is read again
	if n := db.State().Live; n != 0 {
		t.Errorf("%d live: what a rewind left was not removed", n)
	}
	check(t, db)
	ok(t, commit(2*PointEvery, nothing))
	if n := len(pointsOf(t, db)); n != 0 {
		t.Errorf("%d points, passed while what the rewind left stands beside what was folded again", n)
	}
	ok(t, commit(4*PointEvery, nothing))
	if s := db.State(); s.Rewound != 0 || len(pointsOf(t, db)) != 1 {
		t.Errorf("back again: %+v, %v", s, pointsOf(t, db))
	}
	check(t, db)
}

// TestNextText: what NEXT holds is read back, and what foldrun would not write there names nothing.
func TestNextText(t *testing.T) {
	const one, two = "0123456789abcdef-2", "fedcba9876543210"
	for _, n := range []Next{
		{Generation: one}, {Generation: one, Replaces: two}, {Generation: one, Replaces: two, Asked: true},
		{Generation: one, Asked: true, Cause: "store_damaged"}, {Generation: one, Replaces: two, Cause: "source_recreated", Created: 1700000000000000001},
	} {
		if is, ok := parseNext(n.text()); !ok || is != n {
			t.Errorf("%q is %+v, %v", n.text(), is, ok)
		}
	}
	for _, text := range []string{"", one, "x " + one, one + " x", one + " - what", one + " - asked what", one + " - what 1 2", one + " - what when"} {
		if n, ok := parseNext(text); ok || n != (Next{}) {
			t.Errorf("%q is %+v, %v", text, n, ok)
		}
	}
}
