package plugin

import (
	"context"
	"runtime"
)

// dear holds a place for each guest that may run for long: for those that are judged alone, which have all the fuel that a
// record may use. There is one place less than there are processors, so that a fold whose records are endless leaves one
// to the others, whatever its workers are.
var dear = make(lane, max(runtime.GOMAXPROCS(0)-1, 1))

type lane chan struct{}

// enter waits for a place.
func (l lane) enter(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lane) leave() { <-l }
