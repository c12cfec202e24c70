package store

import (
	"encoding/binary"
	"testing"
)

// TestSeen adds source keys until there is no room: none of them is forgotten, and few others are held to be there.
func TestSeen(t *testing.T) {
	hash := func(i uint64) uint64 { return hashSource(binary.BigEndian.AppendUint64(nil, i)) }
	took := 0
	s := newSeen(1*mib, func(bytes int) { took += bytes })
	n := uint64(0)
	for s.add(hash(n)) {
		n++
	}
	if took > 1*mib || n < 1*mib/8*seenPerWord/2 {
		t.Errorf("%d source keys in %d bytes", n, took)
	}
	wrong := 0
	for i := range n {
		if !s.has(hash(i)) {
			t.Fatalf("source key %d of %d is forgotten", i, n)
		}
		wrong += int(count(s.has(hash(n + 1 + i))))
	}
	t.Logf("%d source keys, %d layers, %d bytes, %.4f of others held to be there", n, len(s.layers), took, float64(wrong)/float64(n))
	if share := float64(wrong) / float64(n); share > 0.05 {
		t.Errorf("%.4f of others are held to be there", share)
	}
}
