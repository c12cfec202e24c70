package store

import "github.com/zeebo/xxh3"

// hashSource is the hash by which source keys are known in memory.
func hashSource(source []byte) uint64 { return xxh3.Hash(source) }

// seen knows every source key that a store holds, and holds some others to be there: who is not in it has no lineage,
// and none is read. It begins with an empty store, in whose build nearly every source key is new; a store that is opened
// with source keys in it has none, and reads. Each layer is a Bloom filter of words, with four bits of one word for a
// source key, and has room for eight times as many as the one before, or for what its limit leaves.
type seen struct {
	layers [][]uint64
	room   int // source keys that the last layer still takes
	limit  int // words of all layers, at most
	words  int
	grow   func(bytes int) // told of each new layer
}

// The first layer has room for seenFirst source keys; a word is for seenPerWord of them, 16 bits each: about two
// in 100 others are held to be there and are not.
const (
	seenFirst   = 1 << 16
	seenPerWord = 4
)

// newSeen returns a filter that takes up to so many bytes, and says with grow when it takes more.
func newSeen(bytes int64, grow func(bytes int)) *seen {
	return &seen{limit: int(bytes / 8), grow: grow}
}

// add adds a source key. It returns false when there is no room for it: the filter is then of no use any more.
func (s *seen) add(hash uint64) bool {
	if s.room == 0 {
		words := seenFirst / seenPerWord << (3 * len(s.layers))
		for s.words+words > s.limit {
			if words /= 2; words < seenFirst/seenPerWord {
				return false
			}
		}
		s.layers = append(s.layers, make([]uint64, words))
		s.words, s.room = s.words+words, words*seenPerWord
		s.grow(8 * words)
	}
	s.room--
	last := s.layers[len(s.layers)-1]
	last[hash>>24&uint64(len(last)-1)] |= seenBits(hash)
	return true
}

// has says whether a source key may be there.
func (s *seen) has(hash uint64) bool {
	bits := seenBits(hash)
	for _, l := range s.layers {
		if l[hash>>24&uint64(len(l)-1)]&bits == bits {
			return true
		}
	}
	return false
}

// touch reads the words that has will read.
func (s *seen) touch(hash uint64) (touched uint64) {
	for _, l := range s.layers {
		touched += l[hash>>24&uint64(len(l)-1)]
	}
	return touched
}

// seenBits returns four bits of a word, by the low 24 bits of a hash; the word is chosen by the others.
func seenBits(hash uint64) uint64 {
	return 1<<(hash&63) | 1<<(hash>>6&63) | 1<<(hash>>12&63) | 1<<(hash>>18&63)
}
