package runtime

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
)

// Whoever reads a generation that is to go, however long, holds up neither its fold nor what operators ask for.

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
