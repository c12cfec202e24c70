package serve

import (
	"context"
	"time"

	"github.com/foldrun/foldrun/runtime"
)

// An action waits so long for what becomes of it, and looks so often.
const (
	settleTime  = 10 * time.Second
	settleEvery = 20 * time.Millisecond
)

// settled waits until a fold shows what became of an action, but not for long, and returns how it stands then.
func settled(ctx context.Context, f operated, shows func(runtime.Status) bool) runtime.Status {
	late, again := time.NewTimer(settleTime), time.NewTicker(settleEvery)
	defer late.Stop()
	defer again.Stop()
	for {
		s := f.Status()
		if shows(s) {
			return s
		}
		select {
		case <-again.C:
		case <-late.C:
			return s
		case <-ctx.Done():
			return s
		}
	}
}

// standsStill says whether a fold does not go on until an operator says so.
func standsStill(s runtime.Status) bool {
	return s.State == runtime.StateStopped || s.State == runtime.StateHeld
}

// isPaused says whether a fold has finished what it had read, and is paused.
func isPaused(s runtime.Status) bool { return s.State == runtime.StatePaused }

// builds says whether a generation is being built, or waits for its turn, beside what serves, or cannot be.
func builds(s runtime.Status) bool {
	return standsStill(s) || s.State != runtime.StateStarting && s.Build != nil
}

// applied says whether what is configured serves, or is being built, or cannot be.
func applied(s runtime.Status) bool {
	return standsStill(s) || s.State != runtime.StateStarting && (s.Build != nil || s.Code == "")
}

// goesOn returns whether a fold that was at a seq does its work again, or cannot.
func goesOn(from uint64) func(runtime.Status) bool {
	return func(s runtime.Status) bool {
		return standsStill(s) || s.Build == nil && (s.CaughtUp || s.Seq > from)
	}
}
