package runtime

import "slices"

// A seqSet is a set of seqs: per 65,536 of them a sorted list of 16 bits each, or, where more than 4096 are in it, a
// bitmap of 8 KiB. So n seqs take at most 2n bytes and some 60 bytes for each 65,536 seqs that n of them are spread
// over, and never more than one bit for each seq of the stream where they are dense.
type seqSet struct {
	chunks map[uint64]*seqChunk
	n      int
}

type seqChunk struct {
	list []uint16 // sorted; unused once bits are there
	bits []uint64
}

const seqList = 4096

func (s *seqSet) add(seq uint64) {
	c := s.chunks[seq>>16]
	if c == nil {
		if s.chunks == nil {
			s.chunks = map[uint64]*seqChunk{}
		}
		c = new(seqChunk)
		s.chunks[seq>>16] = c
	}
	low := uint16(seq)
	if c.bits == nil {
		at, found := slices.BinarySearch(c.list, low)
		if found {
			return
		}
		if s.n++; len(c.list) < seqList {
			c.list = slices.Insert(c.list, at, low)
			return
		}
		c.bits = make([]uint64, 1<<16/64)
		for _, x := range c.list {
			c.bits[x/64] |= 1 << (x % 64)
		}
		c.list = nil
	} else if !s.has(seq) {
		s.n++
	}
	c.bits[low/64] |= 1 << (low % 64)
}

func (s *seqSet) has(seq uint64) bool {
	c, low := s.chunks[seq>>16], uint16(seq)
	switch {
	case c == nil:
		return false
	case c.bits != nil:
		return c.bits[low/64]&(1<<(low%64)) != 0
	}
	_, found := slices.BinarySearch(c.list, low)
	return found
}

// len returns how many seqs are in the set.
func (s *seqSet) len() int { return s.n }
