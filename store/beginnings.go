package store

import (
	"bytes"
	"sync/atomic"
)

// beginnings knows how the row keys begin that were written, and holds some others to be written: a range all of whose
// keys begin with what is not in it was not written to. It is a Bloom filter in layers, as seen is, which one goroutine adds to
// while others ask.
//
// Of a row key it has each beginning that is longer than kind and index, up to mostPrefix bytes, and that which ends in the
// terminator: the key's prefix.
type beginnings struct {
	layers atomic.Pointer[[][]atomic.Uint64]
	any    atomic.Bool // something was added
	all    atomic.Bool // everything may have been written
	limit  int         // words of all layers, at most
	first  int         // words of the first layer
	grow   func(bytes int)

	// owned by who adds
	words int
	room  int // beginnings that the last layer still takes
	last  []byte
	sums  [mostPrefix + 1]uint64 // of the beginnings of last, by their length

	hashes  [mostPrefix + 1]uint64 // memory of hash
	touched uint64                 // what add reads ahead: it means nothing
}

// mostPrefix is the length of the longest beginning, bytes, that is not a whole prefix. A longer one is asked for by so much
// of it.
const mostPrefix = 64

// The first layer has beginningsFirst words, or what is expected; a word is for beginningsPerWord beginnings, 32 bits each: a few
// in 1,000 others are held to be written and are not.
const (
	beginningsFirst   = 1 << 8
	beginningsPerWord = 2
)

// newBeginnings returns a filter that takes so many bytes at most, and is likely to take those that are expected. It says with
// grow when it takes more.
func newBeginnings(most int64, expected int, grow func(bytes int)) *beginnings {
	w := &beginnings{limit: max(int(most/8), beginningsFirst), first: beginningsFirst, grow: grow}
	for w.first < expected/8 && 2*w.first <= w.limit {
		w.first *= 2
	}
	w.layers.Store(&[][]atomic.Uint64{})
	w.sums[0] = sumFirst
	return w
}

// bytes returns how much memory the filter takes.
func (w *beginnings) bytes() (n int) {
	for _, l := range *w.layers.Load() {
		n += 8 * len(l)
	}
	return n
}

// add adds the beginnings of a row key. Where they are not all added, for want of room, all is set. Keys that come in order
// cost least.
func (w *beginnings) add(key []byte) {
	if w.all.Load() {
		return
	}
	w.any.Store(true)
	end := prefixEnd(key)
	hashes := w.hash(key[:end])
	for _, h := range hashes {
		w.touched += touchHash(*w.layers.Load(), h)
	}
	for _, h := range hashes {
		if !w.put(h) {
			w.all.Store(true)
		}
	}
}

// hash returns the hashes of the beginnings of a prefix that are not those of the one before.
func (w *beginnings) hash(prefix []byte) (hashes []uint64) {
	n, same := min(len(prefix), mostPrefix), commonPrefix(w.last, prefix)
	hashes = w.hashes[:0]
	for i := min(same, n); i < n; i++ {
		if w.sums[i+1] = sumByte(w.sums[i], prefix[i]); i >= rowHead {
			hashes = append(hashes, sumEnd(w.sums[i+1]))
		}
	}
	if len(prefix) > n && same < len(prefix) {
		hashes = append(hashes, sumEnd(sumAll(w.sums[n], prefix[n:])))
	}
	w.last = append(w.last[:0], prefix...)
	return hashes
}

// put adds a hash, unless it is there. It returns false when there is no room for it.
func (w *beginnings) put(hash uint64) bool {
	layers := *w.layers.Load()
	if hasHash(layers, hash) {
		return true
	}
	if w.room == 0 {
		words := w.first << (3 * len(layers))
		for w.words+words > w.limit {
			if words /= 2; words < beginningsFirst {
				return false
			}
		}
		layers = append(layers[:len(layers):len(layers)], make([]atomic.Uint64, words))
		w.layers.Store(&layers)
		w.words, w.room = w.words+words, words*beginningsPerWord
		w.grow(8 * words)
	}
	w.room--
	last := layers[len(layers)-1]
	last[hash>>24&uint64(len(last)-1)].Or(seenBits(hash))
	return true
}

// touchHash reads the words that hasHash will read, so that the waits for memory overlap.
func touchHash(layers [][]atomic.Uint64, hash uint64) (touched uint64) {
	for _, l := range layers {
		touched += l[hash>>24&uint64(len(l)-1)].Load()
	}
	return touched
}

func hasHash(layers [][]atomic.Uint64, hash uint64) bool {
	bits := seenBits(hash)
	for _, l := range layers {
		if l[hash>>24&uint64(len(l)-1)].Load()&bits == bits {
			return true
		}
	}
	return false
}

// has says whether a row may have been written whose key begins with what asked returned.
func (w *beginnings) has(begin []byte, hash uint64) bool {
	switch {
	case w.all.Load():
		return true
	case len(begin) <= rowHead:
		return w.any.Load()
	}
	return hasHash(*w.layers.Load(), hash)
}

// asked returns what a filter is asked for of the row keys that are not less than lower and less than upper: a beginning of all of
// them, and its hash.
func asked(lower, upper []byte) (begin []byte, hash uint64) {
	n := commonPrefix(lower, upper)
	if n < len(lower) && len(upper) == n+1 && upper[n] == lower[n]+1 {
		n++ // where upper is the successor of a beginning of lower, they all have that
	}
	n = prefixEnd(lower[:n])
	if n > mostPrefix && !bytes.HasSuffix(lower[:n], terminator) {
		n = mostPrefix
	}
	return lower[:n], sumEnd(sumAll(sumFirst, lower[:n]))
}

// terminator ends the prefix of a row key, and stands nowhere else in one.
var terminator = []byte{0x00, 0x01}

// The hash of a beginning is FNV-1a, which goes over a key once for all of them, with its bits mixed at the end.
const (
	sumFirst = 14695981039346656037
	sumPrime = 1099511628211
)

func sumByte(sum uint64, b byte) uint64 { return (sum ^ uint64(b)) * sumPrime }

func sumAll(sum uint64, all []byte) uint64 {
	for _, b := range all {
		sum = sumByte(sum, b)
	}
	return sum
}

func sumEnd(sum uint64) uint64 {
	sum = (sum ^ sum>>32) * 0x9fb21c651e98df25
	return sum ^ sum>>29
}
