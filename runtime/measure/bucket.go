package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/rig"
)

const (
	patience = time.Minute      // how long a busy server may take to make a bucket
	grace    = 20 * time.Second // how long what was started may take to end
	size     = 128              // bytes of a value
)

// makeBucket makes a bucket that nobody else has. Making one that is there already with the same configuration would be no error, so that its
// description, which is as random as its name, makes the configuration nobody else's.
func (b *bench) makeBucket(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name := fmt.Sprintf("foldrun_bench_%016x", rand.Uint64())
	b.kv, err = b.server.JS.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Description: fmt.Sprintf("foldrun bench; may go when none runs (%016x)", rand.Uint64())})
	b.bucket = name
	switch {
	case errors.Is(err, jetstream.ErrBucketExists):
		return fmt.Errorf("measure: make bucket %s: %w", name, err)
	case err != nil: // of which it may have been made all the same
		b.removeBucket()
		return fmt.Errorf("measure: make bucket %s: %w", name, err)
	}
	return nil
}

// removeBucket removes the bucket from a server of the user's, also when the measurement was stopped.
func (b *bench) removeBucket() error {
	if b.broker != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := b.server.JS.DeleteKeyValue(ctx, b.bucket); err != nil {
		return fmt.Errorf("measure: bucket %s is left on the server: %w", b.bucket, err)
	}
	return nil
}

// fill puts every key once.
func (b *bench) fill(ctx context.Context) error {
	start := time.Now()
	if err := b.publish(ctx); err != nil {
		return fmt.Errorf("measure: fill bucket %s: %w", b.bucket, err)
	}
	b.Tell(fmt.Sprintf("bucket %s has %d updates after %.1f s", b.bucket, b.Updates, time.Since(start).Seconds()))
	return nil
}

func (b *bench) publish(ctx context.Context) error {
	if err := b.server.Publish(ctx, b.bucket, b.Updates, value); err != nil {
		return err
	}
	s, err := b.kv.Status(ctx)
	if err == nil && s.Values() != uint64(b.Updates) {
		err = fmt.Errorf("it has %d of %d updates", s.Values(), b.Updates)
	}
	return err
}

func value(i int) []byte { return rig.Value(i, size) }

// derived is the key of the row that the module makes of a source key with a value.
func derived(key string, value []byte) []byte { return append(append(value[:8:8], '/'), key...) }

// drains reads the bucket twice with nats.go's ordered consumer, which only counts: A against A.
func (b *bench) drains(ctx context.Context) error {
	for _, all := range []*[]rig.Cost{&b.bare, &b.again} {
		c, err := b.broker.Measure(b.Updates, func() error { return b.server.Drain(ctx, b.bucket, 1, b.Updates) })
		if err != nil {
			return fmt.Errorf("measure: bare consumer: %w", err)
		}
		*all = append(*all, c)
	}
	return nil
}
