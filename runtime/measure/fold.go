package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// fold is a fold of the bucket that runs, over a store of its own.
type fold struct {
	*runtime.Fold
	path string
	dir  *store.Dir
	stop func() error
}

// build folds the bucket from its beginning, and checks what that made. The caller ends the fold.
func (b *bench) build(ctx context.Context) (f *fold, err error) {
	built, err := b.broker.Measure(b.Updates, func() error {
		if f, err = b.start(ctx); err != nil {
			return err
		}
		return rig.Wait(ctx, f.Fold, uint64(b.Updates))
	})
	if err == nil {
		b.built = append(b.built, built)
		err = b.settle(ctx, f)
	}
	switch {
	case err == nil:
		return f, nil
	case f != nil:
		err = errors.Join(err, f.end())
	}
	return nil, fmt.Errorf("measure: build: %w", err)
}

// settle waits until the store of the last build is at rest, and checks it.
func (b *bench) settle(ctx context.Context, f *fold) error {
	rest, err := b.broker.Measure(b.Updates, func() error { return f.Store().Settle(ctx) })
	if err != nil {
		return err
	}
	b.settled = append(b.settled, b.built[len(b.built)-1].And(rest))
	digest, err := rig.Check(f.Fold, b.Updates)
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
	f, stop, err := rig.Run(ctx, d, runtime.FoldOptions{Name: "bench", Conn: b.server.Conn,
		Source: source.Options{Bucket: b.bucket, Domain: b.server.Domain}, Wasm: wasm})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &fold{f, path, d, stop}, nil
}

// end ends the fold and removes its store.
func (f *fold) end() error {
	return errors.Join(f.stop(), f.dir.Close(), os.RemoveAll(f.path))
}
