package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// graceful returns a context that the first SIGINT or SIGTERM ends. A second one ends the process at once: nothing is
// lost by that but the work since the last commit. stop gives the signals back.
func graceful(ctx context.Context, log *slog.Logger) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for first := true; ; first = false {
			select {
			case s := <-signals:
				if !first {
					log.Warn("killed by a second signal", "signal", s.String())
					os.Exit(exitFailed)
				}
				log.Info("stopping", "signal", s.String())
				cancel()
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
