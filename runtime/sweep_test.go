package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// noSweeps turns off what makes a sweep without being asked.
var noSweeps = guards{guardFewer: true, guardHorizon: true, guardHead: true, guardUnknown: true, guardRaised: true, guardEvery: true}

func (k *keeper) sweep(repair bool) SweepReport {
	k.t.Helper()
	return k.r.sweep(repair)
}

// TestSweepReports makes every kind of difference at once: a sweep that only looks reports them and changes nothing,
// one that repairs mends them, and the next one finds nothing.
func TestSweepReports(t *testing.T) {
	s := newSite(t)
	for _, history := range []int64{1, 5} {
		t.Run(fmt.Sprint("history ", history), func(t *testing.T) {
			k := s.on(t).newKeeper(jetstream.StreamConfig{Name: fmt.Sprint("E", history), MaxMsgsPerSubject: history})
			k.off = noSweeps
			k.opt.Source.BatchRecords = 3
			dir := openDir(t, k.path, store.Options{})
			f := must(NewFold(t.Context(), dir, k.opt))(t)
			f.guards = k.off
			skip := uint64(0)
			f.tamper = func(b *source.Batch) {
				kept := b.Records[:0]
				for _, u := range b.Records {
					if u.Seq != skip {
						kept = append(kept, u)
					}
				}
				b.Records = kept
			}
			last := k.keys("a", "b", "c", "d", "e", "f", "g")
			skip = last + 1
			k.r = run(t, dir, f)
			k.r.reach(last)
			k.keys("missed")
			last = k.keys("b", "h")
			k.r.reach(last)
			clean := k.sweep(false)
			if clean.Stale != 0 || clean.Missed != 1 || clean.OK() {
				t.Errorf("one was skipped: %+v", clean)
			}
			check(t, k.stream().DeleteMsg(t.Context(), 1))
			check(t, k.stream().DeleteMsg(t.Context(), 4))
			uncovered := uint64(0)
			check(t, k.stream().DeleteMsg(t.Context(), 9)) // of b, written twice
			if history > 1 {
				uncovered = 1
			}
			before := len(k.standing())
			r := k.sweep(false)
			if r.Stale != 3 || r.Uncover != uncovered || r.Missed != 1 || len(r.Keys) != 4 || len(k.standing()) != before {
				t.Errorf("%d rows of %d stand; %+v", len(k.standing()), before, r)
			}
			r = k.sweep(true)
			if r.Stale != 3 || r.Missed != 1 {
				t.Errorf("%+v", r)
			}
			k.agree(6 + int(uncovered))
			if r = k.sweep(false); !r.OK() || r.Matched != uint64(6+uncovered) {
				t.Errorf("after the repair: %+v", r)
			}
			k.halt()
		})
	}
}

// TestSweepMissedDelete has a fold miss a deletion of which the stream also has the put before it: that one still matches
// its lineage, and must go all the same.
func TestSweepMissedDelete(t *testing.T) {
	k := newSite(t).on(t).newKeeper(jetstream.StreamConfig{Name: "E", MaxMsgsPerSubject: 5})
	k.off = noSweeps
	dir := openDir(t, k.path, store.Options{})
	f := must(NewFold(t.Context(), dir, k.opt))(t)
	f.guards = k.off
	f.tamper = func(b *source.Batch) {
		b.Records = slices.DeleteFunc(b.Records, func(u abi.Update) bool { return u.Op != abi.OpPut })
	}
	k.keys("a", "b")
	k.r = run(t, dir, f)
	last := k.say("a", "", "KV-Operation", "DEL")
	k.r.reach(last)
	for _, repair := range []bool{false, true} {
		if r := k.sweep(repair); r.Missed != 1 || r.Stale != 0 {
			t.Errorf("repair %t: %+v", repair, r)
		}
	}
	k.agree(1)
	if r := k.sweep(false); !r.OK() {
		t.Errorf("after the repair: %+v", r)
	}
	k.halt()
}

// TestSweepWhileItMoves sweeps again and again while keys change: nothing that lives is ever removed.
func TestSweepWhileItMoves(t *testing.T) {
	x := newTrial(t, seeded(t), 5)
	r := x.start()
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for range 5 {
			x.burst(300)
			x.some(200)
		}
	}()
	r.reach(1)
	sweeps := 0
	for done := false; !done; {
		select {
		case <-changed:
			done = true
		default:
		}
		report := r.sweep(true)
		sweeps++
		if report.Missed != 0 {
			t.Fatalf("sweep %d: %+v", sweeps, report)
		}
	}
	last, clock := x.site.end(x.bucket)
	r.reach(last)
	for _, text := range compare(t, r.Store(), fold(x.live(x.bucket), last, clock, defaultLimits)) {
		t.Error(text)
	}
	t.Logf("%d sweeps beside %d updates", sweeps, r.Status().Counts.Updates)
	r.stop()
}

// TestMaxAgeRaised raises the MaxAge of a stream without the fold's knowledge: what the fold ended by the old one is
// folded again when it learns of the new one.
func TestMaxAgeRaised(t *testing.T) {
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprint("guard off ", off), func(t *testing.T) {
			k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E", MaxAge: time.Second, AllowMsgTTL: true, Duplicates: 100 * time.Millisecond})
			k.off = guards{guardRaised: off, guardHorizon: true, guardTTL: true}
			k.run()
			k.say("a", "V", "Nats-TTL", "never") // the server keeps what the fold ends, which is to take no notice of this
			k.r.reach(k.say("b", "V", "Nats-TTL", "never"))
			k.r.await("the end of the rows", func(Status) bool { return len(k.standing()) == 0 })
			k.away(func() { k.change(func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }) })
			if !off {
				k.agree(2)
			} else if k.agrees(2, 3*time.Second) {
				t.Errorf("the rows stand again: %+v", k.r.Status().Sweep)
			}
			k.halt()
		})
	}
}

// TestSweepOfMarkers sweeps a fold whose module wants deletes: a marker is a record as long as the stream retains it.
func TestSweepOfMarkers(t *testing.T) {
	k := newSite(t).newKeeper(kvConfig)
	k.opt.Wasm, k.opt.Collisions, k.opt.Module = testModule(t, "wants-delete"), nil, plugin.Options{}
	k.run()
	k.keys("a", "b")
	check(t, k.kv().Delete(t.Context(), "b"))
	k.r.reach(3)
	if r := k.sweep(false); !r.OK() || r.Matched != 2 {
		t.Errorf("%+v", r)
	}
	check(t, k.kv().PurgeDeletes(t.Context(), jetstream.DeleteMarkersOlderThan(-1)))
	k.r.await("the end of the marker", func(s Status) bool { return s.Live == 1 })
	k.halt()
}

func TestSweepOfNothing(t *testing.T) {
	k := newSite(t).newKeeper(kvConfig)
	k.run()
	k.r.await("reading", func(s Status) bool { return s.CaughtUp })
	if r := k.sweep(true); !r.OK() || r.Listed != 0 {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.r.Sweep(ctx, false); !errors.Is(err, context.Canceled) {
		t.Errorf("a sweep that nobody waits for: %v", err)
	}
	f := k.r.Fold
	k.halt()
	if _, err := f.Sweep(t.Context(), false); !errors.Is(err, ErrNotFollowing) {
		t.Errorf("a sweep of a fold that ended: %v", err)
	}
}

// TestSweepAfterRestart stops a fold whose last sweep was a while ago: the next one does not wait for a whole interval.
func TestSweepAfterRestart(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E", MaxMsgsPerSubject: 1})
	k.off, k.opt.SweepEvery = maps.Clone(noSweeps), 24*time.Hour
	delete(k.off, guardEvery)
	k.run()
	k.r.reach(k.keys("a"))
	b := store.NewBatch(k.r.Store().Indexes())
	b.Swept = time.Now().Add(-27 * time.Hour).UnixNano()
	k.away(func() {
		dir := openDir(t, k.path, store.Options{})
		db := must(dir.Open("f", must(dir.Current("f"))(t)))(t)
		must(db.Commit(b, db.State().Position(), 0))(t)
		check(t, db.Close())
		check(t, dir.Close())
	})
	k.r.await("a sweep", func(st Status) bool { return st.Sweep != nil && st.Sweep.Reason == SweepEvery && st.Sweep.Error == "" })
	if ago := time.Since(time.Unix(0, k.r.Store().State().Swept)); ago < 0 || ago > time.Hour {
		t.Errorf("swept %s ago", ago)
	}
	k.away(func() {})
	k.r.sweep(false) // it follows
	if due := k.r.following().next(); due < 20*time.Hour {
		t.Errorf("after another restart the next sweep is due in %s", due)
	}
	k.halt()
}
