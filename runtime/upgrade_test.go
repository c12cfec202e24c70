package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

// TestOldFollows configures another generation, which waits: for another fold's build, or for an operator. The one that
// serves follows the source meanwhile, as its own configuration says, also after a restart.
func TestOldFollows(t *testing.T) {
	for _, by := range []Upgrade{UpgradeAuto, UpgradeManual} {
		t.Run(string(by), func(t *testing.T) {
			s := newSite(t)
			kv := s.bucket("edge", 1)
			path, o := t.TempDir(), s.modelFold("edge") // b shows the latest claimant
			r := start(t, path, store.Options{}, o)
			r.reach(s.put(kv, "k", []byte("bx=1")))
			first := r.Status().Generation
			r.stop()

			o.Collisions, o.Upgrade = nil, by
			for i := range 2 {
				dir := openDir(t, path, store.Options{})
				f := must(NewFold(t.Context(), dir, o))(t)
				f.builds <- struct{}{} // another fold builds
				r = run(t, dir, f)
				state := StateRebuilding
				if by == UpgradeManual {
					state = StateHeld
				}
				last := s.put(kv, fmt.Sprint("l", i), []byte("bx=2"))
				r.await("what waits", func(st Status) bool {
					return st.Seq >= last && st.State == state && (st.Build == nil) == (by == UpgradeManual)
				})
				st := r.Status()
				if st.Generation != first || st.Code != CodeIdentity || st.Module != "model" || !strings.Contains(st.Reason, "indexes differ") {
					t.Errorf("before the upgrade: %+v", st)
				}
				if b := st.Build; by == UpgradeAuto && (b == nil || b.State != StateQueued || !strings.Contains(b.Reason, "waits for its turn")) {
					t.Errorf("what waits: %+v", b)
				}
				equal(t, "rows", r.rows(1, store.Range{}), fmt.Sprintf(`"x" "l%d" "2"`, i))
				whole(t, r.Store())
				if i == 0 {
					r.stop()
				}
			}
			if by == UpgradeManual {
				check(t, r.Rebuild(t.Context()))
			}
			<-r.builds
			r.await("a switch", func(st Status) bool { return st.Generation != first && st.State == StateFollowing })
			equal(t, "rows", r.rows(1, store.Range{}), `"x" "k" "1"`, `"x" "l0" "2"`, `"x" "l1" "2"`)
			r.stop()
		})
	}
}

// TestRollback upgrades a fold, goes back, and forth again, with restarts in between: what serves is of one generation, and
// holds everything; what an operator went back from comes back by his word, or when another configuration comes.
func TestRollback(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	path, o := t.TempDir(), s.modelFold("edge")
	o.Rollback = time.Hour
	n := 0
	put := func() uint64 { n++; return s.put(kv, fmt.Sprint("k", n), []byte("bx=1")) }
	r := start(t, path, store.Options{}, o)
	r.reach(put())
	first := r.Status().Generation
	serves := func(what, generation, state, previous string, rows int) {
		t.Helper()
		r.await(what, func(st Status) bool {
			return st.Generation == generation && st.State == state && (st.Previous == nil) == (previous == "")
		})
		last := put()
		r.await("the way back follows", func(st Status) bool {
			return st.Seq >= last && (st.Previous == nil || st.Previous.Seq >= last && st.Previous.Generation == previous)
		})
		if rows == 0 {
			rows = n // b shows all
		}
		if have := len(r.rows(1, store.Range{})); have != rows {
			t.Errorf("%s: %d rows, want %d", what, have, rows)
		}
		whole(t, r.Store())
	}
	refused := func(says string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) || HintOf(err) == "" {
			t.Errorf("%v (hint %q), want %q", err, HintOf(err), says)
		}
	}
	restart := func() {
		r.stop()
		r = start(t, path, store.Options{}, o)
	}
	refused("no generation to go back to", r.Rollback(t.Context()))
	refused("what is configured serves", r.Apply(t.Context(), false))
	r.stop()
	o.Collisions = nil
	second := must(must(Try(t.Context(), o))(t).Generation())(t)
	r = start(t, path, store.Options{}, o)
	serves("the upgrade", second, StateFollowing, first, 0)
	restart()
	serves("the upgrade, started again", second, StateFollowing, first, 0)

	check(t, r.Rollback(t.Context()))
	serves("the rollback", first, StateHeld, second, 1)
	if st := r.Status(); st.Code != CodeRolledBack || !strings.Contains(st.Hint, "foldrun apply f") {
		t.Errorf("rolled back: %+v", st)
	}
	refused("rolled back", r.Resume(t.Context(), false))
	refused("rolled back", r.Rebuild(t.Context()))
	refused("rolled back already", r.Rollback(t.Context()))
	restart()
	serves("the rollback, started again", first, StateHeld, second, 1)
	check(t, r.Apply(t.Context(), false))
	serves("applied", second, StateFollowing, first, 0)

	r.wanted <- struct{}{} // another fold builds
	r.builds <- struct{}{}
	r.await("rest", func(st Status) bool { return st.Previous == nil })
	put()
	check(t, r.Rollback(t.Context()))
	restart() // before it can be followed
	serves("the rollback of what rested", first, StateHeld, second, 1)

	r.stop()
	o.Collisions = map[string]store.Collisions{"a": store.Latest}
	third := must(must(Try(t.Context(), o))(t).Generation())(t)
	o.Rollback = time.Nanosecond
	r = start(t, path, store.Options{}, o)
	serves("another configuration", third, StateFollowing, "", 0)
	r.await("the way back is removed", func(Status) bool {
		all := must(r.dir.Generations("f"))(t)
		return len(all) == 1 && all[0] == third
	})
	r.stop()
}

// TestRollbackCrash ends foldrun after each thing that a rollback does on disk: the next start serves one generation, whole,
// and finishes what was noted.
func TestRollbackCrash(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	base, o := t.TempDir(), s.modelFold("edge")
	o.Rollback = time.Hour
	r := start(t, base, store.Options{}, o)
	r.reach(s.put(kv, "k", []byte("bx=1")))
	first := r.Status().Generation
	r.stop()
	o.Collisions = nil
	r = start(t, base, store.Options{}, o)
	r.await("the upgrade", func(st Status) bool { return st.Generation != first && st.Previous != nil })
	second, until := r.Status().Generation, time.Now().Add(time.Hour)
	r.stop()
	s.put(kv, "l", []byte("bx=2"))
	last := s.put(kv, "m", []byte("bx=3"))

	steps := []func(d *store.Dir) error{
		func(d *store.Dir) error { return d.Hold("f", must(Try(t.Context(), o))(t)) },
		func(d *store.Dir) error { return d.Begin("f", store.Next{Generation: first, Replaces: second}) },
		func(d *store.Dir) error { return d.Return("f", true) },
		func(d *store.Dir) error { return d.Switch("f") },
		func(d *store.Dir) error { return d.Retain("f", until) },
	}
	for done := range len(steps) + 1 {
		path := filepath.Join(t.TempDir(), "data")
		check(t, os.CopyFS(path, os.DirFS(base)))
		dir := openDir(t, path, store.Options{})
		for _, step := range steps[:done] {
			check(t, step(dir))
		}
		check(t, dir.Close())
		r := start(t, path, store.Options{}, o)
		serves, state, previous, rows := second, StateFollowing, first, 3
		if done > 1 {
			serves, state, previous, rows = first, StateHeld, second, 1
		}
		r.await(fmt.Sprint("after step ", done), func(st Status) bool {
			return st.Generation == serves && st.State == state && st.Seq >= last && st.Previous != nil && st.Previous.Generation == previous
		})
		if have := len(r.rows(1, store.Range{})); have != rows {
			t.Errorf("after step %d: %d rows, want %d", done, have, rows)
		}
		whole(t, r.Store())
		r.stop()
	}
}
