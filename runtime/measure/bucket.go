package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pending  = 4096        // publishes that wait for their acknowledgement, at most
	patience = time.Minute // how long a busy server may take over one
	pulls    = 20_000      // messages that the bare consumer asks for at a time
)

// makeBucket makes a bucket that nobody else has. Making one that is there already with the same configuration would be no error, so that its
// description, which is as random as its name, makes the configuration nobody else's.
func (b *bench) makeBucket(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name := fmt.Sprintf("foldrun_bench_%016x", rand.Uint64())
	b.kv, err = b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Description: fmt.Sprintf("foldrun bench; may go when none runs (%016x)", rand.Uint64())})
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
	if b.own {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := b.js.DeleteKeyValue(ctx, b.bucket); err != nil {
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

// publish puts as nats.go does, by a publish to the key's subject, and does not wait for each answer, which makes it fast.
func (b *bench) publish(ctx context.Context) error {
	prefix := "$KV." + b.bucket + "."
	if b.domain != "" {
		prefix = "$JS." + b.domain + ".API." + prefix
	}
	for i := range b.Updates {
		if err := errors.Join(ctx.Err(), b.lost.error()); err != nil {
			return err
		}
		if _, err := b.js.PublishAsync(prefix+key(i), value(i), jetstream.WithStallWait(patience)); err != nil {
			return err
		}
	}
	select {
	case <-b.js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return fmt.Errorf("%d updates were not acknowledged within %s", b.js.PublishAsyncPending(), patience)
	}
	if err := b.lost.error(); err != nil {
		return err
	}
	s, err := b.kv.Status(ctx)
	if err == nil && s.Values() != uint64(b.Updates) {
		err = fmt.Errorf("it has %d of %d updates", s.Values(), b.Updates)
	}
	return err
}

// failure is the first error of publishing.
type failure struct {
	mu  sync.Mutex
	err error
}

func (f *failure) note(_ jetstream.JetStream, _ *nats.Msg, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *failure) error() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// key is the i-th source key, of 16 bytes.
func key(i int) string { return fmt.Sprintf("key-%012d", i) }

// value returns 128 bytes that depend on i, and do not compress to nothing. Eight of them, in another order than the keys,
// are what the module keys by.
func value(i int) []byte {
	const size = 128
	x := uint64(i)*0x9e3779b97f4a7c15 + 1
	v := strconv.AppendUint(make([]byte, 0, size+16), x, 36)
	for len(v) < size {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v = strconv.AppendUint(v, x, 36)
	}
	return v[:size]
}

// derived is the key of the row that the module makes of a source key with a value.
func derived(key string, value []byte) []byte { return append(append(value[:8:8], '/'), key...) }

// drains reads the bucket twice with nats.go's ordered consumer, which only counts: A against A.
func (b *bench) drains(ctx context.Context) error {
	for _, all := range []*[]time.Duration{&b.bare, &b.again} {
		start := time.Now()
		if err := b.drain(ctx); err != nil {
			return fmt.Errorf("measure: bare consumer: %w", err)
		}
		*all = append(*all, time.Since(start))
	}
	return nil
}

func (b *bench) drain(ctx context.Context) error {
	c, err := b.js.OrderedConsumer(ctx, "KV_"+b.bucket, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	done, seen := make(chan struct{}), 0
	cc, err := c.Consume(func(jetstream.Msg) {
		if seen++; seen == b.Updates {
			close(done)
		}
	}, jetstream.PullMaxMessages(pulls))
	if err != nil {
		return err
	}
	defer cc.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
