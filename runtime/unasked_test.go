package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// Nothing that loses rows, or has another generation serve than an operator said, happens unasked.

// TestKeepUnasked: with on_evict = "keep" another configuration waits for an acceptance, whatever else an operator says, and an
// acceptance is of one configuration.
func TestKeepUnasked(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.OnEvict = evictKeep })
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	c.o.Collisions = nil
	c.configure()
	held := func(st Status) bool {
		return st.State == StateHeld && st.Generation == first && st.Code == CodeIdentity
	}
	c.await("a hold", held)
	for _, err := range []error{c.Resume(t.Context(), false), c.Apply(t.Context(), false), c.Rebuild(t.Context())} {
		if err == nil || !strings.Contains(HintOf(err), "--accept-loss") {
			t.Errorf("%v, with the hint %q", err, HintOf(err))
		}
	}
	last := c.put("l", "ax=2")
	c.await("it follows on", func(st Status) bool { return held(st) && st.Seq >= last })

	c.builds <- struct{}{} // another fold builds
	check(t, c.Resume(t.Context(), true))
	c.o.Collisions = map[string]store.Collisions{"a": store.Latest}
	c.configure()
	<-c.builds
	c.await("a hold of the third", held)
	c.stop()
}

// TestKeepRollback: with on_evict = "keep" a way back that has rested is refused.
func TestKeepRollback(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "EV", MaxMsgs: 4})
	k.opt.OnEvict, k.opt.Rollback = evictKeep, time.Hour
	k.run()
	k.r.reach(k.keys("a", "b"))
	first := k.r.Status().Generation
	k.away(func() { k.opt.Collisions = nil })
	k.r.await("a hold", func(st Status) bool { return st.State == StateHeld })
	check(t, k.r.Resume(t.Context(), true))
	k.r.await("the upgrade", func(st Status) bool {
		return st.Generation != first && st.Previous != nil && st.State == StateFollowing
	})
	k.r.wanted <- struct{}{}
	k.r.await("rest", func(st Status) bool { return st.Previous == nil })
	k.r.reach(k.keys("c", "d"))
	k.r.reach(k.keys("e", "f", "g")) // evicts no message that was not folded
	if err := k.r.Rollback(t.Context()); err == nil || !strings.Contains(err.Error(), "did not follow") {
		t.Errorf("rollback: %v", err)
	}
	if n := len(k.standing()); n != 7 {
		t.Errorf("%d rows", n)
	}
	k.halt()
}

// TestRecreatedUnasked: where an operator went back, or has the word on upgrades, a stream that was made anew does not bring what
// is configured: the fold stops until he says so.
func TestRecreatedUnasked(t *testing.T) {
	for _, back := range []bool{true, false} {
		c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
		var first, second string
		if back {
			first, second = c.upgraded()
			check(t, c.Rollback(t.Context()))
			c.await("back", func(st Status) bool { return st.Generation == first && st.State == StateHeld && st.Previous != nil })
		} else {
			c.run()
			c.fine(c.put("k", "ax=1"))
			first = c.Status().Generation
			c.o.Collisions, c.o.Upgrade = nil, UpgradeManual
			c.configure()
			c.await("a hold", func(st Status) bool { return st.State == StateHeld && st.Code == CodeIdentity })
		}
		last := c.renew()
		c.await("a stop", func(st Status) bool { return st.State == StateStopped })
		if st := c.Status(); st.Code != "source_recreated" || st.Generation != first || !strings.Contains(st.Hint, "foldrun apply f") {
			t.Errorf("stopped: %+v", st)
		}
		check(t, c.Apply(t.Context(), false))
		c.await("what is configured", func(st Status) bool { return st.Seq == last && st.State == StateFollowing && st.Generation != first })
		if is := c.Status().Generation; back && !store.SameIdentity(is, second) {
			t.Errorf("%s serves, not %s", is, second)
		}
		c.stop()
	}
}

// TestRollbackDamaged: a way back whose files are damaged is told, and what serves goes on.
func TestRollbackDamaged(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	first, second := c.upgraded()
	c.stop()
	for _, x := range must(filepath.Glob(filepath.Join(c.path, "folds", "f", first, "MANIFEST*")))(t) {
		check(t, os.WriteFile(x, []byte("rubbish"), 0o644))
	}
	c.run()
	c.fine(c.put("m", "ax=3"))
	check(t, c.Rollback(t.Context()))
	c.await("a hold", func(st Status) bool { return st.State == StateHeld && st.Code == CodeDamaged })
	last := c.put("l", "ax=2")
	c.await("it follows on", func(st Status) bool { return st.Generation == second && st.Seq >= last })
	c.stop()
}

// TestApplyStopped: apply gets a fold going that stopped for want of an operator.
func TestApplyStopped(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	c.stop()
	check(t, os.Remove(filepath.Join(c.path, "folds", "f", first, "module.wasm"))) // else it would be followed
	c.o.Collisions, c.o.Upgrade = nil, UpgradeManual
	c.run()
	c.awaitStop(CodeIdentity)
	check(t, c.Apply(t.Context(), false))
	c.await("what is configured", func(st Status) bool { return st.Generation != first && st.State == StateFollowing })
	c.stop()
}

// TestRetryBeside retries quarantine while the fold is configured anew, again and again: the module stays until the retry has
// ended.
func TestRetryBeside(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Budget = &store.Budget{Share: 1} })
	c.run()
	var last uint64
	for i := range 500 {
		last = c.put(fmt.Sprint("k", i), "T")
	}
	c.fine(last)
	over, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			_, err := c.Retry(t.Context(), nil)
			select {
			case <-over:
				done <- err
				return
			default:
			}
		}
	}()
	for i := range 10 {
		c.o.SweepEvery = time.Hour + time.Duration(i)
		c.configure()
		c.await("it follows", func(st Status) bool { return st.State == StateFollowing })
	}
	close(over)
	if err := <-done; err != nil && !errors.Is(err, ErrNotFollowing) {
		t.Error(err)
	}
	c.stop()
}

// TestLiftedOnce: a budget that an operator lifted for what serves holds for what is built beside it.
func TestLiftedOnce(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Budget = &store.Budget{Least: 2} })
	c.run()
	for i := range 20 {
		c.put(fmt.Sprint("g", i), "ax=1")
	}
	var last uint64
	for i := range 5 {
		last = c.put(fmt.Sprint("k", i), "T")
	}
	c.awaitStop(CodeBudget)
	check(t, c.Resume(t.Context(), true))
	c.fine(last)
	first := c.Status().Generation
	c.o.Collisions = nil
	c.configure()
	c.await("a hold or a stop for the budget", func(st Status) bool { return st.Code == CodeBudget })
	if st := c.Status(); st.Generation != first {
		t.Errorf("what is over its budget serves: %+v", st)
	}
	c.stop()
}

// TestReturnUnfinished ends foldrun in the middle of a rollback, and has another configuration of what serves come: the way back
// stays.
func TestReturnUnfinished(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	first, second := c.upgraded()
	c.stop()
	dir := openDir(t, c.path, store.Options{})
	check(t, dir.Hold("f", must(Try(t.Context(), c.o))(t)))
	check(t, dir.Begin("f", store.Next{Generation: first, Replaces: second}))
	check(t, dir.Close())
	c.o.Module.FuelPerRecord = 500_000_000
	c.run()
	c.await("it follows", func(st Status) bool {
		return st.State == StateFollowing && st.Previous != nil && st.Previous.Generation == first
	})
	check(t, c.Rollback(t.Context()))
	c.await("back", func(st Status) bool { return st.Generation == first && st.State == StateHeld })
	c.stop()
}

// TestRollbackQueued: a rollback that waits for another fold's build says that it is under way, not that it is done, and is not
// what a rebuild asks for.
func TestRollbackQueued(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	first, second := c.upgraded()
	c.wanted <- struct{}{} // what another fold's build asks for
	c.await("rest", func(st Status) bool { return st.Previous == nil })
	c.builds <- struct{}{}
	check(t, c.Rollback(t.Context()))
	st := c.Status()
	if st.Generation != second || st.Code != CodeRolledBack || !strings.Contains(st.Reason, "is being rolled back: generation "+first) {
		t.Errorf("%+v", st)
	}
	if err := c.Rebuild(t.Context()); err == nil || !strings.Contains(err.Error(), first+" is being built already") {
		t.Errorf("rebuild: %v", err)
	}
	<-c.builds
	c.await("back", func(st Status) bool {
		return st.Generation == first && st.State == StateHeld && strings.Contains(st.Reason, "was rolled back")
	})
	c.stop()
}
