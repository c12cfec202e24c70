package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// fold is a fold of the bucket that runs, over a store of its own.
type fold struct {
	*runtime.Fold
	path  string
	dir   *store.Dir
	stop  context.CancelFunc
	ended chan error
}

// build folds the bucket from its beginning, and checks what that made. The caller ends the fold.
func (b *bench) build(ctx context.Context) (f *fold, err error) {
	start := time.Now()
	if f, err = b.start(ctx); err != nil {
		return nil, fmt.Errorf("measure: build: %w", err)
	}
	if err := b.builds(ctx, f, start); err != nil {
		return nil, errors.Join(fmt.Errorf("measure: build: %w", err), f.end())
	}
	return f, nil
}

func (b *bench) builds(ctx context.Context, f *fold, start time.Time) error {
	if err := f.wait(ctx, uint64(b.Updates)); err != nil {
		return err
	}
	b.built = append(b.built, time.Since(start))
	if err := f.Store().Settle(ctx); err != nil {
		return err
	}
	b.settled = append(b.settled, time.Since(start))
	digest, err := f.check(b.Updates)
	switch {
	case err != nil:
		return err
	case b.digest != "" && digest != b.digest:
		return fmt.Errorf("the digest is %s, and that of the first build %s", digest, b.digest)
	}
	b.digest = digest
	return ctx.Err()
}

// start runs a fold with what foldrun does by default: fuel, lineage, digests, and a commit that is on the disk.
func (b *bench) start(ctx context.Context) (*fold, error) {
	m, err := store.SplitMemory(b.Memory, 1, 0)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(b.dir, fmt.Sprintf("data-%d", len(b.built)))
	d, err := store.OpenDir(path, store.Options{Memory: m})
	if err != nil {
		return nil, err
	}
	f, err := runtime.NewFold(ctx, d, runtime.FoldOptions{Name: "bench", Conn: b.conn,
		Source: source.Options{Bucket: b.bucket, Domain: b.domain}, Wasm: wasm})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	running, stop := context.WithCancel(ctx)
	r := &fold{f, path, d, stop, make(chan error, 1)}
	go func() { r.ended <- f.Run(running) }()
	return r, nil
}

// end ends the fold and removes its store.
func (f *fold) end() error {
	f.stop()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return errors.Join(<-f.ended, f.Close(ctx), f.dir.Close(), os.RemoveAll(f.path))
}

// wait waits until the fold has folded up to seq.
func (f *fold) wait(ctx context.Context, seq uint64) error {
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

// check checks a store of n rows, and returns its digest.
func (f *fold) check(n int) (digest string, err error) {
	r, err := f.Store().Check()
	if err != nil {
		return "", err
	}
	if r.Found > 0 || r.Rows != uint64(n) {
		return "", fmt.Errorf("the store is not what it should be: %d problems, %d rows of %d", r.Found, r.Rows, n)
	}
	return f.Status().Indexes[0].Digest.String(), nil
}
