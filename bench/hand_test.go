package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
	"github.com/foldrun/foldrun/testdata/modules"
)

// hand is the program that is written by hand: it watches the bucket, and commits what an update yields as it comes, with its lineage
// and the cursor, in one batch.
//
//	r derived key -> value
//	l source key  -> derived key
//	c             -> seq
type hand struct {
	db   *pebble.DB
	sync *pebble.WriteOptions

	row, lineage, cursor []byte
}

func openHand(path string, sync *pebble.WriteOptions) (*hand, error) {
	cache := pebble.NewCache(256 << 20)
	defer cache.Unref()
	o := &pebble.Options{Cache: cache, MemTableSize: 64 << 20, MaxOpenFiles: 1000, Logger: silent{}}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(path, o)
	return &hand{db: db, sync: sync}, err
}

// silent is a log that nobody reads.
type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// watch applies the first n updates of a bucket.
func (h *hand) watch(kv jetstream.KeyValue, n int) error {
	w, err := kv.WatchAll(background)
	if err != nil {
		return err
	}
	defer w.Stop()
	for u := range w.Updates() {
		if u == nil {
			continue // that was all there was
		}
		if err := h.apply(u); err != nil {
			return err
		}
		if n--; n == 0 {
			return nil
		}
	}
	return errors.New("the watch ended")
}

func (h *hand) apply(u jetstream.KeyValueEntry) error {
	b := h.db.NewBatch()
	defer b.Close()
	h.lineage = append(append(h.lineage[:0], 'l'), u.Key()...)
	old, c, err := h.db.Get(h.lineage)
	if err == nil {
		err = errors.Join(b.Delete(old, nil), c.Close())
	}
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	if u.Operation() == jetstream.KeyValuePut {
		h.row = append(append(h.row[:0], 'r'), rekey(u.Key(), u.Value())...)
		err = errors.Join(b.Set(h.row, u.Value(), nil), b.Set(h.lineage, h.row, nil))
	} else {
		err = b.Delete(h.lineage, nil)
	}
	h.cursor = binary.BigEndian.AppendUint64(h.cursor[:0], u.Revision())
	return errors.Join(err, b.Set([]byte("c"), h.cursor, nil), b.Commit(h.sync))
}

// rekey is what the module does.
func rekey(key string, value []byte) []byte {
	return append(append(value[:8:8], '/'), key...)
}

// compare holds the rows of the program against those of a fold of as many updates.
func (h *hand) compare(tb testing.TB, f *runtime.Fold) {
	it, err := h.db.NewIter(&pebble.IterOptions{LowerBound: []byte("r"), UpperBound: []byte("s")})
	must(tb, err)
	v, err := f.Store().View()
	must(tb, err)
	defer v.Close()
	it.First()
	must(tb, v.Scan(0, store.Range{}, func(r store.Row) bool {
		if !it.Valid() || !bytes.Equal(it.Key()[1:], r.Key) || !bytes.Equal(it.Value(), r.Value) {
			tb.Fatalf("the fold has %q: %q, the program another", r.Key, r.Value)
		}
		it.Next()
		return true
	}))
	if it.Valid() {
		tb.Fatalf("the program has %q, the fold not", it.Key()[1:])
	}
	must(tb, it.Close())
}

// BenchmarkHand builds an index of a bucket by a fold and by the program that is written by hand, without syncing, and syncing each
// update, round by round. The program's rows are held against the fold's.
func BenchmarkHand(b *testing.B) {
	broker, server := startBroker(b)
	kv, err := server.JS.CreateKeyValue(background, jetstream.KeyValueConfig{Bucket: "bench"})
	must(b, err)
	must(b, server.Publish(background, "bench", *updates, func(i int) []byte { return rig.Value(i, 128) }))
	drain := func() rig.Cost {
		c, err := broker.Measure(*updates, func() error { return server.Drain(background, "bench", 1, *updates) })
		must(b, err)
		return c
	}
	var bare, again, fold, free, slow []rig.Cost
	for b.Loop() {
		for range *rounds {
			bare = append(bare, drain())
			f, end, c := buildFold(b, broker, server)
			fold = append(fold, c)
			free = append(free, byHand(b, broker, kv, *updates, pebble.NoSync, f))
			end()
			slow = append(slow, byHand(b, broker, kv, min(*synced, *updates), pebble.Sync, nil))
			again = append(again, drain())
		}
	}
	for _, x := range []struct {
		name string
		all  []rig.Cost
		bar  float64
	}{{"bare ordered consumer", bare, 0}, {"the same again", again, 0}, {"fold", fold, 0}, {"by hand, not synced", free, 2.5}, {"by hand, each synced", slow, 60}} {
		b.Logf("%-22s %8.0f updates/s  the fold is %6.2f times as fast [%.1f]  client %.2f µs  broker %.2f µs CPU an update (median of %d)", x.name,
			median(x.all, rig.Cost.Rate), median(fold, rig.Cost.Rate)/median(x.all, rig.Cost.Rate), x.bar,
			median(x.all, rig.Cost.ClientMicro), median(x.all, rig.Cost.BrokerMicro), len(x.all))
	}
	b.ReportMetric(0, "ns/op")
}

// buildFold folds the bucket into an empty store, checks what that made, and says what it cost.
func buildFold(b *testing.B, broker *rig.Broker, server *rig.Server) (f *runtime.Fold, end func(), c rig.Cost) {
	path, remove := scratch(b)
	d := openDir(b, path, *memory, 0)
	var stop func() error
	c, err := broker.Measure(*updates, func() (err error) {
		if f, stop, err = rig.Run(background, d, runtime.FoldOptions{Name: "bench", Conn: server.Conn,
			Source: source.Options{Bucket: "bench"}, Wasm: modules.Rekey}); err != nil {
			return err
		}
		return rig.Wait(background, f, uint64(*updates))
	})
	must(b, err)
	_, err = rig.Check(f, *updates)
	must(b, err)
	return f, func() {
		must(b, errors.Join(stop(), d.Close()))
		remove()
	}, c
}

// byHand has the program apply the first n updates to an empty store, and says what that cost. If f is given, its rows must be the same.
func byHand(b *testing.B, broker *rig.Broker, kv jetstream.KeyValue, n int, sync *pebble.WriteOptions, f *runtime.Fold) rig.Cost {
	path, remove := scratch(b)
	var h *hand
	c, err := broker.Measure(n, func() (err error) {
		if h, err = openHand(path, sync); err != nil {
			return err
		}
		return h.watch(kv, n)
	})
	must(b, err)
	if f != nil {
		h.compare(b, f)
	}
	must(b, h.db.Close())
	remove()
	return c
}
