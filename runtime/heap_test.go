package runtime

import (
	"context"
	"runtime/debug"
	"testing"
)

// TestGCPercent: much that lives may have little garbage beside it, little as much again.
func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 100}, {20 << 20, 100}, {64 << 20, 100}, {65 << 20, 90}, {128 << 20, 50}, {200 << 20, 30}, {256 << 20, 20}, {8 << 30, 12}} {
		if p := gcPercent(c.live); p != c.want {
			t.Errorf("%d MiB: %d, want %d", c.live>>20, p, c.want)
		}
	}
}

// TestBoundGarbage: when it is over, the heap is bounded as before.
func TestBoundGarbage(t *testing.T) {
	t.Setenv("GOGC", "")
	was := debug.SetGCPercent(80)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	BoundGarbage(ctx)
	if is := debug.SetGCPercent(was); is != 80 {
		t.Errorf("%d percent after it, not 80", is)
	}
}
