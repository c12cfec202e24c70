package runtime

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go's heap may hold as much garbage as what lives in it, by default. What lives is mostly what waits to be stored and batches,
// which are kept and hold no pointers: to find them alive costs nothing, and to have as much again costs the operator memory.
const (
	mostGarbage  = 64 << 20 // bytes, until leastPercent
	leastPercent = 12       // of what lives
	heapEvery    = time.Second
)

// BoundGarbage keeps the garbage in the process's heap at 64 MiB or an eighth of what lives, whichever is more, until ctx is done.
// Where the environment sets GOGC it does nothing.
func BoundGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	tick := time.NewTicker(heapEvery)
	defer tick.Stop()
	live, is := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}, 100
	for {
		metrics.Read(live)
		if p := gcPercent(live[0].Value.Uint64()); p != is {
			debug.SetGCPercent(p)
			is = p
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// gcPercent is how much garbage there may be for what lives, in percent of that, in tens but for the least.
func gcPercent(live uint64) int {
	p := int(100 * mostGarbage / max(live, mostGarbage))
	return max(p/10*10, leastPercent)
}
