package store

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// l0Depth is how many tables may lie above one another in L0 before Pebble compacts it by itself; it counts each twice.
	l0Depth = 10
	// heldDepth is the same of a build. Whoever opens the store again while it is that deep looks into all of them.
	heldDepth = 256
	// baseMemtables is the size, in memtables, up to which a store has no level between L0 and the lowest. Merging ten ingestions
	// writes it all anew then; with a level between, all of that would be written ten times on its way down, if less at a time.
	baseMemtables = 192
)

// building is what a build does about compactions. While commits wait and the source keys of the store are known in memory, no lineage
// is read, so that nobody minds how many tables lie above one another: compactions are held back, and each byte is merged once, at the
// end, not once for every ten ingestions.
type building struct {
	behind  bool         // the last commit might wait; owned by Commit
	held    atomic.Bool  // Pebble compacts nothing by itself
	deep    atomic.Bool  // heldDepth was reached
	merging atomic.Int32 // whether what was built is being merged, or about to be
}

// compactionsAtOnce is for Pebble: how many compactions there may be, and how many with those that are asked for. A second core is
// the fold's, not theirs.
func (db *DB) compactionsAtOnce() (own, most int) {
	if db.building.held.Load() {
		return 0, 1
	}
	return 1, 1
}

// only has the number of compactions depend on nothing else.
func (db *DB) only(o *pebble.Options) {
	o.CompactionConcurrencyRange = db.compactionsAtOnce
	o.Experimental.L0CompactionConcurrency = math.MaxInt
	o.Experimental.CompactionDebtConcurrency = math.MaxUint64
}

// holdBack is told whether the commit in hand may wait. It returns what is to be called once that is stored or waits.
func (x *building) holdBack(more, known bool) (ended bool) {
	ended = x.behind && !more
	x.behind = more
	if !more {
		x.deep.Store(false)
	}
	x.held.Store(more && known && !x.deep.Load())
	return ended
}

// depth returns how many tables lie above one another in L0.
func (db *DB) depth() int { return int(db.pebble.Metrics().Levels[0].Sublevels) }

// ingested lets compactions go on in a build that is too deep.
func (x *building) ingested(depth int) {
	if depth >= heldDepth {
		x.deep.Store(true)
		x.held.Store(false)
	}
}

// mergeBuilt merges what a build left, while commits and reads go on, if it is more than what Pebble leaves as it is.
func (db *DB) mergeBuilt(quota int64) {
	depth := db.depth()
	if depth < l0Depth {
		return
	}
	db.building.merging.Add(1)
	go func() {
		defer db.building.merging.Add(-1)
		start := time.Now()
		did, err := db.compact(db.life, &pace{}, CompactOptions{Quota: quota})
		switch {
		case err == nil:
			db.env.Log.Info("build merged", "path", db.path, "tables", depth, "left", did.After, "written", did.Written, "took", time.Since(start))
		case !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled):
			db.env.Log.Warn("build not merged: reads are slower than they could be", "path", db.path, "err", err)
		}
	}()
}
