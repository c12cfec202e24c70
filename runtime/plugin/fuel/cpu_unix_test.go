//go:build unix

package fuel_test

import (
	"syscall"
	"time"
)

// cpu returns the CPU time that this process has used: a busy machine makes it no longer, as it does the clock's.
func cpu() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
