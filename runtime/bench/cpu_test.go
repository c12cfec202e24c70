package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/foldrun/foldrun/runtime/rig"
)

type cost = rig.Cost

// measure runs f and says what it cost. It panics where the broker is gone.
func (b *broker) measure(n int, f func()) cost {
	c, err := b.Measure(n, func() error { f(); return nil })
	if err != nil {
		panic(err)
	}
	return c
}

// median returns the middle of what f says of all.
func median(all []cost, f func(cost) float64) float64 {
	v := make([]float64, len(all))
	for i, c := range all {
		v[i] = f(c)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// percentile returns the p-th percentile of all.
func percentile(all []time.Duration, p float64) time.Duration {
	slices.Sort(all)
	return all[min(int(p/100*float64(len(all))), len(all)-1)]
}

// report prints a line of the table.
func report(tb testing.TB, what string, all []cost, against []cost) {
	ratio := median(all, cost.Rate) / median(against, cost.Rate)
	tb.Logf("%-28s %8.0f updates/s  %.2f of the bare consumer  client %.2f µs  broker %.2f µs CPU an update (median of %d)",
		what, median(all, cost.Rate), ratio, median(all, cost.ClientMicro), median(all, cost.BrokerMicro), len(all))
}
