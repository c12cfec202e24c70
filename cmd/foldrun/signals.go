package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// settle is how long after the first signal another one is taken for the same wish: a terminal and `timeout` send a
// signal to a whole group of processes and then to the process, and people hold Ctrl-C down.
const settle = 500 * time.Millisecond

// graceful returns a context that the first SIGINT or SIGTERM ends. One that comes later than settle after it ends the
// process at once: nothing is lost by that but the work since the last commit. stop gives the signals back.
func graceful(ctx context.Context, log *slog.Logger) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		var first time.Time
		for {
			select {
			case s := <-signals:
				switch now := time.Now(); {
				case first.IsZero():
					first = now
					log.Info("stopping", "signal", s.String())
					cancel()
				case again(first, now):
					log.Warn("killed by a second signal", "signal", s.String())
					os.Exit(exitFailed)
				}
			case <-over:
				return
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		watching.Wait()
		cancel()
	}
}

// again reports whether a signal is a second wish.
func again(first, now time.Time) bool { return now.Sub(first) >= settle }
