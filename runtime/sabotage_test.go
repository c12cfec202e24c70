package runtime

import (
	"slices"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/source"
)

// TestSabotage breaks a law in each of several ways, and fails when the model-based test would not notice.
func TestSabotage(t *testing.T) {
	const chances = 20
	rng := seeded(t)
	batches := 0
	for _, sabotage := range []struct {
		name   string
		tamper func(*source.Batch)
	}{
		{"a batch is skipped", func(b *source.Batch) {
			if batches++; batches%10 == 0 {
				b.Updates.Reset()
			}
		}},
		{"the oldest update of a batch wins", func(b *source.Batch) { slices.Reverse(b.Records) }},
		{"deletes and purges retract nothing", func(b *source.Batch) {
			b.Records = slices.DeleteFunc(b.Records, func(u abi.Update) bool { return u.Op != abi.OpPut })
		}},
		{"a record is given its neighbour's value", func(b *source.Batch) {
			if n := b.Len(); n > 1 {
				b.Records[n-1].Value = b.Records[n-2].Value
			}
		}},
		{"an update's seq is that of the batch", func(b *source.Batch) { // wrong only in what "latest" reads
			for i := range b.Records {
				b.Records[i].Seq = b.Pos.Seq
			}
		}},
	} {
		t.Run(sabotage.name, func(t *testing.T) {
			x := newTrial(t, rng, 64)
			x.tamper = sabotage.tamper
			for round := range chances {
				if d := x.round(); len(d) > 0 {
					t.Logf("noticed in round %d: %s", round, d[0])
					return
				}
			}
			t.Errorf("not noticed in %d rounds", chances)
		})
	}
}
