//go:build !unix

package fuel_test

import "time"

var start = time.Now()

// cpu returns how long this process has run: what of it was its own is not to be had here.
func cpu() time.Duration { return time.Since(start) }
