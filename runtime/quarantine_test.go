package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// TestKeepLastGood leaves the rows of the last good record while a source key fails, through restarts, and as long as the
// source key has a record.
func TestKeepLastGood(t *testing.T) {
	c := newClinic(t, 64, func(o *FoldOptions) { o.OnError = OnErrorKeep })
	c.run()
	c.put("a", "ax=1;bx=a")
	c.put("b", "ay=2")
	c.fine(c.put("c", "az=3;bx=c"))
	c.put("a", "T")
	c.fine(c.put("c", "Ebroken"))
	rows := func(want ...string) {
		t.Helper()
		equal(t, "rows", c.rows(0, store.Range{}), want...)
	}
	rows(`"x" "a" "1"`, `"y" "b" "2"`, `"z" "c" "3"`)
	equal(t, "the latest", c.rows(1, store.Range{}), `"x" "c" "c"`)
	c.await("count of all five", func(st Status) bool { return st.Counts.Updates == 5 }) // which follows on the commit
	if st := c.Status(); st.Kept != 2 || st.Quarantined != 2 || st.Held == 0 || st.Allowed != 100 || st.Counts.Failed != 2 {
		t.Errorf("%+v", st)
	}
	c.stop()
	c.run()
	c.fine(c.put("a", "T again"))
	rows(`"x" "a" "1"`, `"y" "b" "2"`, `"z" "c" "3"`)
	c.fine(c.put("a", "ax=1;aw=4")) // one row of three is unchanged
	rows(`"w" "a" "4"`, `"x" "a" "1"`, `"y" "b" "2"`, `"z" "c" "3"`)
	c.await("count of both", func(st Status) bool { return st.Counts.Updates == 2 })
	if n := c.Status().Counts; n.Unchanged != 1 || n.Written != 1 || n.Retracted != 1 {
		t.Errorf("%+v", n)
	}
	check(t, c.kv.Delete(t.Context(), "c"))
	c.fine(c.put("b", "T"))
	rows(`"w" "a" "4"`, `"x" "a" "1"`, `"y" "b" "2"`)
	if r := c.sweep(true); !r.OK() {
		t.Errorf("a sweep found %+v", r)
	}
	// What vanishes takes what it kept along.
	check(t, must(c.s.js.Stream(t.Context(), "KV_edge"))(t).Purge(t.Context(), jetstream.WithPurgeSubject("$KV.edge.b")))
	if r := c.sweep(true); r.Stale != 1 {
		t.Errorf("a sweep found %+v", r)
	}
	rows(`"w" "a" "4"`, `"x" "a" "1"`)
	if st := c.Status(); st.Kept != 0 || st.Held != 0 {
		t.Errorf("%+v", st)
	}
	// Deleted and failed in one batch: nothing is left to keep.
	c.stop()
	check(t, c.kv.Delete(t.Context(), "a"))
	last := c.put("a", "T")
	c.run()
	c.fine(last)
	rows()
	c.stop()
}

// TestHaltOnError stops before the record that fails, tries it again when asked, and goes on once it is mended.
func TestHaltOnError(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.OnError = OnErrorHalt })
	c.run()
	good := c.put("a", "ax=1")
	c.fine(good)
	bad := c.put("bad", "E\x07it is broken")
	for range 2 {
		st := c.awaitStop(CodeRecordFailed)
		for _, want := range []string{`source key "bad"`, fmt.Sprint("at seq ", bad), "module 7: it is broken"} {
			if !strings.Contains(st.Reason, want) {
				t.Errorf("the reason %q lacks %q", st.Reason, want)
			}
		}
		if st.State != StateStopped || st.Seq != good || st.Quarantined != 0 || !strings.Contains(st.Hint, "foldrun resume f") {
			t.Errorf("%+v", st)
		}
		check(t, c.Resume(t.Context(), false))
	}
	c.awaitStop(CodeRecordFailed)
	whole(t, c.Store())
	last := c.put("bad", "ay=2")
	check(t, c.Resume(t.Context(), false))
	c.fine(last)
	equal(t, "rows", c.rows(0, store.Range{}), `"x" "a" "1"`, `"y" "bad" "2"`)
	c.stop()
}

// TestErrorBudget stops before the commit that would exceed the budget, goes on beyond it when an operator accepts that,
// and keeps to it again once it is kept to.
func TestErrorBudget(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) {
		o.Budget = &store.Budget{Least: 2}
		o.Source.BatchRecords = 1
	})
	c.run()
	c.put("a", "T")
	within := c.put("b", "E\x07why")
	c.fine(within)
	c.put("c", "E\x09no more")
	last := c.put("d", "T")
	st := c.awaitStop(CodeBudget)
	if st.Seq != within || st.Quarantined != 2 || st.Allowed != 2 || !strings.Contains(st.Reason, "3 of 3 live source keys would be in quarantine, 2 are allowed") ||
		!strings.Contains(st.Reason, `source key "c" at seq 3 cannot be transformed: module 9: no more`) ||
		!strings.Contains(st.Hint, "foldrun quarantine ls f") || !strings.Contains(st.Hint, "foldrun resume f --accept-loss") {
		t.Errorf("%+v", st)
	}
	check(t, c.Resume(t.Context(), false))
	c.awaitStop(CodeBudget)
	whole(t, c.Store())
	check(t, c.Resume(t.Context(), true))
	c.fine(last)
	if st := c.Status(); !st.Lifted || st.Quarantined != 4 || c.accept.Load() != 0 {
		t.Errorf("after the loss was accepted: %+v", st)
	}
	c.put("a", "ax=1")
	c.fine(c.put("b", "ax=1"))
	c.await("the end of the acceptance", func(st Status) bool { return !st.Lifted }) // which follows on the commit
	if st := c.Status(); st.Quarantined != 2 {
		t.Errorf("within the budget again: %+v", st)
	}
	c.put("b", "T")
	c.awaitStop(CodeBudget)
	c.end()
	<-c.done
	c.close()
}

// TestQuarantineFull stops before quarantine takes more bytes than it may, whatever an operator accepts, and goes on once
// what fails is put right.
func TestQuarantineFull(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Budget = &store.Budget{Share: 1, Bytes: 1000} })
	c.run()
	held := c.put("a", "T")
	c.fine(held)
	c.put("b", "T"+strings.Repeat("x", 1000))
	for _, accept := range []bool{false, true} {
		st := c.awaitStop(CodeQuarantineFull)
		if st.Seq != held || st.Quarantined != 1 || c.accept.Load() != 0 || !strings.Contains(st.Reason, "1000 are allowed") || !strings.Contains(st.Hint, "foldrun resume f") {
			t.Errorf("%+v", st)
		}
		check(t, c.Resume(t.Context(), accept))
	}
	c.awaitStop(CodeQuarantineFull)
	last := c.put("b", "ax=1")
	check(t, c.Resume(t.Context(), false))
	c.fine(last)
	c.stop()
}

// TestBudgetOfBuild has a build exceed the budget that the generation beside it keeps to: the old one serves on, until
// an operator accepts the loss.
func TestBudgetOfBuild(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Budget = &store.Budget{Least: 2} })
	c.run()
	c.put("bad", "T")
	for i := range 10 {
		c.put(fmt.Sprint("one", i), fmt.Sprintf("an=%d", i))
	}
	for i := range 5 {
		c.put(fmt.Sprint("two", i), "ax=1;ay=2")
	}
	c.fine(c.put("last", "az=3"))
	first := c.Status().Generation
	c.stop()
	c.o.Module.EntriesPerRecord = 1
	c.run()
	for _, accept := range []bool{false, true} {
		c.await("a hold", func(st Status) bool { return st.State == StateHeld })
		st := c.Status()
		if st.Code != CodeBudget || st.Generation != first || st.Quarantined != 1 || len(c.rows(0, store.Range{})) != 21 ||
			!strings.Contains(st.Reason, "follows the source meanwhile") || !strings.Contains(st.Hint, "foldrun quarantine ls f") {
			t.Errorf("while the build is stopped: %+v", st)
		}
		check(t, c.Resume(t.Context(), accept))
	}
	c.await("a switch", func(st Status) bool { return st.Generation != first && st.Code == "" })
	if st := c.Status(); st.Quarantined != 6 || !st.Lifted {
		t.Errorf("after the switch: %+v", st)
	}
	whole(t, c.Store())
	c.stop()
}

// TestLimitsMove raises a limit, which is adopted in place and lets go what had failed on it, also where the fold was stopped
// in between, and lowers it, which builds another generation.
func TestLimitsMove(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Module.EntriesPerRecord = 1 })
	c.run()
	for i := range 6 {
		c.put(fmt.Sprint("one", i), fmt.Sprintf("an=%d", i))
	}
	c.put("bad", "T")
	c.put("two", "ax=1;ay=2")
	c.fine(c.put("three", "ax=1;ay=2;az=3"))
	first := c.Status().Generation
	await := func(text string, limit, quarantined uint64, rows int) {
		t.Helper()
		c.await(text, func(st Status) bool {
			return st.Quarantined == quarantined && st.Build == nil && st.Code == "" && !st.Owed
		})
		if n := len(c.rows(0, store.Range{})); n != rows || c.Store().Identity().Limits["entries_per_record"] != int64(limit) {
			t.Errorf("%s: %d rows, limits %v", text, n, c.Store().Identity().Limits)
		}
		whole(t, c.Store())
		c.stop()
	}
	await("what failed", 1, 3, 6)
	c.o.Module.EntriesPerRecord = 2
	c.run()
	await("a raised limit", 2, 2, 8)

	c.o.Module.EntriesPerRecord = 3
	dir := openDir(t, c.path, store.Options{})
	db := must(dir.Open("f", first))(t)
	id := db.Identity()
	id.Limits = maps.Clone(id.Limits)
	id.Limits["entries_per_record"] = 3
	check(t, db.Raise(id)) // and the process ends
	check(t, db.Close())
	check(t, dir.Close())
	c.run()
	await("a retry that was owed", 3, 1, 11)
	if g := c.Status().Generation; g != first {
		t.Errorf("a raised limit built generation %s", g)
	}

	c.o.Module.EntriesPerRecord = 2
	c.run()
	await("a lowered limit", 2, 2, 8)
	if g := c.Status().Generation; g != first+"-2" {
		t.Errorf("a lowered limit left generation %s", g)
	}
}

// hold puts the live record of each of these source keys into quarantine, as if the module had failed on it.
func (c *clinic) hold(keys ...string) {
	c.t.Helper()
	c.await("a sweeper", func(Status) bool { return c.following() != nil })
	b := store.NewBatch(c.Store().Indexes())
	for _, key := range keys {
		e := must(c.kv.Get(c.t.Context(), key))(c.t)
		var u abi.Updates
		subject := u.AppendString("$KV.edge." + key)
		r := abi.Update{Op: abi.OpPut, Seq: e.Revision(), Time: e.Created().UnixNano(), Subject: subject,
			Key: abi.Span{Off: subject.Len - uint32(len(key)), Len: uint32(len(key))}, Value: u.Append(e.Value())}
		u.Records = append(u.Records, r)
		one := []int32{0}
		frame := make([]byte, abi.InSize(&u, one))
		f := store.Failure{Code: "trap", Message: "it was the weather", Update: frame[:abi.EncodeIn(frame, &u, one)]}
		b.Fail([]byte(key), r.Seq, r.Time, 0, f)
		if c.o.OnError == OnErrorKeep {
			b.Keep()
		}
	}
	check(c.t, c.following().commit(c.t.Context(), &aside{batch: b}))
}

// TestRetry transforms what is held again: what can be transformed is released, and the store is what the source makes it.
func TestRetry(t *testing.T) {
	for _, policy := range []string{OnErrorQuarantine, OnErrorKeep} {
		t.Run(policy, func(t *testing.T) {
			c := newClinic(t, 1, func(o *FoldOptions) {
				o.OnError, o.Budget = policy, &store.Budget{Share: 1}
				o.Source.BatchBytes = 4 << 10 // cuts what a step of the retry yields into parts
			})
			c.run()
			if _, err := c.Retry(t.Context(), nil); err != nil && !errors.Is(err, ErrNotFollowing) {
				t.Error(err)
			}
			var keys []string
			for i := range 2*retryRecords + 10 {
				keys = append(keys, fmt.Sprintf("k%04d", i))
				c.put(keys[i], fmt.Sprintf("ax%d=%s;bx=%d", i%7, strings.Repeat("v", 50), i))
			}
			c.put("odd", "L3600000000000:ax=1")
			c.put("bad", "E\x07it stays")
			c.put("worse", "T")
			keys = append(keys, "odd")
			last := c.put("fine", "ax=9")
			c.fine(last)
			c.hold(keys...)
			if st := c.Status(); st.Quarantined != uint64(len(keys)+2) || st.Kept != 0 && policy == OnErrorQuarantine {
				t.Errorf("held: %+v", st)
			}
			if r, err := c.Retry(t.Context(), []byte("k0005")); err != nil || r != (RetryReport{Tried: 1, Released: 1}) {
				t.Errorf("of one: %+v, %v", r, err)
			}
			if r, err := c.Retry(t.Context(), []byte("worse")); err != nil || r != (RetryReport{Tried: 1, Failing: 1}) {
				t.Errorf("of one that fails: %+v, %v", r, err)
			}
			if r, err := c.Retry(t.Context(), []byte("k0005")); !errors.Is(err, ErrNotHeld) {
				t.Errorf("of one that is not held: %+v, %v", r, err)
			}
			want := RetryReport{Tried: uint64(len(keys) + 1), Released: uint64(len(keys) - 1), Failing: 2}
			if r, err := c.Retry(t.Context(), nil); err != nil || r != want {
				t.Errorf("of all: %+v, want %+v: %v", r, want, err)
			}
			held := c.held()
			if len(held) != 2 || held[0] != "bad: module: it stays" {
				t.Errorf("still held: %q", held)
			}
			_, clock := c.s.end("edge")
			for _, d := range compare(t, c.Store(), fold(c.s.live("edge"), last, clock, defaultLimits)) {
				t.Error(d)
			}
			c.stop()
			if _, err := c.Retry(t.Context(), nil); !errors.Is(err, ErrNotFollowing) {
				t.Errorf("of a fold that was stopped: %v", err)
			}
		})
	}
}

// TestRetryLate retries an update that a newer one of its source key replaced between the reading of quarantine and the
// commit: the newer one stands.
func TestRetryLate(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	c.put("stays", "ax=1")
	c.fine(c.put("moves", "ax=1"))
	c.hold("moves", "stays")
	s := c.following()
	x := &retry{sweeper: s, transform: s.fold.transformer(), slot: newSlot(s.pipe.db.Indexes()), batch: new(source.Batch)}
	defer x.transform.worker.Close(context.WithoutCancel(t.Context()))
	if _, more, err := x.load(nil, false); err != nil || more || x.batch.Len() != 2 {
		t.Fatalf("%d updates, %v", x.batch.Len(), err)
	}
	c.fine(c.put("moves", "ax=2"))
	check(t, x.run(t.Context()))
	if want := (RetryReport{Tried: 2, Released: 1, Moved: 1}); x.report != want {
		t.Errorf("%+v, want %+v", x.report, want)
	}
	equal(t, "rows", c.rows(0, store.Range{}), `"x" "moves" "2"`, `"x" "stays" "1"`)
	whole(t, c.Store())
	c.stop()
}

// TestRetryFrame: a held update comes back byte for byte, a delete with headers too.
func TestRetryFrame(t *testing.T) {
	var u, back abi.Updates
	name, one, two := u.AppendString("A"), u.AppendString("1"), u.AppendString("2")
	u.Headers = []abi.Header{{Name: name, Value: one}, {Name: name, Value: two}}
	u.Records = []abi.Update{{Op: abi.OpPurge, Seq: 7, Time: 8, Key: u.AppendString("k"), Subject: u.AppendString("s.k"), Headers: 2}}
	rec := []int32{0}
	frame := make([]byte, abi.InSize(&u, rec))
	frame = frame[:abi.EncodeIn(frame, &u, rec)]
	b := new(source.Batch)
	for range 3 {
		check(t, appendHeld(b, store.Quarantined{Failure: store.Failure{Update: frame}}))
	}
	back = b.Updates
	for i := range 3 {
		again := make([]byte, abi.InSize(&back, []int32{int32(i)}))
		if again = again[:abi.EncodeIn(again, &back, []int32{int32(i)})]; !slices.Equal(again, frame) {
			t.Errorf("update %d:\n is  %q\nwant %q", i, again, frame)
		}
	}
	if err := appendHeld(b, store.Quarantined{Source: []byte("k"), Failure: store.Failure{Update: []byte("no frame")}}); err == nil || b.Len() != 3 {
		t.Errorf("%d updates, %v", b.Len(), err)
	}
}
