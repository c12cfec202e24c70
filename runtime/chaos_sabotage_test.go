package runtime

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
)

// aliveOtherwise is said of counts that are wrong: all that shows where the key in question owns no row.
const aliveOtherwise = " live, "

// TestChaosNotices breaks a law in each of several ways, and fails when a chaos does not notice.
func TestChaosNotices(t *testing.T) {
	rng := seeded(t)
	for _, sabotage := range []struct {
		name string
		do   func(w *ward)
		says []string // one of them is noticed
	}{
		{"a message is skipped", func(w *ward) {
			var batches atomic.Int64
			w.tamper = func(b *source.Batch) {
				if batches.Add(1)%5 == 0 && b.Len() > 0 {
					b.Records = b.Records[:b.Len()-1]
				}
			}
		}, []string{"stood all the while, and was skipped", "never folded", "is missing", "must not be there", "is in quarantine", aliveOtherwise}},
		{"a message comes twice", func(w *ward) {
			w.tamper = func(b *source.Batch) {
				if n := b.Len(); n > 0 {
					b.Records = append(b.Records, b.Records[n-1])
				}
			}
		}, []string{"in a batch up to"}},
		{"any stream passes for the one that was folded", func(w *ward) {
			w.opt.Source.Off = map[source.Guard]bool{source.GuardCreated: true, source.GuardAnchors: true, source.GuardEnd: true}
		}, []string{"the cursor"}},
		{"nothing is swept", func(w *ward) { w.off, w.opt.SweepEvery = noSweeps, time.Second }, []string{"must not be there", "is in quarantine", aliveOtherwise}},
	} {
		own := rand.New(rand.NewPCG(rng.Uint64(), 2))
		t.Run(sabotage.name, func(t *testing.T) {
			t.Parallel()
			x := newChaos(t, own, wardKinds[2:4])
			for _, w := range x.wards {
				w.stop(false)
				sabotage.do(w)
				w.patience = 15 * time.Second
				w.start()
			}
			for round := range 20 {
				if d := x.round(); len(d) > 0 {
					all := strings.Join(d, "\n")
					if !slices.ContainsFunc(sabotage.says, func(says string) bool { return strings.Contains(all, says) }) {
						t.Errorf("round %d: noticed otherwise than by %q: %s", round, sabotage.says, all)
					}
					return
				}
			}
			t.Error("not noticed in 20 rounds")
		})
	}
}
