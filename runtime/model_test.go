package runtime

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

var roundsFlag = flag.Int("model.rounds", 80, "rounds of the model-based test")

// A trial is one fold over one bucket, changed and restarted at random, and compared with its twin after each round.
type trial struct {
	*churn
	path   string
	rng    *rand.Rand // of the fold: what changes the keys has its own
	tamper func(*source.Batch)

	policy policy
	option func(*FoldOptions) // if not nil: changes what a start is configured with

	starts, abandoned int
	inFlight          int32
	updates           uint64
	coalesced         uint64
	waited            uint64
	swept             uint64 // source keys that sweeps, asked for or not, found stale at the end of a round
}

func newTrial(t testing.TB, rng *rand.Rand, history uint8) *trial {
	s := newSite(t)
	c := &churn{site: s, bucket: "model", kv: s.bucket("model", history), rng: rand.New(rand.NewPCG(rng.Uint64(), 1))}
	return &trial{churn: c, path: t.TempDir(), rng: rng}
}

// start runs the fold with batch cuts, workers and a sync of its own.
func (x *trial) start() *runner {
	x.t.Helper()
	o := x.modelFold(x.bucket)
	o.Source.BatchRecords = 1 + x.rng.IntN(64)
	o.Source.BatchBytes = 1 << (9 + x.rng.IntN(12)) // a small one cuts what large batches yield into parts
	o.Workers = 1 + x.rng.IntN(4)
	o.Batches = 2 + x.rng.IntN(6)
	x.starts++
	if x.tamper != nil {
		o.Source.BatchRecords, o.Source.BatchBytes = 64, 1<<20 // whole batches: a part's position is that of its last record
	}
	sync := []store.Sync{store.SyncAlways, store.SyncSecond, store.SyncNever}[x.rng.IntN(3)]
	o.OnError, o.Budget = x.policy.onError, x.policy.budget
	if x.option != nil {
		x.option(&o)
	}
	dir := openDir(x.t, x.path, store.Options{Sync: sync})
	f := must(NewFold(x.t.Context(), dir, o))(x.t)
	f.tamper = x.tamper
	f.farBehind = []uint64{farBehind, 1, 40}[x.rng.IntN(3)] // commits wait, or never do
	x.policy.lifted = x.policy.lifted && x.rng.IntN(3) > 0  // a process that starts anew knows of no acceptance
	f.lifted.Store(x.policy.lifted)
	return run(x.t, dir, f)
}

// end stops the fold in one way or the other, wherever it stands.
func (x *trial) end(r *runner) {
	x.t.Helper()
	defer func() {
		s := r.Status().Counts
		x.inFlight = max(x.inFlight, s.InFlight)
		x.updates += s.Updates
		x.coalesced += s.Coalesced
		x.waited += s.Waited
	}()
	abandon := x.rng.IntN(2) == 0
	if db := r.Store(); abandon && db != nil {
		x.abandoned++
		check(x.t, db.Close())
	}
	r.end()
	if err := r.wait(); err != nil && !x.policy.stops(err) && !(abandon && errors.Is(err, store.ErrClosed)) {
		x.t.Fatalf("the fold ended: %v", err)
	}
	r.close()
}

// round changes keys while the fold stops and starts, waits until the fold has caught up, and compares.
func (x *trial) round() differences {
	x.t.Helper()
	r := x.start()
	if x.rng.IntN(3) == 0 { // the changes are there before the fold is
		x.end(r)
		x.burst(1000)
		x.some(100)
		if x.policy.onError != OnErrorKeep {
			x.vanish(x.churn.rng.IntN(20))
		}
		r = x.start()
	}
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		x.burst(x.churn.rng.IntN(300))
		x.some(300)
		x.burst(x.churn.rng.IntN(300))
	}()
	for range x.rng.IntN(4) {
		for range x.rng.IntN(20) {
			select {
			case <-r.Moved():
			case <-changed:
			}
		}
		x.end(r)
		r = x.start()
	}
	<-changed
	if x.option != nil {
		r.await("the generation that is configured", func(st Status) bool { return r.id.Has(st.Generation) && st.Build == nil })
	}
	r, last, clock := x.arrive(r)
	if x.tamper == nil { // what vanished without a word is found by a sweep, which finds nothing else
		swept := r.sweep(true)
		x.swept += swept.Stale
		if swept.Missed > 0 || swept.Uncover > 0 {
			return differences{fmt.Sprintf("a sweep found what was never lost: %+v", swept)}
		}
	}
	d := x.compare(r, fold(x.live(x.bucket), last, clock, defaultLimits), clock)
	x.end(r)
	return d
}

// TestModel compares a fold with its twin after each of many rounds of changes, stops and restarts.
func TestModel(t *testing.T) {
	rng := seeded(t)
	t.Run("history 1", func(t *testing.T) { newTrial(t, rng, 1).rounds(*roundsFlag / 2) })
	t.Run("history 64", func(t *testing.T) { // what was overwritten is still delivered: hot keys fill neighbouring batches
		x := newTrial(t, rng, 64)
		x.rounds(*roundsFlag-*roundsFlag/2, shown{"batches in flight", func() int { return int(x.inFlight) }, 3})
	})
}

// A shown is what rounds must have come across to mean anything.
type shown struct {
	what  string
	seen  func() int
	least int
}

// rounds are n, and as many more, up to fifty times that, as it takes to come across everything that is to be shown: what
// a round does is random, and so is what it meets.
func (x *trial) rounds(n int, show ...shown) {
	x.t.Helper()
	defer x.policy.report(x.t)
	show = append(show, shown{"commits that waited for others", func() int { return int(x.waited) }, 20})
	missing := func(s shown) bool { return s.seen() < s.least }
	round := 0
	for ; round < n || round < 50*n && slices.ContainsFunc(show, missing); round++ {
		if d := x.round(); len(d) > 0 {
			for _, text := range d {
				x.t.Error(text)
			}
			x.t.Fatalf("round %d: the store is not what the source makes it", round)
		}
	}
	x.t.Logf("%d rounds, %d starts, %d of them abandoned, %d updates folded, %d of them coalesced, %d commits waited, %d swept, %d batches in flight at most",
		round, x.starts, x.abandoned, x.updates, x.coalesced, x.waited, x.swept, x.inFlight)
	for _, s := range show {
		if missing(s) {
			x.t.Errorf("%s: %d in %d rounds, at least %d are to be seen", s.what, s.seen(), round, s.least)
		}
	}
}
