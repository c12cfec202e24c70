package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/foldrun/foldrun/store"
)

const (
	// compactAfter is how long a fold stands before its store is compacted for its readers.
	compactAfter = 5 * time.Second
	// standsBelow is how much may be committed a second of a fold that stands, bytes: less than a sixteenth of what a compaction
	// merges meanwhile (docs/performance.md), so that it ends, and a trickle of updates does not keep it off.
	standsBelow = 2 << 20
	// standsEvery is the least time over which that is measured.
	standsEvery = 200 * time.Millisecond
)

// A lull is a time in which a fold stands: it serves, has caught up, and commits little.
type lull struct {
	fold   *follower
	at     time.Time // of the last look
	bytes  uint64    // committed by then
	stands bool
	since  time.Time // if so since when, and with no compaction of Pebble's own
}

func (l *lull) look(now time.Time) {
	took := now.Sub(l.at)
	if took < standsEvery {
		return
	}
	m, open := l.fold.db.Metrics()
	l.stands = open && l.calm(m.Committed, took) && l.fold.serves() && l.fold.caughtUp()
	l.at, l.bytes = now, m.Committed
	if !l.stands || m.Compacting > 0 || l.since.IsZero() {
		l.since = now
	}
}

// calm says whether little was committed since the last look.
func (l *lull) calm(bytes uint64, took time.Duration) bool {
	return float64(bytes-l.bytes) <= standsBelow*took.Seconds()
}

// goesOn says whether the fold still stands.
func (l *lull) goesOn() bool {
	l.look(time.Now())
	return l.stands
}

// serves says whether the generation answers reads.
func (g *follower) serves() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.Fold.cur == g
}

// compactLater has the store compacted whenever the fold stands, until ctx is done.
func (g *follower) compactLater(ctx context.Context) {
	tick := time.NewTicker(max(g.compactAfter/5, standsEvery))
	defer tick.Stop()
	l, failed := &lull{fold: g}, false
	for {
		select {
		case now := <-tick.C:
			if l.look(now); l.stands && now.Sub(l.since) >= g.compactAfter {
				failed = g.compact(ctx, l, failed)
			}
		case <-ctx.Done():
			return
		}
	}
}

// compact has the store compacted for as long as the fold stands. It returns whether that failed, which is told unless it had
// before.
func (g *follower) compact(ctx context.Context, l *lull, before bool) (failed bool) {
	start := time.Now()
	did, err := g.db.Compact(ctx, store.CompactOptions{Quota: g.opt.DiskQuota, While: l.goesOn})
	switch {
	case ctx.Err() != nil, errors.Is(err, store.ErrClosed):
		return before
	case err != nil:
		l.since = time.Now()
		if !before {
			g.log.Warn("store not compacted: reads are slower than they could be", "generation", g.db.Generation(), "err", err)
		}
		return true
	case did.Steps > 0:
		g.log.Info("store compacted", "generation", g.db.Generation(), "tables", did.Before, "left", did.After, "steps", did.Steps,
			"written", did.Written, "took", time.Since(start))
	}
	return false
}
