package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/testdata/cities"
)

const (
	bucket  = "cities"
	pending = 1024 // publishes that wait for their acknowledgement, at most
	// patience is how long a busy machine may take over acknowledgements; nats.go gives up after 200 ms by itself.
	patience = time.Minute
)

// makeBucket makes the bucket before the folds start, which would wait for it and say so.
func makeBucket(ctx context.Context, conn *source.Conn) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if _, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, Description: "GeoNames cities, for foldrun demo"}); err != nil {
		return fmt.Errorf("demo: create bucket %s: %w", bucket, err)
	}
	return nil
}

// load puts the data set into the bucket, telling progress how many records are in, unless the bucket has it already:
// then it returns false.
func load(ctx context.Context, conn *source.Conn, progress func(n int)) (loaded bool, err error) {
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(pending))
	if err != nil {
		return false, fmt.Errorf("demo: %w", err)
	}
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return false, fmt.Errorf("demo: bucket %s: %w", bucket, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return false, fmt.Errorf("demo: bucket %s: %w", bucket, err)
	}
	if status.Values() >= cities.Count {
		return false, nil
	}
	// A KV put is a publish to the key's subject; doing that without waiting for each answer is what makes it fast.
	n := 0
	err = cities.Each(func(key string, value []byte) error {
		if _, err := js.PublishAsync("$KV."+bucket+"."+key, value, jetstream.WithStallWait(patience)); err != nil {
			return err
		}
		n++
		progress(n)
		return ctx.Err()
	})
	if err != nil {
		return false, fmt.Errorf("demo: load: %w", err)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return false, ctx.Err()
	case <-time.After(patience):
		return false, errors.New("demo: load: the server did not acknowledge all records within a minute")
	}
	if left := js.PublishAsyncPending(); left > 0 {
		return false, fmt.Errorf("demo: load: %d records were not acknowledged", left)
	}
	return true, nil
}
