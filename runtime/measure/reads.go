package measure

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/store"
)

// scanned is how many rows a scan reads.
const scanned = 40

// lookUp measures reads of rows beside gets of the bucket, which are fewer: each is a round trip. Each read has a view of its
// own, as a query has.
func (b *bench) lookUp(ctx context.Context, f *fold) ([]Figure, error) {
	var fromBucket, gets, scans []time.Duration
	for i := range b.Reads {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := rand.IntN(b.Updates)
		if i%10 == 0 {
			start := time.Now()
			if _, err := b.kv.Get(ctx, rig.Key(n)); err != nil {
				return nil, fmt.Errorf("measure: get from the bucket: %w", err)
			}
			fromBucket = append(fromBucket, time.Since(start))
		}
		start := time.Now()
		if err := f.get(derived(rig.Key(n), value(n))); err != nil {
			return nil, err
		}
		gets = append(gets, time.Since(start))
		n = rand.IntN(b.Updates) // another: the row of the get is in the cache now
		start = time.Now()
		rows, err := f.scan(derived(rig.Key(n), value(n)))
		if err != nil {
			return nil, err
		}
		if rows == scanned { // the index may end sooner
			scans = append(scans, time.Since(start))
		}
	}
	if len(scans) == 0 {
		return nil, fmt.Errorf("measure: no scan found %d rows", scanned)
	}
	b.Tell(fmt.Sprintf("%d rows read, and %d scans", len(gets), len(scans)))
	get, bucket, scan := percentile(gets, 50), percentile(fromBucket, 50), percentile(scans, 50)
	return []Figure{
		latency("get", get, "get from the bucket", bucket),
		latency("scan-40", scan, "40 gets of rows", scanned*get),
	}, nil
}

// get reads the row of a key.
func (f *fold) get(key []byte) error {
	v, err := f.Store().View()
	if err != nil {
		return err
	}
	defer v.Close()
	n := 0
	if err := v.Get(0, key, store.Range{}, func(store.Row) bool { n++; return true }); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("measure: %d rows of key %q", n, key)
	}
	return nil
}

// scan reads rows from a key on, and returns how many there were.
func (f *fold) scan(from []byte) (n int, err error) {
	v, err := f.Store().View()
	if err != nil {
		return 0, err
	}
	defer v.Close()
	err = v.Scan(0, store.Range{Start: from}, func(store.Row) bool { n++; return n < scanned })
	return n, err
}

// live measures from a put to its row being readable, beside a bare watcher that has the same put. The values are from the
// put's return, as a client that waits for its own write sees it. The watcher often has it sooner than that: so the ratio
// is of the times from the put's call.
func (b *bench) live(ctx context.Context, f *fold) ([]Figure, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen, stop, err := b.watch(ctx)
	if err != nil {
		return nil, fmt.Errorf("measure: watch: %w", err)
	}
	defer stop()
	var rows, watcher timings
	for i := range b.Puts {
		n := rand.IntN(b.Updates)
		v := value(n + (i+1)*b.Updates)
		called := time.Now()
		seq, err := b.kv.Put(ctx, rig.Key(n), v)
		if err != nil {
			return nil, fmt.Errorf("measure: put: %w", err)
		}
		put := time.Now()
		if err := rig.Wait(ctx, f.Fold, seq); err != nil {
			return nil, fmt.Errorf("measure: live: %w", err)
		}
		if err := f.get(derived(rig.Key(n), v)); err != nil {
			return nil, err
		}
		rows.add(called, put, time.Now())
		select {
		case at := <-seen:
			watcher.add(called, put, at)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.Tell(fmt.Sprintf("%d puts, each read when it was a row", b.Puts))
	return []Figure{rows.beside(&watcher, "live-p50", 50), rows.beside(&watcher, "live-p99", 99)}, nil
}

// watch sends when a bare watcher has a put, until ctx is done. stop returns when nothing is sent any more.
func (b *bench) watch(ctx context.Context) (seen <-chan time.Time, stop func(), err error) {
	w, err := b.kv.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		return nil, nil, err
	}
	times, over := make(chan time.Time, 1), make(chan struct{})
	go func() {
		defer close(over)
		for u := range w.Updates() {
			if u == nil {
				continue
			}
			select {
			case times <- time.Now():
			case <-ctx.Done():
				return
			}
		}
	}()
	return times, func() { w.Stop(); <-over }, nil
}

// timings are of puts: to when something was there, from the put's call and from its return.
type timings struct{ fromCall, fromReturn []time.Duration }

func (t *timings) add(called, returned, there time.Time) {
	t.fromCall = append(t.fromCall, there.Sub(called))
	t.fromReturn = append(t.fromReturn, max(there.Sub(returned), 0))
}

func (t *timings) beside(x *timings, name string, p float64) Figure {
	f := latency(name, percentile(t.fromReturn, p), "watcher", percentile(x.fromReturn, p))
	f.Ratio = rounded(percentile(x.fromCall, p).Seconds() / percentile(t.fromCall, p).Seconds())
	return f.judged()
}
