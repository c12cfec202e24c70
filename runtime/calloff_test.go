package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

// TestCallOffCrash: a start names a rollback that was under way, and one calls it off; foldrun is ended after each thing that this
// does on disk.
func TestCallOffCrash(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	first, second := c.upgraded()
	c.stop()
	c.put("l", "bx=2")
	begin := func(d *store.Dir) {
		check(t, d.Hold("f", must(Try(t.Context(), c.o))(t)))
		check(t, d.Return("f", true))
	}
	retained := must(os.ReadFile(filepath.Join(c.path, "folds", "f", "PREVIOUS")))(t)
	for done := range 4 {
		path := filepath.Join(t.TempDir(), "data")
		check(t, os.CopyFS(path, os.DirFS(c.path)))
		dir := openDir(t, path, store.Options{})
		begin(dir)
		for _, step := range []func() error{
			func() error { return os.WriteFile(filepath.Join(path, "folds", "f", "PREVIOUS"), retained, 0o644) },
			func() error { return dir.Unhold("f") },
			func() error { return dir.Forget("f") },
		}[:done] {
			check(t, step())
		}
		f := must(NewFold(t.Context(), dir, c.o))(t)
		f.builds <- struct{}{} // another fold builds
		r := run(t, dir, f)
		if done < 2 {
			r.await("a rollback", func(st Status) bool { return st.Build != nil && st.Seq > 0 })
			if st := r.Status(); st.State != StateRebuilding || st.Code != CodeRolledBack || st.Generation != second || st.Build.Generation != first ||
				!strings.Contains(st.Reason, "is being rolled back: generation "+first) || !strings.Contains(st.Hint, "foldrun apply f calls it off") {
				t.Errorf("after step %d: %+v", done, st)
			}
			check(t, r.Apply(t.Context(), false))
		}
		r.stays(second, first)
		r.stop()

		r = start(t, path, store.Options{}, c.o)
		r.stays(second, first)
		r.await("the way back", func(st Status) bool {
			return st.Previous != nil && st.Previous.Generation == first && st.Previous.Seq >= 2
		})
		check(t, r.Rollback(t.Context()))
		r.await("back", func(st Status) bool { return st.Generation == first && st.State == StateHeld && st.Seq >= 2 })
		whole(t, r.Store())
		r.stop()
	}
}

// TestCallOffFollowed: a rollback is called off whose generation has followed all the while, and cannot catch up.
func TestCallOffFollowed(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	first, second := c.upgraded()
	c.s.Stop()
	c.await("the way back waits", func(st Status) bool { return st.Previous != nil && st.Previous.State == StateWaiting })
	for range 2 {
		check(t, c.Rollback(t.Context()))
		c.await("a rollback", func(st Status) bool {
			return st.Code == CodeRolledBack && st.Build != nil && st.Build.Generation == first
		})
		check(t, c.Apply(t.Context(), false))
		c.stays(second, first)
	}
	c.s.again()
	last := c.put("l", "bx=2")
	c.await("both follow", func(st Status) bool { return st.Seq >= last && st.Previous != nil && st.Previous.Seq >= last })
	c.stop()
}

// stays waits until a generation serves and nothing is built, and another one is kept as the way back.
func (r *runner) stays(serves, back string) {
	r.t.Helper()
	r.await("no rollback", func(st Status) bool {
		return st.Generation == serves && st.Build == nil && st.Code != CodeRolledBack && st.Seq > 0
	})
	p := must(r.dir.Previous("f"))(r.t)
	next := must(r.dir.Next("f"))(r.t)
	holds := must(r.dir.Holds("f", r.id))(r.t)
	if p.Generation != back || !p.Until.After(time.Now()) || next.Generation != "" || holds {
		r.t.Errorf("kept %+v, next %+v, held %v", p, next, holds)
	}
}
