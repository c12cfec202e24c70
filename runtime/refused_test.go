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

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// Builds that may not begin, and generations that may not serve.

// unmet is a gate query that nothing answers.
func unmet() []GateQuery {
	return []GateQuery{{Name: "never", Index: "a", AtLeast: 1000, AtMost: AnyNumber}}
}

// TestGateBesideLoss: who accepts that rows are lost has not said that gate queries need not be answered.
func TestGateBesideLoss(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.OnEvict = evictKeep })
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	another(&c.o, 1)
	c.o.Gates = unmet()
	c.configure()
	c.await("a hold", func(st Status) bool { return st.State == StateHeld && st.Code == CodeIdentity })
	check(t, c.Resume(t.Context(), true))
	c.await("a hold for the gate, or a switch", func(st Status) bool { return st.Code == CodeGate || st.Generation != first })
	if st := c.Status(); st.Generation != first {
		t.Errorf("it serves, and was not asked: %+v", st)
	}
	c.stop()
}

// heavy has the clinic's fold hold so much that table files have it, and lets it follow.
func (c *clinic) heavy(ok func(Status) bool) {
	c.t.Helper()
	for range 3 { // the second start moves what the log holds into a table file, of which the third has read little
		c.await("what it starts with", ok)
		c.stop()
		c.run()
	}
	c.await("what it starts with", ok)
}

// spoilt flips bytes in the files of a store that is open, and reads it.
func spoilt(t *testing.T, db *store.DB) {
	t.Helper()
	tables := must(filepath.Glob(filepath.Join(db.Path(), "*.sst")))(t)
	for _, name := range tables {
		b := must(os.ReadFile(name))(t)
		f := must(os.OpenFile(name, os.O_WRONLY, 0))(t)
		for i := 1; i < 15; i++ { // rows, and records that are kept, take about the same
			must(f.WriteAt([]byte{b[len(b)*i/16] ^ 1}, int64(len(b)*i/16)))(t)
		}
		check(t, f.Close())
	}
	v := must(db.View())(t)
	defer v.Close()
	if err := v.Scan(0, store.Range{}, func(store.Row) bool { return true }); !store.IsDamage(err) {
		t.Fatalf("read what was flipped: %v", err)
	}
}

// TestBuildDamaged: what was built and is damaged is told, and does not serve.
func TestBuildDamaged(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	var last uint64
	for i := range 200 {
		last = c.put(fmt.Sprint(i), "ax="+strings.Repeat("x", 4000))
	}
	c.fine(last)
	first := c.Status().Generation
	another(&c.o, 1)
	c.o.Gates = unmet()
	c.configure()
	c.heavy(func(st Status) bool {
		return st.State == StateHeld && st.Code == CodeGate && st.Build != nil && st.Build.Seq >= last
	})
	c.mu.Lock()
	built := c.next.db
	c.mu.Unlock()
	spoilt(t, built)
	c.await("word of the damage", func(st Status) bool { return st.State == StateHeld && st.Code == CodeDamaged })
	if st := c.Status(); st.Generation != first || st.Hint != "foldrun rebuild f drops what was built, and builds it anew" {
		t.Errorf("%+v", st)
	}
	check(t, c.Rebuild(t.Context()))
	c.await("the build made anew", func(st Status) bool { return st.Code == CodeGate && st.Build != nil && st.Build.Live == 200 })
	c.stop()
}

// TestKeepDiverged: with on_evict = "keep" a generation that is made of kept records does not lose them to another history of the
// stream that shows up meanwhile, until an operator accepts that.
func TestKeepDiverged(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "EV", MaxMsgs: 4})
	k.opt.OnEvict, k.opt.KeepSource = evictKeep, true
	k.run()
	k.r.reach(k.keys("a", "b"))
	for _, key := range []string{"c", "d", "e", "f"} { // before the stream forgets them
		k.r.reach(k.keys(key))
	}
	first := k.r.Status().Generation
	k.away(func() {
		another(&k.opt, 1)
		k.anew()
		k.keys("a", "b", "c", "z")
	})
	k.r.await("a stop, or a switch", func(st Status) bool {
		return st.Code == source.CodeRecreated && (st.State == StateStopped || st.State == StateHeld) || st.Generation != first && st.Generation != ""
	})
	if n := len(k.standing()); n != 6 || k.r.Status().Generation != first {
		t.Errorf("%d rows: %+v", n, k.r.Status())
	}
	k.accept()
	k.settle(nil, false)
	k.halt()
}

// TestKeepUnreadable: with on_evict = "keep" a build of kept records that cannot be read does not become one of the stream, whoever
// asked for it.
func TestKeepUnreadable(t *testing.T) {
	for _, onEvict := range []string{evictKeep, "remove"} {
		c := newClinic(t, 1, func(o *FoldOptions) { o.OnEvict, o.KeepSource = onEvict, true })
		c.run()
		c.fine(c.put("k", "ax=1"))
		s := c.supervisor()
		check(t, s.open(t.Context()))
		check(t, s.fromSource(errRecords))
		if keeps := onEvict == evictKeep; s.want == keeps || keeps != (s.held != nil && strings.Contains(HintOf(s.held), "--accept-loss")) {
			t.Errorf("on_evict = %q: a build is to begin: %v; held: %v", onEvict, s.want, s.held)
		}
		s.end()
		c.close()
	}
}

// TestQuotaOfReturn: disk_quota does not keep a fold from what stands on disk already.
func TestQuotaOfReturn(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	was := c.o.Collisions
	first, _ := c.upgraded()
	c.o.Collisions, c.o.DiskQuota = was, 1
	c.configure()
	c.await("the way back, or a hold", func(st Status) bool { return st.Generation == first || st.State == StateHeld })
	if st := c.Status(); st.Generation != first {
		t.Errorf("%+v", st)
	}
	c.stop()
}

// TestQuotaOfRebuild: where disk_quota has no room for a build, who asks for one in the place of what is held, and is read still, is
// told, and what serves follows on; so is who asks it of a fold that stopped.
func TestQuotaOfRebuild(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	c.fine(c.put("k", "ax=1"))
	another(&c.o, 1)
	c.o.Gates = unmet()
	c.configure()
	c.await("a hold", func(st Status) bool { return st.State == StateHeld && st.Code == CodeGate })
	s := c.supervisor()
	c.Fold.opt.DiskQuota = 1
	check(t, s.open(t.Context()))
	s.builds <- struct{}{}
	s.have = true
	check(t, s.build(t.Context())) // which goes on with what was begun
	v := must(s.building.db.Pin())(t)
	s.held = &Stop{CodeGate, errors.New("it is held")}
	refused, end := s.carryOut(t.Context(), command{do: verbRebuild})
	if end != nil || refused == nil {
		t.Fatalf("refused: %v; ended: %v", refused, end)
	}
	if code, _ := Describe(refused); code != CodeQuota || HintOf(refused) == "" || s.held != refused || s.want {
		t.Errorf("refused: %v; ended: %v; held: %v", refused, end, s.held)
	}
	s.end()
	v.Close()
	c.retire()
	c.Fold.stopped = &Stop{CodeRecordFailed, errors.New("it stopped")}
	run, err := c.revive(t.Context(), command{do: verbRebuild})
	if run || err == nil {
		t.Fatal("of a fold that stopped, a build is begun")
	}
	if code, _ := Describe(err); code != CodeQuota {
		t.Errorf("of a fold that stopped: %v", err)
	}
	c.close()
}

// TestQuotaOfDamaged: a generation whose files are damaged, and beside which disk_quota has no room for another, is followed on.
func TestQuotaOfDamaged(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	var last uint64
	for i := range 200 {
		last = c.put(fmt.Sprint(i), "ax="+strings.Repeat("x", 4000))
	}
	c.heavy(func(st Status) bool { return st.Seq >= last && st.State == StateFollowing })
	size := must(c.Store().Size())(t)
	c.o.DiskQuota = size + size/2
	c.configure()
	c.await("it follows", func(st Status) bool { return st.State == StateFollowing })
	first := c.Status().Generation
	spoilt(t, c.Store())
	c.await("a hold", func(st Status) bool { return st.State == StateHeld && st.Code == CodeQuota })
	last = c.put("l", "ax=1")
	c.await("it follows on", func(st Status) bool { return st.Seq >= last && strings.Contains(st.Reason, "what serves is damaged") })
	c.o.DiskQuota = 0
	c.configure()
	c.await("what is built in its place", func(st Status) bool { return st.Generation != first && st.State == StateFollowing })
	c.stop()
}

// TestWayBackGivenUp: with rollback_window = "" a way back that was kept is given up.
func TestWayBackGivenUp(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	_, second := c.upgraded()
	c.o.Rollback = 0
	c.configure()
	c.await("one generation", func(Status) bool {
		all := must(c.dir.Generations("f"))(t)
		return len(all) == 1 && all[0] == second
	})
	c.stop()
}

// TestWayBackFollows: the way back follows on under another policy, once nobody reads it that holds up its closing, and while an
// operator is waited for.
func TestWayBackFollows(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Rollback = time.Hour })
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	v := must(c.Store().Pin())(t)
	c.o.Collisions = nil
	c.configure()
	c.await("the upgrade", func(st Status) bool { return st.Generation != first && st.Previous != nil })
	second := c.Status().Generation
	c.o.SweepEvery = time.Hour
	c.configure()
	last := c.put("l", "ax=1")
	c.await("rest", func(st Status) bool { return st.Seq >= last && st.Previous == nil })
	v.Close()
	follows := func(st Status) bool {
		return st.Previous != nil && st.Previous.Generation == first && st.Previous.Seq >= last
	}
	c.await("the way back", follows)

	another(&c.o, 1)
	c.o.Upgrade = UpgradeManual
	c.configure()
	c.await("the way back", func(st Status) bool { return st.State == StateHeld && st.Generation == second && follows(st) })
	if err := c.Rollback(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to go back from") || HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	c.stop()
}

// TestKeepUncompared: with on_evict = "keep" what was built of kept records does not replace a generation that is damaged by then,
// since nobody can say what it lacks, until an operator says so.
func TestKeepUncompared(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.OnEvict, o.KeepSource = evictKeep, true })
	c.run()
	var last uint64
	for i := range 200 {
		last = c.put(fmt.Sprint(i), "ax="+strings.Repeat("x", 4000))
	}
	c.heavy(func(st Status) bool { return st.Seq >= last && st.State == StateFollowing })
	first := c.Status().Generation
	another(&c.o, 1)
	c.o.Gates = []GateQuery{{Name: "mend", Index: "a", Key: "mend", ByKey: true, AtLeast: 1, AtMost: AnyNumber}}
	c.configure()
	c.heavy(func(st Status) bool {
		return st.State == StateHeld && st.Code == CodeGate && st.Build != nil && st.Build.Seq >= last
	})
	spoilt(t, c.Store())
	c.put("mend", "amend=1")
	c.await("a hold for the damage, or a switch", func(st Status) bool {
		return st.State == StateHeld && st.Code == CodeDamaged || st.Generation != first
	})
	if st := c.Status(); st.Generation != first || !strings.Contains(st.Reason, "which cannot be read") || st.Hint == "" {
		t.Errorf("%+v", st)
	}
	check(t, c.Apply(t.Context(), true))
	c.await("the switch", func(st Status) bool { return st.Generation != first && st.Live == 201 })
	c.stop()
}

// TestPauseQueued: a fold that is paused does not say of a build that it waits for its turn.
func TestPauseQueued(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	c.fine(c.put("k", "ax=1"))
	first := c.Status().Generation
	c.builds <- struct{}{} // another fold builds
	another(&c.o, 1)
	c.configure()
	c.await("a build that waits", func(st Status) bool { return st.Build != nil && st.Build.State == StateQueued })
	check(t, c.Pause(t.Context()))
	c.await("a pause", func(st Status) bool { return st.State == StatePaused })
	if b := c.Status().Build; b != nil {
		t.Errorf("%+v", b)
	}
	check(t, c.Resume(t.Context(), false))
	c.await("a build that waits", func(st Status) bool { return st.Build != nil && st.Build.State == StateQueued })
	<-c.builds
	c.await("a switch", func(st Status) bool { return st.Generation != first })
	c.stop()
}
