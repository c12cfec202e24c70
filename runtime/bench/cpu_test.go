package bench

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpu returns the CPU time that this process has used.
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// cpuOf returns the CPU time that a process has used, 0 where the system does not say.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100)
}

// cost is what one run of something over n updates took.
type cost struct {
	n              int
	wall           time.Duration
	client, broker time.Duration // CPU
}

// measure runs f and says what it cost.
func (b *broker) measure(n int, f func()) cost {
	wall, own, its := time.Now(), cpu(), cpuOf(b.pid)
	f()
	return cost{n, time.Since(wall), cpu() - own, cpuOf(b.pid) - its}
}

// and adds what went on with the same updates.
func (c cost) and(x cost) cost {
	return cost{c.n, c.wall + x.wall, c.client + x.client, c.broker + x.broker}
}

func (c cost) rate() float64        { return float64(c.n) / c.wall.Seconds() }
func (c cost) clientMicro() float64 { return float64(c.client.Microseconds()) / float64(c.n) }
func (c cost) brokerMicro() float64 { return float64(c.broker.Microseconds()) / float64(c.n) }

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
	ratio := median(all, cost.rate) / median(against, cost.rate)
	tb.Logf("%-28s %8.0f updates/s  %.2f of the bare consumer  client %.2f µs  broker %.2f µs CPU an update (median of %d)",
		what, median(all, cost.rate), ratio, median(all, cost.clientMicro), median(all, cost.brokerMicro), len(all))
}
