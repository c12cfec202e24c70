package runtime

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// A policy is what a trial's fold does with records that fail, and what came of it. Its zero value is the default.
type policy struct {
	onError string
	budget  *store.Budget
	lifted  bool // of the next start: an operator accepted the loss

	past     map[string][]record // with keep_last_good: every message of a source key, in order
	archived uint64              // up to here

	stopped, mended, accepted, kept int
}

// stops says whether the policy is why the fold ended.
func (p *policy) stops(err error) bool {
	code, _ := Describe(err)
	return p.onError == OnErrorHalt && code == CodeRecordFailed || p.budget != nil && code == CodeBudget
}

func (p *policy) report(t testing.TB) {
	if p.onError != "" || p.budget != nil {
		t.Logf("%d stops, %d source keys mended, %d losses accepted; %d source keys kept rows at the end of a round", p.stopped, p.mended, p.accepted, p.kept)
	}
}

// arrive waits until the fold has folded everything. Where its policy stops it, it does what an operator would, and
// starts it again.
func (x *trial) arrive(r *runner) (_ *runner, last uint64, clock int64) {
	x.t.Helper()
	for {
		last, clock = x.site.end(x.bucket)
		r.await(fmt.Sprint("seq ", last), func(s Status) bool { return s.Seq >= last || s.State == StateStopped })
		if r.Status().State != StateStopped {
			return r, last, clock
		}
		err := r.wait()
		if !x.policy.stops(err) {
			x.t.Fatalf("the fold stopped: %v", err)
		}
		x.policy.stopped++
		whole(x.t, r.Store())
		x.treat(r, err)
		r.close()
		r = x.start()
	}
}

// treat does what an operator would.
func (x *trial) treat(r *runner, err error) {
	x.t.Helper()
	var refused *store.Refused
	if errors.As(err, &refused) {
		x.verdict(r, refused)
		x.mend(string(refused.Source))
		return
	}
	state := r.Store().State()
	if allowed := x.policy.budget.Allows(state.Live); state.Quarantined > allowed && x.policy.accepted == 0 {
		x.t.Errorf("%d are in quarantine, %d allowed", state.Quarantined, allowed)
	}
	if x.policy.lifted = x.rng.IntN(2) == 0; x.policy.lifted {
		x.policy.accepted++
		return
	}
	v := must(r.Store().View())(x.t)
	defer v.Close()
	n := 0
	check(x.t, v.Quarantine(nil, func(q store.Quarantined) bool {
		x.mend(string(q.Source))
		n++
		return n < 20
	}))
}

func (x *trial) mend(key string) {
	x.t.Helper()
	x.policy.mended++
	if x.rng.IntN(2) == 0 {
		check(x.t, x.churn.kv.Delete(x.t.Context(), key))
		return
	}
	x.put(x.churn.kv, key, []byte("amended=1"))
}

// verdict asserts that the record that stopped a fold is one that fails, and that nothing of it was committed.
func (x *trial) verdict(r *runner, refused *store.Refused) {
	x.t.Helper()
	if at := r.Store().State().Position().Seq; at >= refused.Seq {
		x.t.Errorf("stopped before seq %d with the cursor at %d", refused.Seq, at)
	}
	stream := must(x.js.Stream(x.t.Context(), "KV_"+x.bucket))(x.t)
	m, err := stream.GetMsg(x.t.Context(), refused.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return // it was overwritten since
	}
	check(x.t, err)
	if v := transform(string(refused.Source), string(m.Data)); v.failed == nil || v.failed.Code != refused.Code {
		x.t.Errorf("stopped for %s at the value %q", refused.Reason(), m.Data)
	}
}

// compare compares the store with what it must hold; with keep_last_good, the rows of source keys in quarantine are as
// well those of one record that the source key had before, since it was last removed. Which one it is, if any, depends
// on what the fold saw: the store says it, and must have the rows of that one whole.
func (x *trial) compare(r *runner, w *wanted, clock int64) differences {
	x.t.Helper()
	if x.policy.onError != OnErrorKeep {
		return compare(x.t, r.Store(), w)
	}
	x.archive()
	w.kept = map[string]uint64{}
	v := must(r.Store().View())(x.t)
	defer v.Close()
	var d differences
	check(x.t, v.Quarantine(nil, func(q store.Quarantined) bool {
		if q.Kept == 0 {
			return true
		}
		good, ok := x.before(string(q.Source), q.Kept, q.Seq)
		if !ok || w.yields(good, transform(good.key, good.value).entries, clock) == 0 {
			d.add("%q keeps rows of %d while %d fails, which are not its to keep", q.Source, q.Kept, q.Seq)
		}
		w.kept[string(q.Source)] = q.Kept
		return true
	}))
	x.policy.kept += len(w.kept)
	return append(d, compare(x.t, r.Store(), w)...)
}

// archive reads what the stream holds that it did not hold the last time.
func (x *trial) archive() {
	x.t.Helper()
	if x.policy.past == nil {
		x.policy.past = map[string][]record{}
	}
	for _, r := range x.readBack(x.bucket, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: x.policy.archived + 1}) {
		x.policy.past[r.key] = append(x.policy.past[r.key], r)
		x.policy.archived = r.seq
	}
}

// before returns the good record that a source key had at seq, if nothing removed the key from then until the one at end.
func (x *trial) before(key string, seq, end uint64) (good record, ok bool) {
	for _, r := range x.policy.past[key] {
		switch {
		case r.seq == seq:
			good, ok = r, r.put && defaultLimits.within(transform(r.key, r.value)).failed == nil
		case r.seq > seq && r.seq < end && !r.put:
			return good, false
		}
	}
	return good, ok
}

// TestModelPolicies is TestModel with folds that keep the last good rows, that halt, and that have a small error budget.
func TestModelPolicies(t *testing.T) {
	rng := seeded(t)
	n := max(*roundsFlag/5, 1)
	t.Run("keep_last_good", func(t *testing.T) {
		x := newTrial(t, rng, 64)
		x.policy.onError = OnErrorKeep
		x.policy.budget = &store.Budget{Share: 1}
		config := must(x.js.Stream(t.Context(), "KV_model"))(t).CachedInfo().Config
		config.MaxMsgsPerSubject = -1 // so that the test can read everything back
		must(x.js.UpdateStream(t.Context(), config))(t)
		x.rounds(n, shown{"source keys that kept rows", func() int { return x.policy.kept }, n})
	})
	t.Run("halt", func(t *testing.T) {
		x := newTrial(t, rng, 1)
		x.policy.onError, x.health = OnErrorHalt, 0.97
		x.rounds(n, shown{"stops", func() int { return x.policy.stopped }, max(n/2, 1)})
	})
	t.Run("budget", func(t *testing.T) {
		x := newTrial(t, rng, 5)
		x.policy.budget = &store.Budget{Share: 0.1, Least: 30}
		x.rounds(n, shown{"stops", func() int { return x.policy.stopped }, max(n/4, 1)})
	})
}
