package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// twoIndexes are the indexes of the histories.
var twoIndexes = []IndexSpec{{"a", All}, {"b", Latest}}

// A style says what a history is like.
type style struct {
	steps   int
	sources int  // how many source keys there are
	events  int  // of a step, at most
	value   int  // bytes of a value, at most
	points  bool // leave the cursor on, and pass, multiples of PointEvery
}

// history makes up a history: puts of 0 to 5 entries over few keys, so that they collide, removals, failures, some of
// which keep what was there, retries of those, some of which come too late, records
// and rows that expire, some already due, a MaxAge that comes, changes and goes, and a clock that stands, runs and
// turns back.
func history(rng *rand.Rand, st style) []step {
	var all []step
	last := map[string]uint64{}  // seq of each source key's last update
	failed := map[string]event{} // the last of each source key's that failed
	maxAge := int64(0)
	pos := Position{Stream: "S", Created: 1}
	now := int64(1000)
	for range st.steps {
		s := step{}
		base := pos.Seq
		if st.points && rng.IntN(8) == 0 { // an idle fold passes a point, or ends on it
			base = (pos.Seq/PointEvery+uint64(rng.IntN(2)))*PointEvery + PointEvery - uint64(rng.IntN(3))
		}
		if base == pos.Seq && rng.IntN(10) > 0 {
			s.retry = rng.IntN(6) == 0
			for i, k := range rng.Perm(st.sources)[:min(1+rng.IntN(st.events), st.sources)] {
				e := randomEvent(rng, st, k, pos.Seq+uint64(i)+1, now)
				if e.kind == changeRemoveIf {
					e.seq = max(last[e.source], 1) - uint64(rng.IntN(4)/3)
				}
				if s.retry && !e.kind.lives() {
					e.kind = changeFail // a retry transforms
				}
				if was := failed[e.source]; s.retry && was.seq != 0 && rng.IntN(5) > 0 {
					e.seq, e.time = was.seq, was.time
				}
				s.events = append(s.events, e)
			}
			if rng.IntN(8) == 0 {
				maxAge = []int64{0, 0, 100, 400, 2000}[rng.IntN(5)]
			}
			rng.Shuffle(len(s.events), func(i, j int) { s.events[i], s.events[j] = s.events[j], s.events[i] })
			base += uint64(len(s.events))
			if next := (pos.Seq/PointEvery + 1) * PointEvery; base > next {
				s.events, base = nil, next
			}
			for _, e := range s.events {
				last[e.source] = e.seq
				if e.kind == changeFail && !s.retry {
					failed[e.source] = e
				}
			}
		}
		pos.Seq = max(base, pos.Seq+1)
		if rng.IntN(3) > 0 {
			now += rng.Int64N(100) - 10
		}
		pos.Time = now
		s.pos, s.now, s.maxAge = pos, now, maxAge
		all = append(all, s)
	}
	return all
}

func randomEvent(rng *rand.Rand, st style, k int, seq uint64, now int64) event {
	e := event{source: fmt.Sprintf("s%d", k), seq: seq, time: max(now-rng.Int64N(100), 1)}
	if k == 0 {
		e.source = "" // the empty source key
	}
	soon := func() int64 {
		if rng.IntN(6) > 0 {
			return 0
		}
		return now + rng.Int64N(300) - 50
	}
	if e.expiry = soon(); rng.IntN(10) == 0 {
		e.expiry = Never
	}
	switch rng.IntN(12) {
	case 0:
		e.kind = changeRemove
		return e
	case 1:
		e.kind = changeRemoveIf
		return e
	case 2, 3:
		e.kind, e.keeps = changeFail, rng.IntN(3) > 0
		return e
	}
	seen := map[place]bool{}
	for range rng.IntN(6) {
		x := entry{index: uint16(rng.IntN(2)), key: oddKey(rng), expiry: soon()}
		x.value = strings.Repeat(string(rune('a'+rng.IntN(3))), rng.IntN(st.value+1))
		if !seen[place{x.index, x.key}] {
			seen[place{x.index, x.key}] = true
			e.entries = append(e.entries, x)
			if rng.IntN(8) == 0 {
				e.entries = append(e.entries, x) // the same again is the same row
			}
		}
	}
	return e
}

// oddKey returns one of few keys, of the bytes that the escaping cares about.
func oddKey(rng *rand.Rand) string {
	b := make([]byte, rng.IntN(4))
	for i := range b {
		b[i] = "\x00\x01\xff"[rng.IntN(3)]
	}
	return string(b)
}

// replay returns the world after each position of a history, that before it at 0.
func replay(specs []IndexSpec, h []step) map[uint64]*world {
	w := newWorld(specs)
	at := map[uint64]*world{0: w}
	for _, s := range h {
		w, _ = w.after(s)
		at[s.pos.Seq] = w
	}
	return at
}
