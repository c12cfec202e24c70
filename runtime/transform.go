package runtime

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// errSlow says that a batch takes its module so long that what is done of it is to be committed first.
var errSlow = errors.New("runtime: the batch takes too long for one commit")

// slowPart is how long the module may take for what one commit stores.
const slowPart = time.Second

// errOverflow says that what a batch yields is more than a commit may hold: it is transformed again in two halves.
var errOverflow = errors.New("runtime: the batch yields too much for one commit")

// part is what one commit stores: a batch of the source, or a piece of one that yielded too much.
type part struct {
	batch *store.Batch
	pos   store.Position
	clock int64             // of the fold, once pos is folded
	last  bool              // of its batch of the source
	codes map[string]uint64 // source keys that fail, by code
	err   error             // the batch is not to be stored, and nothing follows
}

// rowCost is what a row takes in memory beside its key and value, bytes, about.
const rowCost = 64

// transformer turns batches of the source into batches of the store. It is for one goroutine.
type transformer struct {
	worker      *plugin.Worker
	module      string // its digest
	wantsDelete bool
	byMessage   bool // keying = "message": no two updates share a source key
	keep        bool // on_evict = "keep": what the stream evicts stays
	keepsGood   bool // an update that fails leaves the rows that stand
	keepsSource bool // the store keeps the records
	limit       int  // bytes that one commit may hold
	guards      guards
	turn        func() (end func()) // store.DB.Turn

	slot    *slot        // in hand
	u       *abi.Updates // of it
	out     *store.Batch
	codes   map[string]uint64 // of the source keys that fail in out, nil while there are none
	beside  int               // bytes that out holds beside its slab
	most    int               // updates that a part may be of, by how long parts took; 0 = all
	began   time.Time
	sent    int // updates of the slot that are in parts already
	order   []int32
	removed map[int32]bool // of order, those before which the batch removes their source key; with keepsGood
	scratch []byte
}

// run transforms all of a slot's batch and sends the parts.
func (t *transformer) run(ctx context.Context, s *slot) {
	t.slot, t.u, t.out = s, &s.in.Updates, <-s.spare
	n := s.in.Len()
	t.sent = 0
	for lo, ended := 0, false; !ended; {
		hi := n
		if t.most > 0 {
			hi = min(n, lo+t.most)
		}
		t.began = time.Now()
		err := t.pieces(ctx, lo, hi)
		took := time.Since(t.began)
		switch {
		case errors.Is(err, errSlow):
			lo, t.most = max(lo, t.sent), max(1, t.out.Len()/2)
			continue
		case err != nil:
			s.parts <- part{batch: t.out, last: true, err: err}
			return
		case t.most > 0 && took < slowPart/4:
			t.most *= 2
		}
		if t.most >= n {
			t.most = 0
		}
		lo, ended = hi, hi == n
	}
}

// pieces transforms the updates [lo, hi): into one part, or where that yields too much, into those of its halves.
func (t *transformer) pieces(ctx context.Context, lo, hi int) error {
	t.out.Reset()
	t.out.Expect(hi-lo, len(t.u.Bytes)*(hi-lo)/max(1, t.u.Len()))
	if !t.keep && !t.guards.off(guardMaxAge) {
		t.out.MaxAge = t.slot.in.MaxAge
	}
	t.beside, t.codes = 0, nil
	err := t.updates(ctx, lo, hi)
	if errors.Is(err, errOverflow) {
		mid := (lo + hi) / 2
		if err := t.pieces(ctx, lo, mid); err != nil {
			return err
		}
		return t.pieces(ctx, mid, hi)
	}
	if err != nil {
		return err
	}
	last := hi == t.u.Len()
	x := part{batch: t.out, pos: position(t.slot.in, hi), clock: t.slot.in.Clock, last: last, codes: t.codes}
	if !last {
		x.clock = x.pos.Time
	}
	t.slot.parts <- x
	t.sent = hi
	if !last {
		t.out = <-t.slot.spare
	}
	return nil
}

// position returns where the cursor stands once the updates before n are folded. Inside a batch it has no anchors of
// its own: those of the last whole batch, which the committer puts in, hold for it too.
func position(b *source.Batch, n int) store.Position {
	if n == b.Len() {
		return b.Pos
	}
	last := b.Records[n-1]
	return store.Position{Stream: b.Pos.Stream, Domain: b.Pos.Domain, Created: b.Pos.Created, Seq: last.Seq, Time: last.Time}
}

// updates transforms the updates [lo, hi) into t.out.
func (t *transformer) updates(ctx context.Context, lo, hi int) error {
	defer t.turn()()
	t.newest(lo, hi)
	puts := t.order[:0]
	for _, rec := range t.order {
		if u := &t.u.Records[rec]; t.removes(rec) {
			t.out.Remove(t.u.At(u.Key), u.Seq, u.Time)
			continue
		}
		puts = append(puts, rec)
	}
	if err := t.worker.Transform(ctx, t.u, puts, t); err != nil {
		return err
	}
	return t.out.Seal()
}

// newest puts into t.order the updates of [lo, hi) that no later one of them replaces, sorted by source key.
func (t *transformer) newest(lo, hi int) {
	t.order = t.order[:0]
	clear(t.removed)
	for i := lo; i < hi; i++ {
		if !t.keep || !evicts(t.u, i) {
			t.order = append(t.order, int32(i))
		}
	}
	if t.byMessage {
		return // ascending already: the key is the seq
	}
	key := func(i int32) []byte { return t.u.At(t.u.Records[i].Key) }
	slices.SortFunc(t.order, func(x, y int32) int {
		if c := bytes.Compare(key(x), key(y)); c != 0 {
			return c
		}
		return int(x - y)
	})
	keep, removed := t.order[:0], false
	for i, rec := range t.order {
		if i+1 < len(t.order) && bytes.Equal(key(rec), key(t.order[i+1])) {
			removed = removed || t.keepsGood && t.removes(rec)
			continue
		}
		if removed {
			t.removed[rec] = true
		}
		keep, removed = append(keep, rec), false
	}
	t.order = keep
}

// removes says whether an update removes its source key, whatever the module would say.
func (t *transformer) removes(rec int32) bool {
	return t.u.Records[rec].Op != abi.OpPut && !t.wantsDelete
}

// evicts says whether an update is the marker that a server leaves where a record expired.
func evicts(all *abi.Updates, i int) bool {
	u := &all.Records[i]
	if u.Op == abi.OpPut {
		return false
	}
	for _, h := range all.Headers[u.Header : u.Header+u.Headers] {
		if string(all.At(h.Name)) == "Nats-Marker-Reason" {
			return string(all.At(h.Value)) == "MaxAge"
		}
	}
	return false
}

// Yield is part of plugin.Sink.
func (t *transformer) Yield(rec int32, entries plugin.Entries) error {
	u := &t.u.Records[rec]
	t.out.Put(t.u.At(u.Key), u.Seq, u.Time, t.expiry(rec))
	t.keepRecord(rec)
	for i := range entries.Len() {
		e := entries.At(i)
		if err := t.out.Row(e.Index, e.Key, e.Value, expiry(u.Time, e.TTL)); err != nil {
			return err
		}
	}
	if err := t.out.End(); err != nil {
		return t.Fail(rec, duplicate(t.module))
	}
	t.beside += rowCost * entries.Len()
	return t.room(false)
}

// duplicate is why a record cannot be transformed of which one row would be two.
func duplicate(module string) store.Failure {
	return store.Failure{Code: "duplicate_entry", Module: module, Message: "it emits one key of an index twice, with different values or times"}
}

// Fail is part of plugin.Sink.
func (t *transformer) Fail(rec int32, f store.Failure) error {
	u := &t.u.Records[rec]
	one := []int32{rec}
	t.scratch = slices.Grow(t.scratch[:0], abi.InSize(t.u, one))
	f.Update = t.scratch[:abi.EncodeIn(t.scratch[:cap(t.scratch)], t.u, one)]
	t.out.Fail(t.u.At(u.Key), u.Seq, u.Time, t.expiry(rec), f)
	t.keepRecord(rec)
	if t.codes == nil {
		t.codes = map[string]uint64{}
	}
	t.codes[f.Code]++
	if t.keepsGood && !t.removed[rec] {
		t.out.Keep()
	}
	t.beside += len(f.Update) + len(f.Message)
	return t.room(true)
}

// keepRecord has the store keep the record of the change that was begun last.
func (t *transformer) keepRecord(rec int32) {
	if t.keepsSource {
		t.scratch = appendRecord(t.scratch[:0], t.u, int(rec))
		t.out.Record(t.scratch)
	}
}

// expiry returns when the record of an update goes by what the message says.
func (t *transformer) expiry(rec int32) int64 {
	if t.keep || t.guards.off(guardTTL) {
		return 0
	}
	return t.slot.in.Expiry(int(rec))
}

// room asks for the batch to be cut when it holds too much, what a single update yields being bounded by its limits, or
// takes too long.
func (t *transformer) room(failed bool) error {
	if t.out.Bytes()+t.beside > t.limit && t.out.Len() > 1 {
		return errOverflow
	}
	if n := t.out.Len(); n > 1 && (failed || t.most > 0 || n%32 == 0) && time.Since(t.began) > slowPart {
		return errSlow
	}
	return nil
}

// expiry returns when an entry goes, ns since 1970; 0 = never.
func expiry(time int64, ttl uint64) int64 {
	switch {
	case ttl == 0:
		return 0
	case ttl > math.MaxInt64 || time > math.MaxInt64-1-int64(ttl):
		return math.MaxInt64 - 1
	}
	return time + int64(ttl)
}
