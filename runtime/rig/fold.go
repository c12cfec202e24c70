package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// Run makes a fold in a data directory and runs it until ctx is done, or end is called, which leaves the directory open.
func Run(ctx context.Context, d *store.Dir, o runtime.FoldOptions) (f *runtime.Fold, end func() error, err error) {
	if f, err = runtime.NewFold(ctx, d, o); err != nil {
		return nil, nil, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- f.Run(running) }()
	return f, func() error {
		stop()
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		return errors.Join(<-ended, f.Close(ctx))
	}, nil
}

// Wait waits until a fold has folded up to seq.
func Wait(ctx context.Context, f *runtime.Fold, seq uint64) error {
	for {
		moved := f.Moved()
		if db := f.Store(); db != nil && db.State().Position().Seq >= seq {
			return nil
		}
		select {
		case <-moved:
		case <-time.After(10 * time.Millisecond): // the store opens without moving, and a stop moves nothing
			if s := f.Status(); s.State == runtime.StateStopped {
				return fmt.Errorf("the fold stopped: %s: %s", s.Code, s.Reason)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Check checks a fold's store of n rows, and returns the digest of its first index.
func Check(f *runtime.Fold, n int) (digest string, err error) {
	r, err := f.Store().Check()
	if err != nil {
		return "", err
	}
	if r.Found > 0 || r.Rows != uint64(n) {
		return "", fmt.Errorf("the store is not what it should be: %d problems, %d rows of %d", r.Found, r.Rows, n)
	}
	return f.Status().Indexes[0].Digest.String(), nil
}
