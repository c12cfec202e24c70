package runtime

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/foldrun/foldrun/store"
)

// TestConfigure makes a fold that runs another one, while it is read: what differs is built beside, what does not is taken
// up; and it mends one that is broken or has stopped.
func TestConfigure(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) {})
	c.run()
	c.put("k", "ax=1;bx=1")
	c.fine(c.put("l", "bx=2"))
	first := c.Status().Generation
	ctx, done := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		for ctx.Err() == nil {
			if rows := c.rows(0, store.Range{}); len(rows) != 1 {
				t.Errorf("a reader saw %q", rows)
			}
			c.Status()
			c.Figures()
		}
	})
	configure := func() {
		t.Helper()
		check(t, c.Configure(t.Context(), must(Prepare(t.Context(), c.dir, c.o))(t)))
	}
	c.o.OnDiverged = DivergedHalt // no part of the identity
	configure()
	c.fine(c.put("k", "ax=1;bx=3"))
	if st := c.Status(); st.Generation != first || st.Build != nil {
		t.Errorf("a policy built %+v", st)
	}
	c.o.Collisions = nil
	configure()
	c.await("a switch", func(st Status) bool { return st.Generation != first && st.State == StateFollowing })
	equal(t, "rows", c.rows(1, store.Range{}), `"x" "k" "3"`, `"x" "l" "2"`)
	done()
	reader.Wait()

	check(t, c.Pause(t.Context()))
	c.await("a pause", func(st Status) bool { return st.State == StatePaused })
	configure()
	c.await("still a pause", func(st Status) bool { return st.State == StatePaused })
	check(t, c.Resume(t.Context(), false))
	c.fine(c.put("m", "bx=4"))
	c.o.Name = "g"
	if err := c.Configure(t.Context(), must(Prepare(t.Context(), c.dir, c.o))(t)); err == nil || !strings.Contains(err.Error(), "cannot become") {
		t.Errorf("another fold: %v", err)
	}
	c.stop()
}

// TestConfigureBroken mends a fold that could not be made.
func TestConfigureBroken(t *testing.T) {
	s := newSite(t)
	kv := s.bucket("edge", 1)
	last := s.put(kv, "k", []byte("ax=1"))
	o := s.modelFold("edge")
	dir := openDir(t, t.TempDir(), store.Options{})
	f := Broken(dir, o, &Stop{CodeModule, errFound})
	NewDaemon(dir, []*Fold{f}) // its place in the builds
	ctx, end := context.WithCancel(t.Context())
	r := &runner{Fold: f, t: t, dir: dir, done: make(chan struct{}), end: end}
	go func() {
		f.keep(ctx)
		close(r.done)
	}()
	r.await("that it is broken", func(st Status) bool { return st.State == StateStopped })
	if err := f.Rebuild(t.Context()); err == nil || !strings.Contains(HintOf(err), "foldrun reload") {
		t.Errorf("a broken fold: %v", err)
	}
	check(t, f.Configure(t.Context(), must(Prepare(t.Context(), dir, o))(t)))
	r.reach(last)
	r.stop()
}
