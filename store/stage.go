package store

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
)

// The lists of what is staged, in the order of their kinds.
const (
	listPoint = iota
	listRow
	listLineage
	listHeld
	listExpiry
	listAging
	listRecord
	lists
)

// staged is what one act of the store writes beside the state: that of the commit in hand, and of the commits before it
// that wait to be stored with it. What is staged last of a key counts.
//
// Invariant: while commits wait, index finds the newest staged lineage of every source key that they changed.
type staged struct {
	slab   []byte
	lists  [lists][]write
	sorted [lists][]write // by sort
	index  stageIndex
	due    int64 // the earliest time that is staged for the expiry queue, 0 = none is
	aging  int64 // the earliest that is staged for the aging queue, 0 = none is
	undo   mark
	spare  [lists][]write // memory for sort

	dropPoints bool // the points go: the commit is a rewind
}

// write is one key to set or to delete: views into staged.slab.
type write struct {
	head       uint64 // the first bytes of the key after what all keys of the list share; set by sort
	key, value span
}

// deleted is the offset of the value of a write that deletes its key.
const deleted = 1<<32 - 1

func (w *write) deletes() bool { return w.value.off == deleted }

// writeCost is what a write takes beside its key and value, bytes: itself and its copy in order, and a lineage its share of the
// index.
const writeCost = 48

// mark is how far that was when a commit began.
type mark struct {
	slab       int
	lists      [lists]int
	due, aging int64
}

func (s *staged) at(p span) []byte { return s.slab[p.off : p.off+p.n : p.off+p.n] }

// begin notes where a commit begins, for rollback.
func (s *staged) begin() {
	s.undo = mark{slab: len(s.slab), due: s.due, aging: s.aging}
	for i := range s.lists {
		s.undo.lists[i] = len(s.lists[i])
	}
	s.index.undo = s.index.undo[:0]
}

// rollback takes back what was staged since begin.
func (s *staged) rollback() {
	s.slab, s.due, s.aging = s.slab[:s.undo.slab], s.undo.due, s.undo.aging
	for i := range s.lists {
		s.lists[i] = s.lists[i][:s.undo.lists[i]]
	}
	s.index.rollback()
}

// reset empties s. It keeps its memory unless that is more than keep bytes.
func (s *staged) reset(keep int) {
	if cap(s.slab) > keep {
		*s = staged{}
		return
	}
	s.slab, s.due, s.aging, s.dropPoints = s.slab[:0], 0, 0, false
	for i := range s.lists {
		s.lists[i] = s.lists[i][:0]
	}
	s.index.clear()
}

// expect readies s for so many bytes, that it need not be copied while it grows.
func (s *staged) expect(bytes int) {
	if cap(s.slab) >= bytes {
		return
	}
	s.slab = append(make([]byte, 0, bytes), s.slab...)
	s.index.room(s, bytes/512)
	for _, i := range []int{listRow, listLineage} {
		s.lists[i] = slices.Grow(s.lists[i], bytes/256)
	}
}

// bytes returns about how much memory what is staged takes.
func (s *staged) bytes() int {
	n := len(s.slab)
	for i := range s.lists {
		n += writeCost * len(s.lists[i])
	}
	return n
}

// mark returns where the next thing that is appended to the slab begins.
func (s *staged) mark() uint32 { return uint32(len(s.slab)) }

// set stages the key from from to mid of the slab with the value from there to its end.
func (s *staged) set(list int, from, mid uint32) {
	s.lists[list] = append(s.lists[list], write{key: span{from, mid - from}, value: span{mid, s.mark() - mid}})
}

// delete stages the deletion of the key from from to the end of the slab.
func (s *staged) delete(list int, from uint32) {
	s.lists[list] = append(s.lists[list], write{key: span{from, s.mark() - from}, value: span{off: deleted}})
}

// lineage returns the newest staged lineage of a source key, nil and true when it is staged to be deleted. staged is
// false when none is.
func (s *staged) lineage(hash uint64, source []byte) (value []byte, staged bool) {
	at, found := s.index.find(s, hash, source)
	if !found {
		return nil, false
	}
	w := &s.lists[listLineage][s.index.slots[at].at-1]
	if w.deletes() {
		return nil, true
	}
	return s.at(w.value), true
}

// noteLineage has index find the lineage that was staged last.
func (s *staged) noteLineage(hash uint64, source []byte) {
	at, _ := s.index.find(s, hash, source)
	s.index.put(at, hash, uint32(len(s.lists[listLineage])))
}

// noteTime notes that a time was staged for a queue.
func (s *staged) noteTime(kind byte, at int64) {
	first := &s.due
	if kind == kindAging {
		first = &s.aging
	}
	if *first == 0 || at < *first {
		*first = at
	}
}

// isDue says whether something that is staged may be due by what a state says.
func (s *staged) isDue(state *State) bool {
	return s.due != 0 && s.due <= state.ExpiredTo || s.aging != 0 && s.aging <= state.agedTo()
}

// sort sets sorted: each list in key order, with the newest write of each key only. The lists stay as they are, for lineage.
func (s *staged) sort() {
	var all sync.WaitGroup
	for i := range s.lists {
		if len(s.lists[i]) < longList {
			s.sorted[i] = s.inOrder(i)
			continue
		}
		all.Go(func() { s.sorted[i] = s.inOrder(i) })
	}
	all.Wait()
}

func (s *staged) inOrder(i int) []write {
	all := s.lists[i]
	if len(all) == 0 || s.ascends(all) {
		return all
	}
	if len(all) < longList {
		s.spare[i] = append(s.spare[i][:0], all...)
		slices.SortFunc(s.spare[i], s.compare)
	} else {
		s.spare[i] = s.order(all, s.spare[i])
	}
	all = s.spare[i]
	n := 0
	for i := range all {
		if i+1 < len(all) && all[i].head == all[i+1].head && bytes.Equal(s.at(all[i].key), s.at(all[i+1].key)) {
			continue
		}
		all[n] = all[i]
		n++
	}
	return all[:n]
}

// ascends sets the heads of a list, and says whether each key is greater than the one before.
func (s *staged) ascends(all []write) bool {
	s.heads(all)
	for i := range all[1:] {
		x, y := &all[i], &all[i+1]
		if x.head > y.head || x.head == y.head && bytes.Compare(s.at(x.key), s.at(y.key)) >= 0 {
			return false
		}
	}
	return true
}

// longList is how long a list is that is worth more than sorting in place.
const longList = 1 << 14

// order returns a list, whose heads are set, sorted, in the memory of spare if that is enough. It is first dealt out by the
// first two bytes of the heads, into pieces that fit a processor's cache.
func (s *staged) order(all, spare []write) []write {
	starts := make([]uint32, 1<<16+1)
	for i := range all {
		starts[all[i].head>>48+1]++
	}
	for i := range 1 << 16 {
		starts[i+1] += starts[i]
	}
	dealt := slices.Grow(spare[:0], len(all))[:len(all)]
	for i := range all {
		at := &starts[all[i].head>>48]
		dealt[*at] = all[i]
		*at++
	}
	from := uint32(0) // starts[i] is now where the piece of i ends
	for _, to := range starts[:1<<16] {
		if to-from > 1 {
			slices.SortFunc(dealt[from:to], s.compare)
		}
		from = to
	}
	return dealt
}

// compare orders by key, and what was staged later of one key after what was before.
func (s *staged) compare(x, y write) int {
	switch {
	case x.head < y.head:
		return -1
	case x.head > y.head:
		return 1
	}
	if c := bytes.Compare(s.at(x.key), s.at(y.key)); c != 0 {
		return c
	}
	return int(int64(x.key.off) - int64(y.key.off))
}

// each calls f for each of some writes. It touches what comes next ahead, a few at once: sorted, they lie all over the slab,
// and the waits for memory then overlap.
func (s *staged) each(all []write, f func(w *write) error) error {
	const ahead = 16
	touched := byte(0)
	defer func() { runtime.KeepAlive(touched) }()
	for block := range slices.Chunk(all, ahead) {
		for j := range block {
			touched += s.slab[block[j].key.off]
			if w := &block[j]; w.value.n > 64 {
				touched += s.slab[w.value.off+64]
			}
		}
		for j := range block {
			if err := f(&block[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// heads sets the heads of a list: the bytes of each key that follow what all of them begin with, so that most
// comparisons touch nothing else.
func (s *staged) heads(all []write) {
	same := s.at(all[0].key)
	for i := range all {
		k := s.at(all[i].key)
		if n := len(same); len(k) < n || !bytes.Equal(k[:n], same) {
			same = same[:commonPrefix(same, k)]
		}
	}
	for i := range all {
		all[i].head = head(s.at(all[i].key)[len(same):])
	}
}

// head returns the first eight bytes of b as a number, zeros where it has no more.
func head(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var all [8]byte
	copy(all[:], b)
	return binary.BigEndian.Uint64(all[:])
}

func commonPrefix(x, y []byte) int {
	n := min(len(x), len(y))
	for i := range n {
		if x[i] != y[i] {
			return i
		}
	}
	return n
}

// stageIndex is a hash table of the staged lineages. It is as large as the source keys that wait, and empty while none do.
type stageIndex struct {
	slots []slotOf
	n     int
	undo  []undone
}

// slotOf is one slot: tag is of the hash, so that most probes touch no key.
type slotOf struct {
	tag uint32
	at  uint32 // place in the list of lineages, counted from 1; 0 = free
}

// undone is a slot of stageIndex and what was there.
type undone struct{ slot, was uint32 }

// find returns the slot of a source key, or the free one where it belongs.
func (x *stageIndex) find(s *staged, hash uint64, source []byte) (slot uint32, found bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	mask, tag := uint32(len(x.slots)-1), uint32(hash>>32)
	for slot = uint32(hash) & mask; x.slots[slot].at != 0; slot = (slot + 1) & mask {
		if is := x.slots[slot]; is.tag == tag && bytes.Equal(s.at(s.lists[listLineage][is.at-1].key)[1:], source) {
			return slot, true
		}
	}
	return slot, false
}

// touch reads the slot where find begins.
func (x *stageIndex) touch(hash uint64) uint64 {
	if len(x.slots) == 0 {
		return 0
	}
	return uint64(x.slots[uint32(hash)&uint32(len(x.slots)-1)].tag)
}

func (x *stageIndex) put(slot uint32, hash uint64, at uint32) {
	was := x.slots[slot].at
	x.undo = append(x.undo, undone{slot, was})
	x.n += int(count(was == 0))
	x.slots[slot] = slotOf{uint32(hash >> 32), at}
}

// rollback frees slots in the order opposite to that in which they were taken, so that no probe is cut short.
func (x *stageIndex) rollback() {
	for _, u := range slices.Backward(x.undo) {
		x.n -= int(count(u.was == 0))
		x.slots[u.slot].at = u.was
	}
	x.undo = x.undo[:0]
}

func (x *stageIndex) clear() {
	clear(x.slots)
	x.n, x.undo = 0, x.undo[:0]
}

// room makes room for so many more source keys. What is staged already is put anew.
func (x *stageIndex) room(s *staged, more int) {
	if 2*(x.n+more) <= len(x.slots) {
		return
	}
	size := max(1024, len(x.slots))
	for size < 2*(x.n+more) {
		size *= 2
	}
	old := x.slots
	*x = stageIndex{slots: make([]slotOf, size), undo: x.undo[:0]}
	for _, is := range old {
		if is.at != 0 {
			source := s.at(s.lists[listLineage][is.at-1].key)[1:]
			h := hashSource(source)
			slot, _ := x.find(s, h, source)
			x.put(slot, h, is.at)
		}
	}
	x.undo = x.undo[:0]
}
