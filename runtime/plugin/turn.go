package plugin

import (
	"context"
	"slices"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// A guest that runs for long keeps its processor: Go's scheduler takes it away after ten milliseconds, and polls the
// network no more often while all are taken. So a guest that has had its turn sleeps where it yields, for as short as the
// system can: what waits goes first. Which guest sleeps changes no verdict.
const (
	longTurn  = longCall               // of running, before a pause
	dearTurn  = 200 * time.Microsecond // the same, in a call that is in the lane of the dear, or has taken long already
	turnPause = 50 * time.Microsecond
)

// turn counts how long a guest has run since its last pause.
type turn struct {
	begun time.Time     // of the call in hand, or of what came after its last pause; zero between calls
	ran   time.Duration // before that
	dear  bool          // the call is in the lane of the dear
	long  bool          // it has had a pause
}

func (t *turn) begin() { t.begun, t.long = time.Now(), false }

func (t *turn) end() {
	t.ran += time.Since(t.begun)
	t.begun = time.Time{}
}

// yield is called by a guest that yields.
func (t *turn) yield() {
	if t.begun.IsZero() {
		return // its start section runs
	}
	length := longTurn
	if t.dear || t.long {
		length = dearTurn
	}
	if t.ran+time.Since(t.begun) < length {
		return
	}
	time.Sleep(turnPause)
	t.ran, t.begun, t.long = 0, time.Now(), true
}

// withYields returns a context to compile modules with, which has their instances call turn.yield.
func withYields(ctx context.Context) context.Context {
	return experimental.WithFunctionListenerFactory(ctx, yields{})
}

type yields struct{}

// NewFunctionListener returns nil for all functions but the one that the meter has appended.
func (yields) NewFunctionListener(f api.FunctionDefinition) experimental.FunctionListener {
	if !slices.Contains(f.ExportNames(), fuel.YieldFunction) {
		return nil
	}
	return experimental.FunctionListenerFunc(func(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
		caller(ctx).turn.yield()
	})
}
