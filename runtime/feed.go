package runtime

import (
	"context"
	"errors"
	"sync"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// A Feed is a fold whose updates come from its caller, batch by batch, and not from a stream: for tests of a module. They
// go through the transform, the comparison and the commit of any fold, into a generation of its own. It is for one
// goroutine.
type Feed struct {
	pipe      *pipeline
	transform *transformer
	slot      *slot
}

// NewFeed compiles the module of a fold and opens its first generation. What refuses the module is a *Stop.
func NewFeed(ctx context.Context, dir *store.Dir, o FoldOptions) (*Feed, error) {
	f, err := NewFold(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	db, err := dir.Create(f.id)
	if err != nil {
		return nil, errors.Join(err, f.Close(ctx))
	}
	f.cur = f.follower(db, false)
	return &Feed{pipe: &pipeline{fold: f.cur, db: db}, transform: f.cur.transformer(), slot: newSlot(db.Indexes())}, nil
}

// Start starts an instance of the module, so that one that cannot start, or refuses its config, is found before the first
// update.
func (x *Feed) Start(ctx context.Context) error { return x.transform.worker.Warm(ctx) }

// Commit transforms a batch and commits what it yields, with the batch's position and clock. After an error of the store
// or a policy nothing more is to be committed.
func (x *Feed) Commit(ctx context.Context, b *source.Batch) (err error) {
	x.slot.in = b
	var worker sync.WaitGroup
	worker.Go(func() { x.transform.run(ctx, x.slot) })
	defer worker.Wait()
	for last := false; !last; {
		p := <-x.slot.parts
		if p.err != nil {
			p.err = &Stop{CodeModule, p.err}
		}
		if err == nil {
			err = p.err
		}
		if err == nil {
			_, err = x.pipe.store(ctx, p)
		}
		last = p.last
		x.slot.spare <- p.batch
	}
	return err
}

// Store returns the store that the feed commits into.
func (x *Feed) Store() *store.DB { return x.pipe.db }

// Close closes the store and the module.
func (x *Feed) Close(ctx context.Context) error {
	x.transform.worker.Close(ctx)
	return x.pipe.fold.Close(ctx)
}
