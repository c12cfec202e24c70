package runtime

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
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
	ctx, end := context.WithCancel(t.Context())
	defer end()
	s := c.supervisor()
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

// reread runs a fold whose upgrade is replaced again by a rollback, and then held by a gate as it is to serve once more: who
// began to read it while it served does still.
func (c *clinic) reread() (first, second string, v *store.View) {
	t := c.s.t
	t.Helper()
	c.o.Rollback, c.o.Gates = time.Hour, []GateQuery{{Name: "q", Index: "a", Key: "x", ByKey: true, AtLeast: 1, AtMost: AnyNumber}}
	c.put("l", "bx=1")
	first, second = c.upgraded()
	v = must(c.Store().Pin())(t)
	check(t, c.Rollback(t.Context()))
	c.await("back", func(st Status) bool { return st.Generation == first && st.Code == CodeRolledBack && st.Previous != nil })
	last := c.put("k", "bx=2")
	c.await("it follows", func(st Status) bool { return st.Seq >= last })
	check(t, c.Apply(t.Context(), false))
	c.await("a hold", func(st Status) bool { return heldByGate(st) && st.Generation == first })
	return first, second, v
}

func heldByGate(st Status) bool { return st.Code == CodeGate && st.Build != nil }

// ask asks for something, and returns where the reply comes: what is asked next comes after it.
func (c *clinic) ask(do verb) chan error {
	c.t.Helper()
	cmd := command{do: do, reply: make(chan error, 1)}
	select {
	case c.commands <- cmd:
	case <-time.After(patience):
		c.t.Fatal("nobody takes what is asked")
	}
	return cmd.reply
}

// told asks for something, and returns the reply.
func (c *clinic) told(do verb) error {
	c.t.Helper()
	select {
	case err := <-c.ask(do):
		return err
	case <-time.After(patience):
		c.t.Fatal("what is asked has no reply")
		return nil
	}
}

// TestReaderOfDropped: a rebuild drops what is read still. Meanwhile the fold follows, and does what operators ask for.
func TestReaderOfDropped(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	_, second, v := c.reread()
	reply := c.ask(verbRebuild)
	if err := c.told(verbRollback); err == nil {
		t.Error("it goes back to what is being removed")
	}
	last := c.put("n", "ax=1")
	c.await("it follows on", func(st Status) bool { return st.Seq >= last })
	check(t, c.told(verbPause))
	if err := <-reply; err == nil {
		t.Error("the fold was paused, and a build is said to have begun")
	}
	check(t, c.told(verbResume))
	c.put("n", "by=2")
	v.Close()
	c.await("a hold again", heldByGate)
	mark := filepath.Join(c.path, "folds", "f", second, "mark")
	check(t, os.WriteFile(mark, nil, 0o600))
	check(t, c.Rebuild(t.Context()))
	if _, err := os.Stat(mark); !os.IsNotExist(err) {
		t.Errorf("what was dropped is there: %v", err)
	}
	c.put("k", "ax=1")
	c.await("the build", func(st Status) bool { return st.Generation == second && st.State == StateFollowing })
	c.stop()
}

// TestReaderOfUnwanted: another configuration than that of what is built, and is read still, is taken at once; and what was
// built is not removed under its readers, nor taken for the way back.
func TestReaderOfUnwanted(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	first, second, v := c.reread()
	c.o.Upgrade = UpgradeManual
	another(&c.o, 1)
	c.configure()
	c.await("a hold for an operator", func(st Status) bool { return st.Code == CodeIdentity && st.Generation == first })
	for _, do := range []verb{verbApply, verbRollback} {
		if err := c.told(do); err == nil || !strings.Contains(err.Error(), "still read") {
			t.Errorf("while what is to be removed is read: %v", err)
		}
	}
	whole(t, c.Store())
	if _, err := os.Stat(filepath.Join(c.path, "folds", "f", second)); err != nil {
		t.Error(err)
	}
	v.Close()
	c.put("k", "ax=1")
	for late := time.After(patience); c.told(verbApply) != nil; {
		select {
		case <-late:
			t.Fatal("what is read no more is not removed")
		default:
		}
	}
	c.await("what is configured", func(st Status) bool {
		return st.Generation != first && st.Generation != second && st.State == StateFollowing
	})
	if _, err := os.Stat(filepath.Join(c.path, "folds", "f", second)); !os.IsNotExist(err) {
		t.Errorf("what was unwanted is there: %v", err)
	}
	c.stop()
}
