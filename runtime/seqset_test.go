package runtime

import "testing"

func TestSeqSet(t *testing.T) {
	rng := seeded(t)
	for _, spread := range []uint64{100, 70_000, 1 << 40} {
		var s seqSet
		plain := map[uint64]bool{}
		for range 20_000 {
			seq := rng.Uint64N(spread)
			s.add(seq)
			plain[seq] = true
		}
		if s.len() != len(plain) {
			t.Errorf("%d seqs, want %d", s.len(), len(plain))
		}
		for seq := range plain {
			if !s.has(seq) {
				t.Fatalf("%d is missing", seq)
			}
		}
		for range 20_000 {
			if seq := rng.Uint64N(spread); s.has(seq) != plain[seq] {
				t.Fatalf("has(%d) is %v", seq, s.has(seq))
			}
		}
	}
}
