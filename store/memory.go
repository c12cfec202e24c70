package store

import (
	"fmt"

	"github.com/foldrun/foldrun/hint"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// What a fold needs at least, and what it never uses more of.
const (
	minMemtable, maxMemtable = 1 * mib, 64 * mib
	minBatch, maxBatch       = 256 * kib, 8 * mib
	minCache                 = 8 * mib
	memtables                = 3 // one that fills, two that wait for their flush; writes stop at a fourth
	instanceShare            = 4 * mib
)

// Memory is how the one budget is split among what uses memory. All sizes are bytes. Pebble reserves memtables out of
// the block cache that it is given, so that Cache is what it is given less the memtables: what is left for blocks.
type Memory struct {
	Total     int64
	Folds     int
	Cache     int64 // blocks, shared by all folds
	Memtable  int64 // one memtable; a fold has up to three, or what waits to be stored instead (Batch.More)
	Batch     int64 // the slab of one batch; a fold has Batches of them, each with its output beside it
	Batches   int   // batches in flight, a fold
	Instances int64 // set aside for guests
}

// beside is what is left of a budget for Go's garbage and for the program itself, bytes.
func beside(total int64) int64 { return total / 4 }

// open is how many generations may be written at once: one a fold, and one that is built beside its current one.
func (m Memory) open() int64 { return int64(m.Folds) + 1 }

// SplitMemory splits total bytes among folds. A cache above 0 fixes the block cache. It refuses a budget that cannot
// work and says how much would.
func SplitMemory(total int64, folds int, cache int64) (Memory, error) {
	m := Memory{Total: total, Folds: max(folds, 1), Batches: 4}
	n := m.open()
	m.Instances = instanceShare * n
	rest := m.Instances + n*(memtables*minMemtable+int64(m.Batches)*2*minBatch)
	need := max(cache, minCache) + rest
	if total < need && total >= minCache+rest {
		return m, hint.Error(fmt.Errorf("cache_size of %d MiB leaves too little of a memory budget of %d MiB for the rest, %d MiB", cache/mib, total/mib, (rest+mib-1)/mib),
			"set [store] cache_size to at most %d MiB, or memory to %d MiB or more", (total-rest)/mib, (need+mib-1)/mib)
	}
	if total < need {
		return m, hint.Error(fmt.Errorf("memory budget of %d MiB is too small for the number of folds, %d", total/mib, m.Folds),
			"set [store] memory to %d MiB or more, or run fewer folds here", (need+mib-1)/mib)
	}
	free := total - m.Instances - cache
	m.Memtable = min(max(free*2/5/n/memtables, minMemtable), maxMemtable)
	m.Batch = min(max(free/5/n/int64(2*m.Batches), minBatch), maxBatch)
	m.Cache = cache
	if cache == 0 {
		m.Cache = max(total-m.Instances-m.Memtables()-m.Slabs()-beside(total), minCache)
	}
	return m, nil
}

// Memtables returns the memtables of all folds and of one build, bytes.
func (m Memory) Memtables() int64 { return m.open() * memtables * m.Memtable }

// Slabs returns the batches in flight of all folds and of one build, with their output, bytes.
func (m Memory) Slabs() int64 { return m.open() * int64(m.Batches) * 2 * m.Batch }
