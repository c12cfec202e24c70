package runtime

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"
)

var chaosFlag = flag.Duration("chaos", 0, "how long TestChaos runs; 0 = until the cheap events have occurred")

// shortChaos is how long TestChaos runs without the flag: at least this.
const shortChaos = 15 * time.Second

// A chaos is some streams on one server and a fold of each, to which everything happens that may.
type chaos struct {
	*restorable
	rng     *rand.Rand
	tally   *tally
	wards   []*ward
	clients map[*ward]*client
	deck    []fault // what comes next
	long    bool
}

func newChaos(t testing.TB, rng *rand.Rand, kinds []wardKind) *chaos {
	x := &chaos{restorable: &restorable{newSite(t), filepath.Join(t.TempDir(), "older")}, rng: rng,
		tally: &tally{n: map[string]int{}}, clients: map[*ward]*client{}}
	policies := []Divergence{DivergedRebuild, DivergedReconcile, DivergedHalt, DivergedRebuild, DivergedReconcile}
	rng.Shuffle(len(policies), func(i, j int) { policies[i], policies[j] = policies[j], policies[i] })
	odd := rng.IntN(2)
	for i, kind := range kinds {
		w := x.newWard(kind, rand.New(rand.NewPCG(rng.Uint64(), 0)))
		w.opt.OnDiverged = policies[i%len(policies)]
		if i%2 == odd {
			w.opt.SweepEvery = time.Second
		}
		own := rand.New(rand.NewPCG(rng.Uint64(), 1))
		x.clients[w] = &client{ward: w, rng: own, values: &churn{site: x.site, rng: own}}
		x.wards = append(x.wards, w)
		w.start()
	}
	return x
}

// pass lets a random time pass: the moments of the faults are what varies.
func (x *chaos) pass() { pass(time.Duration(x.rng.IntN(200)) * time.Millisecond) }

// next returns a fault: all of them occur equally often.
func (x *chaos) next() fault {
	if len(x.deck) == 0 {
		x.deck = slices.Clone(faults)
		if !x.long {
			x.deck = slices.DeleteFunc(x.deck, func(f fault) bool { return f.slow })
		}
		x.rng.Shuffle(len(x.deck), func(i, j int) { x.deck[i], x.deck[j] = x.deck[j], x.deck[i] })
	}
	f := x.deck[0]
	x.deck = x.deck[1:]
	return f
}

// round has clients work while faults occur, then all end, and each fold must become what its stream makes of it.
func (x *chaos) round() (d differences) {
	x.t.Helper()
	enough := make(chan struct{})
	var working sync.WaitGroup
	for _, c := range x.clients {
		working.Go(func() { c.work(enough) })
	}
	x.hurt()
	close(enough)
	working.Wait()
	if x.t.Failed() {
		x.t.FailNow()
	}
	for _, w := range x.wards {
		w.heal()
	}
	if x.rng.IntN(3) == 0 { // nothing comes after it
		x.wards[x.rng.IntN(len(x.wards))].proxy.Swallow(1)
	}
	for _, w := range x.wards {
		c := x.clients[w]
		check(x.t, c.send(c.key(), c.values.value()))
	}
	for _, w := range x.wards {
		for _, text := range w.settle() {
			d.add("%s (%s): %s", w.name, w.opt.OnDiverged, text)
		}
		w.asked.Wait()
	}
	return d
}

func (x *chaos) hurt() {
	x.t.Helper()
	x.pass()
	for range 3 + x.rng.IntN(6) {
		f, w := x.next(), x.wards[x.rng.IntN(len(x.wards))]
		f.do(x, w)
		x.tally.add(tallyFault, f.name)
		x.pass()
	}
}

// TestChaos mixes what clients do with faults, and compares each fold with its stream whenever things are quiet.
// docs/source.md says what it covers.
func TestChaos(t *testing.T) {
	x := newChaos(t, seeded(t), wardKinds)
	x.long = *chaosFlag > 0
	defer x.tally.report(t)
	defer func() { // what is cleaned up after a panic may hide it
		if p := recover(); p != nil {
			t.Fatalf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	least := max(*chaosFlag, shortChaos)
	began, rounds := time.Now(), 0
	for time.Since(began) < least || len(x.absent()) > 0 && time.Since(began) < least+5*time.Minute {
		rounds++
		if d := x.round(); len(d) > 0 {
			for _, text := range d {
				t.Error(text)
			}
			t.Fatalf("round %d: a fold is not what its stream makes it", rounds)
		}
	}
	for _, name := range x.absent() {
		t.Errorf("%s did not occur in %d rounds", name, rounds)
	}
	for _, w := range x.wards {
		w.alive().stop(false)
	}
	t.Logf("%d rounds in %s: %d operations, %d faults, %d decisions", rounds, time.Since(began).Round(time.Second),
		x.tally.sum(tallyOp), x.tally.sum(tallyFault), x.tally.sum(tallyDecision))
}

// cheapDecisions occur in a short run, the others in a long one.
var cheapDecisions = []string{"proved: match", "switched", "reconciled", "held", "to reconcile: source_recreated",
	"to build: source_recreated", "sweep: asked", "sweep: interval", "sweep: fewer_keys", "reset: consumer_deleted", "reset: disconnected"}

var otherDecisions = []string{"proved: unknown", "adopted", "head_lost", "to reconcile: source_rewound", "to reconcile: source_diverged",
	"to build: source_rewound", "to build: source_diverged", "stopped: source_recreated", "stopped: switch_held",
	"sweep: reconciled", "sweep: tombstone_horizon", "sweep: head_lost", "sweep: identity_unknown", "sweep: max_age_raised",
	"reset: gap", "reset: tail_gap", "reset: silence", "reset: missing", "reset: server_shutdown", "reset: timeout"}

// absent returns what should have occurred, and did not.
func (x *chaos) absent() (all []string) {
	decisions := cheapDecisions
	if x.long {
		decisions = slices.Concat(cheapDecisions, otherDecisions)
	}
	var did, happened []string
	for _, o := range ops {
		did = append(did, o.name)
	}
	for _, f := range faults {
		if x.long || !f.slow {
			happened = append(happened, f.name)
		}
	}
	return slices.Concat(x.tally.missing(tallyOp, did), x.tally.missing(tallyFault, happened), x.tally.missing(tallyDecision, decisions))
}
