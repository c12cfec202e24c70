package runtime

import (
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

// TestSpread: a build that foldrun begins by itself waits for the moment that is drawn, and says until when; a restart draws
// another. What an operator asks for, a first build, a way back and what is made of kept records begin at once.
func TestSpread(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	path, o := t.TempDir(), s.modelFold("edge")
	o.Jitter, o.Rollback = time.Hour, time.Hour
	least := func(time.Duration) time.Duration { return 0 }
	most := func(d time.Duration) time.Duration { return d }
	began := time.Now()
	var r *runner
	begin := func(draw func(time.Duration) time.Duration) {
		dir := openDir(t, path, store.Options{})
		f := must(NewFold(t.Context(), dir, o))(t)
		f.draw = draw
		r = run(t, dir, f)
	}
	waits := func(serves, code string) {
		t.Helper()
		r.await("a build that waits for its moment", func(st Status) bool { return st.Build != nil && st.Build.Begins != "" && st.Code == code })
		st := r.Status()
		at, err := time.Parse(time.RFC3339, st.Build.Begins)
		if err != nil || at.Before(began.Add(time.Hour).Truncate(time.Second)) || st.Build.State != StateQueued || !strings.Contains(st.Build.Reason, "it begins at "+st.Build.Begins+": ") ||
			st.Build.Hint != "foldrun apply f has it begin now" || st.Generation != serves || len(r.builds) > 0 {
			t.Errorf("%v: %+v; %+v", err, st, st.Build)
		}
	}
	switched := func(was string) string {
		t.Helper()
		r.await("a switch", func(st Status) bool { return st.Generation != was && st.Generation != "" && st.Build == nil })
		return r.Status().Generation
	}
	begin(most) // the first
	r.reach(s.put(kv, "k", []byte("bx=1")))
	first := r.Status().Generation
	r.stop()

	o.Collisions = nil
	begin(most)
	waits(first, CodeIdentity)
	r.reach(s.put(kv, "l", []byte("bx=2"))) // meanwhile it follows
	r.stop()
	begin(most)
	waits(first, CodeIdentity)
	check(t, r.Apply(t.Context(), false))
	second := switched(first)
	check(t, r.Rollback(t.Context()))
	r.await("back", func(st Status) bool { return st.Generation == first && st.State == StateHeld })
	check(t, r.Apply(t.Context(), false))
	r.await("forth", func(st Status) bool { return st.Generation == second && st.Previous != nil })

	check(t, s.js.DeleteKeyValue(t.Context(), "edge"))
	kv = s.bucket("edge", 1)
	s.put(kv, "k", []byte("bx=1"))
	s.put(kv, "l", []byte("bx=2"))
	waits(second, "source_recreated")
	r.stop()
	begin(most)
	waits(second, "source_recreated")
	check(t, r.Rebuild(t.Context()))
	third := switched(second)
	r.stop()

	another(&o, 1)
	o.KeepSource = true
	begin(least)
	fourth := switched(third)
	r.stop()
	another(&o, 2)
	begin(most) // of kept records
	switched(fourth)
	r.stop()
}

// TestSpreadAgain: a restart knows whether an operator asked for a build, and what is wrong with what it replaces.
func TestSpreadAgain(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	path, o := t.TempDir(), s.modelFold("edge")
	o.Jitter = time.Hour
	var r *runner
	begin := func(turn bool) {
		dir := openDir(t, path, store.Options{})
		f := must(NewFold(t.Context(), dir, o))(t)
		if f.draw = func(d time.Duration) time.Duration { return d }; !turn {
			f.builds <- struct{}{} // another fold builds
		}
		r = run(t, dir, f)
	}
	queued := func(code string, drawn bool) {
		t.Helper()
		r.await("a build that waits", func(st Status) bool {
			return st.Build != nil && st.Build.State == StateQueued && st.Build.Generation != "" && st.Code == code && (st.Build.Begins != "") == drawn
		})
		r.stop()
	}
	switched := func(was string) string {
		t.Helper()
		r.await("a switch", func(st Status) bool { return st.Generation != was && st.Generation != "" && st.Build == nil })
		return r.Status().Generation
	}
	begin(false)
	r.reach(s.put(kv, "k", []byte("bx=1")))
	first := r.Status().Generation
	check(t, r.Rebuild(t.Context()))
	queued("", false)
	begin(true)
	second := switched(first)
	r.stop()

	another(&o, 1)
	o.KeepSource = true
	begin(false)
	r.await("a moment", func(st Status) bool { return st.Build != nil && st.Build.Begins != "" })
	check(t, r.Apply(t.Context(), false))
	queued(CodeIdentity, false)
	begin(true)
	third := switched(second)

	check(t, s.js.DeleteKeyValue(t.Context(), "edge"))
	s.put(s.bucket("edge", 1), "k", []byte("bx=1"))
	queued("source_recreated", true)
	begin(true)
	queued("source_recreated", true) // not of the records, which are of the stream that was
	begin(true)
	r.await("a moment", func(st Status) bool { return st.Build != nil && st.Build.Begins != "" })
	check(t, r.Apply(t.Context(), false))
	switched(third)
	r.stop()
}

// TestSpreadAsked: a reload draws a moment; what an operator has a fold that stopped go on with begins at once.
func TestSpreadAsked(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.OnDiverged, o.Jitter = DivergedHalt, time.Hour })
	c.run()
	c.draw = func(d time.Duration) time.Duration { return d }
	c.fine(c.put("k", "ax=1"))
	another(&c.o, 1)
	c.configure()
	c.await("a build that waits", func(st Status) bool { return st.Build != nil && st.Build.Begins != "" })
	check(t, c.Apply(t.Context(), false))
	c.await("a switch", func(st Status) bool { return st.State == StateFollowing })
	for _, do := range []func() error{
		func() error { return c.Rebuild(t.Context()) },
		func() error { return c.Apply(t.Context(), false) },
	} {
		c.anew(do)
	}
	c.stop()

	c = newClinic(t, 1, func(o *FoldOptions) { o.OnEvict, o.OnDiverged, o.Jitter = evictKeep, DivergedRebuild, time.Hour })
	c.run()
	c.draw = func(d time.Duration) time.Duration { return d }
	c.fine(c.put("k", "ax=1"))
	c.anew(func() error { return c.Resume(t.Context(), true) })
	c.stop()
}

// anew has a clinic's fold stop, since its stream is made anew, and another generation serve by an operator's word.
func (c *clinic) anew(do func() error) {
	c.t.Helper()
	was := c.Status().Generation
	last := c.renew()
	c.awaitStop("source_recreated")
	check(c.t, do())
	c.await("a switch", func(st Status) bool { return st.Generation != was && st.Seq == last && st.State == StateFollowing })
}
