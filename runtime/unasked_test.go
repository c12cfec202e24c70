package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// Nothing that loses rows, or has another generation serve than an operator said, happens unasked.

// configure has the clinic's fold become what its options say.
func (c *clinic) configure() {
	c.t.Helper()
	check(c.t, c.Configure(c.t.Context(), must(Prepare(c.t.Context(), c.dir, c.o))(c.t)))
}

// upgraded runs a fold, upgrades it, and returns both generations.
func (c *clinic) upgraded() (first, second string) {
	c.s.t.Helper()
	c.run()
	c.fine(c.put("k", "ax=1"))
	first = c.Status().Generation
	c.o.Collisions = nil
	c.configure()
	c.await("the upgrade", func(st Status) bool {
		return st.Generation != first && st.Previous != nil && st.State == StateFollowing
	})
	return first, c.Status().Generation
}

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

// TestReaderOfOld: somebody who reads the generation that was replaced holds up neither the fold nor its stop.
func TestReaderOfOld(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	v := must(c.Store().Pin())(t)
	c.o.Collisions = nil
	c.configure()
	c.await("the upgrade", func(st Status) bool { return st.Generation != first && st.Previous != nil })
	c.o.OnDiverged = DivergedHalt
	c.configure()
	last := c.put("l", "ax=1")
	c.await("it follows", func(st Status) bool { return st.Seq >= last })
	check(t, c.Pause(t.Context()))
	c.end()
	<-c.done
	v.Close()
	c.close()
}

// TestReaderOfRemoved: a build for which the way back is given up waits for who reads that.
func TestReaderOfRemoved(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	v := must(c.Store().Pin())(t)
	c.o.Collisions = nil
	c.configure()
	c.await("the upgrade", func(st Status) bool { return st.Generation != first && st.Previous != nil })
	done := make(chan error, 1)
	go func() { done <- c.Rebuild(t.Context()) }()
	c.await("rest", func(st Status) bool { return st.Previous == nil })
	for range 50_000 {
		if _, err := os.Stat(filepath.Join(c.path, "folds", "f", first)); err != nil {
			t.Fatal(err)
		}
	}
	v.Close()
	check(t, <-done)
	c.stop()
}

// TestReaderHoldsBuild: while a build waits for who reads what it replaces, the fold follows, and does what operators ask for.
func TestReaderHoldsBuild(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	v := must(c.Store().Pin())(t)
	c.o.Collisions = nil
	c.configure()
	c.await("the upgrade", func(st Status) bool { return st.Generation != first && st.Previous != nil })
	second := c.Status().Generation
	rebuild := func() chan error {
		done := make(chan error, 1)
		go func() { done <- c.Rebuild(t.Context()) }()
		return done
	}
	done := rebuild()
	c.await("rest", func(st Status) bool { return st.Previous == nil })
	last := c.put("l", "ax=2")
	c.await("it follows", func(st Status) bool { return st.Seq >= last })
	soon, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check(t, c.Pause(soon))
	if err := <-done; err == nil {
		t.Error("the fold was paused, and a build is said to have begun")
	}
	c.await("the pause", func(st Status) bool { return st.State == StatePaused })
	check(t, c.Resume(soon, false))
	c.fine(c.put("m", "ax=3"))
	done = rebuild()
	v.Close()
	check(t, <-done)
	c.await("the build", func(st Status) bool { return st.Generation != second })
	c.fine(c.put("n", "ax=4"))
	c.stop()
}

// TestReaderOfStopped: a build that is asked of a fold that stopped removes nothing under its readers either, and holds up
// nothing else that is asked of it.
func TestReaderOfStopped(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback, o.OnDiverged = time.Hour, DivergedHalt })
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	v := must(c.Store().Pin())(t)
	c.o.Collisions = nil
	c.configure()
	c.await("the upgrade", func(st Status) bool { return st.Generation != first && st.Previous != nil })
	second := c.Status().Generation
	c.renew()
	c.awaitStop(source.CodeRecreated)
	ask := func() chan error {
		cmd := command{do: verbRebuild, reply: make(chan error, 1)}
		c.commands <- cmd // once it is taken, what is asked next comes after it
		return cmd.reply
	}
	reply := ask()
	soon, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check(t, c.Resume(soon, false)) // and it stops again
	if err := <-reply; err == nil {
		t.Error("the fold went on as it was, and a build is said to have begun")
	}
	c.awaitStop(source.CodeRecreated)
	if _, err := os.Stat(filepath.Join(c.path, "folds", "f", first)); err != nil {
		t.Error(err)
	}
	reply = ask()
	v.Close()
	check(t, <-reply)
	c.await("the build", func(st Status) bool { return st.Generation != second })
	c.stop()
}

// TestReplyBesideWait: a command that does not wait for readers has its reply, and one that is true, while something else
// waits for them, as giving up the way back does once its window is over.
func TestReplyBesideWait(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	c.upgraded()
	c.end()
	<-c.done
	ctx, end := context.WithCancel(t.Context())
	defer end()
	s := &supervisor{Fold: c.Fold}
	check(t, s.open(ctx))
	s.waits = []func() error{func() error { return nil }}
	reply := make(chan error, 1)
	check(t, s.obey(ctx, command{do: verbRollback, reply: reply}))
	select {
	case err := <-reply:
		check(t, err)
	default:
		t.Error("the rollback has begun, and its reply waits")
	}
	s.end()
	c.close()
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
