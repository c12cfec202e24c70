package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/store"
)

// Sink takes the verdicts on records. A record is named by its index in the slab. Every byte slice is a view of guest
// memory, to be copied before the method returns.
type Sink interface {
	// Yield says that a record yields these entries, perhaps none.
	Yield(rec int32, entries Entries) error
	// Fail says that a record cannot be transformed.
	Fail(rec int32, f store.Failure) error
}

// Entries are what one record yields.
type Entries struct {
	out      *abi.Out
	first, n int
}

// Len returns the number of entries.
func (e Entries) Len() int { return e.n }

// At returns entry i.
func (e Entries) At(i int) abi.Entry { return e.out.Entry(e.first + i) }

// The time that a call should take at most, and below which the next may be larger.
const (
	firstFrame  = 32 // records of a worker's first frame: it grows from there
	longCall    = 2 * time.Millisecond
	shortCall   = longCall / 4
	smallFrame  = 8  // records: frames that fail are made no smaller than this
	quietFrames = 16 // of a size, before a larger one is tried after a failure
)

// Worker transforms records on an instance of its own. It is for one goroutine.
type Worker struct {
	module *Module
	in     *instance // nil until the first call, and after each failure
	out    abi.Out
	frame  int  // records of the next frame, at most
	room   int  // bytes of it, at most: the guest's arena may be smaller than a frame
	alone  bool // one record in each frame: the module sleeps
	credit int  // see backOff
	quiet  int  // frames that must go well before they grow again
	one    [1]int32
	stats  Stats
}

// Worker returns a new worker.
func (m *Module) Worker() *Worker {
	return &Worker{module: m, frame: firstFrame, credit: mostCredit, room: abi.MaxFrameBytes}
}

// Close closes the worker's instance.
func (w *Worker) Close(ctx context.Context) { w.drop(ctx) }

func (w *Worker) drop(ctx context.Context) {
	if w.in != nil {
		w.in.close(ctx)
		w.in = nil
	}
}

// Warm starts an instance, so that a module that cannot start is found before the first record.
func (w *Worker) Warm(ctx context.Context) (err error) {
	switch {
	case w.in != nil:
		return nil
	case w.stats.Instances == 0:
		w.in, err = w.module.start(ctx)
	default: // one failed
		w.in, err = w.module.another(ctx)
	}
	w.stats.Instances++
	return err
}

// Transform gives sink a verdict on each of the records recs of u, in the order of recs. Its error is the module's
// (no instance of it starts), the sink's, or ctx's; a record's failure is a verdict.
func (w *Worker) Transform(ctx context.Context, u *abi.Updates, recs []int32, sink Sink) error {
	for len(recs) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := w.cut(u, recs)
		if err := w.run(ctx, u, recs[:n], sink); err != nil {
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// cut returns how many of recs the next frame holds.
func (w *Worker) cut(u *abi.Updates, recs []int32) int {
	size := abi.InHeaderSize
	for n, rec := range recs {
		size += abi.RecordSize(u, rec)
		if n > 0 && (n == w.frame || w.alone || size > w.room) {
			return n
		}
	}
	return len(recs)
}

// run transforms the records of one frame, in one call if that goes well. A frame of one record on an instance that is
// not fresh has the fuel of a frame: if that is too little, the record is judged with its own.
func (w *Worker) run(ctx context.Context, u *abi.Updates, recs []int32, sink Sink) error {
	if len(recs) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := w.Warm(ctx); err != nil {
		return err
	}
	if len(recs) == 1 && w.in.calls == 0 {
		w.stats.Frames++
		return w.judge(ctx, u, recs[0], sink)
	}
	start := time.Now()
	progress, err, ended := w.careful(ctx, u, recs)
	if ended != nil {
		return ended
	}
	w.pace(u, recs, time.Since(start), err)
	if err == nil && len(recs) > 1 && w.tooMuch() {
		err = &callError{"too_many_bytes", "the call's output is over the limit of one record"}
	}
	if err == nil {
		w.spent(len(recs))
		return w.deliver(recs, sink)
	}
	w.drop(ctx)
	if len(recs) == 1 {
		return w.judge(ctx, u, recs[0], sink)
	}
	return w.replay(ctx, u, recs, progress, sink)
}

// careful calls the guest, in the lane of the dear where calls have failed of late. ended is ctx's error: there was no call.
func (w *Worker) careful(ctx context.Context, u *abi.Updates, recs []int32) (progress uint32, err, ended error) {
	if w.quiet > 0 {
		if ended = dear.enter(ctx); ended != nil {
			return 0, nil, ended
		}
		defer dear.leave()
	}
	w.in.turn.dear = w.quiet > 0
	progress, err = w.in.call(ctx, u, recs, &w.out)
	return progress, err, nil
}

// replay deals with the records of a call that failed: those before the guest's hint again, the one it names alone,
// then the rest; or, without a hint, one half after the other.
func (w *Worker) replay(ctx context.Context, u *abi.Updates, recs []int32, progress uint32, sink Sink) error {
	at, next := len(recs)/2, len(recs)/2
	if uint64(progress) < uint64(len(recs)) {
		at, next = int(progress), int(progress)+1
	}
	if err := w.run(ctx, u, recs[:at], sink); err != nil {
		return err
	}
	if at != next {
		if err := w.judge(ctx, u, recs[at], sink); err != nil {
			return err
		}
	}
	return w.run(ctx, u, recs[next:], sink)
}

// judge gives the verdict on one record: one call that holds it alone, on a fresh instance. What instance there is stays
// for the records after it.
func (w *Worker) judge(ctx context.Context, u *abi.Updates, rec int32, sink Sink) error {
	if err := w.backOff(ctx); err != nil {
		return err
	}
	if err := dear.enter(ctx); err != nil {
		return err
	}
	kept := w.in
	if kept != nil && kept.calls > 0 {
		w.in = nil
	} else {
		kept = nil
	}
	err := w.Warm(ctx)
	if err != nil {
		dear.leave()
		w.in = kept
		return err
	}
	w.one[0] = rec
	w.in.turn.dear = true
	_, err = w.in.call(ctx, u, w.one[:], &w.out)
	dear.leave()
	if err != nil {
		w.drop(ctx)
		w.credit -= failCost
		err = w.fail(rec, err, sink)
	} else {
		w.spent(1)
		err = w.deliver(w.one[:], sink)
	}
	if kept != nil {
		w.drop(ctx)
		w.in = kept
	}
	return err
}

// backOff waits where more than one record in failCost fails: each costs two instances, whose memory the system gives and
// takes with locks that the whole process waits for. The verdicts stay what they are.
func (w *Worker) backOff(ctx context.Context) error {
	if w.credit >= 0 {
		return nil
	}
	w.credit = 0
	select {
	case <-time.After(failPause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	mostCredit = 1000
	failCost   = 10 // records that go well pay for one that fails
	failPause  = time.Millisecond
)

func (w *Worker) fail(rec int32, err error, sink Sink) error {
	var ce *callError
	if !errors.As(err, &ce) {
		return err
	}
	return sink.Fail(rec, store.Failure{Code: ce.code, Message: ce.text, Module: w.module.digest})
}

// spent counts what a call on so many records used.
func (w *Worker) spent(records int) { w.stats.spent(records, w.in.used, w.in.memory.Size()) }

// deliver hands the answer of a call to sink, record by record.
func (w *Worker) deliver(recs []int32, sink Sink) error {
	first := 0
	w.credit = min(w.credit+len(recs), mostCredit)
	for i, rec := range recs {
		r := w.out.Result(i)
		e := Entries{&w.out, first, int(r.Entries)}
		first += e.n
		if f, bad := w.verdict(r, e); bad {
			f.Module = w.module.digest
			if err := sink.Fail(rec, f); err != nil {
				return err
			}
			continue
		}
		if err := sink.Yield(rec, e); err != nil {
			return err
		}
	}
	return nil
}

// verdict says whether a record failed: because the module says so, or because its entries break a limit.
func (w *Worker) verdict(r abi.Result, e Entries) (f store.Failure, bad bool) {
	if r.Status == abi.StatusError {
		return store.Failure{Code: "module", Number: r.Code, Message: message(r.Message)}, true
	}
	o := &w.module.opt
	if e.n > o.EntriesPerRecord {
		return store.Failure{Code: "too_many_entries", Message: fmt.Sprintf("%d entries, the limit is %d", e.n, o.EntriesPerRecord)}, true
	}
	total := int64(0)
	for i := range e.n {
		x := e.At(i)
		total += int64(len(x.Key) + len(x.Value))
		switch {
		case int(x.Index) >= len(w.module.manifest.Indexes):
			return store.Failure{Code: "unknown_index", Message: fmt.Sprintf("index %d, the manifest has %d", x.Index, len(w.module.manifest.Indexes))}, true
		case len(x.Key) > o.KeyBytes:
			return store.Failure{Code: "key_too_long", Message: fmt.Sprintf("a key of %d bytes, the limit is %d", len(x.Key), o.KeyBytes)}, true
		case len(x.Value) > o.ValueBytes:
			return store.Failure{Code: "value_too_long", Message: fmt.Sprintf("a value of %d bytes, the limit is %d", len(x.Value), o.ValueBytes)}, true
		case total > o.BytesPerRecord:
			return store.Failure{Code: "too_many_bytes", Message: fmt.Sprintf("keys and values of more than %d bytes", o.BytesPerRecord)}, true
		}
	}
	return f, false
}

// tooMuch reports whether a call of many records yields more bytes than one record may: a small arena can be named by
// many entries, and what a call yields is copied before it is stored.
func (w *Worker) tooMuch() bool {
	total := int64(0)
	for j := range w.out.Entries() {
		x := w.out.Entry(j)
		total += int64(len(x.Key) + len(x.Value))
	}
	return total > w.module.opt.BytesPerRecord
}

// pace sizes the next frames by what this call took: its time, and its fuel, which all its records share. Frames that
// fail are run again in part, so where they fail often they are to be small.
func (w *Worker) pace(u *abi.Updates, recs []int32, took time.Duration, err error) {
	w.stats.Frames++
	var failed *callError
	code := ""
	if errors.As(err, &failed) {
		code = failed.code
	}
	if err != nil {
		w.quiet = quietFrames
	}
	switch {
	case code == errSleeps.code:
		w.alone = true
	case code == errArena.code && len(recs) > 1:
		w.room = abi.InSize(u, recs) / 2
	case (took > longCall || code == "out_of_fuel") && len(recs) > 1:
		w.frame = max(len(recs)/2, 1)
	case err != nil:
		w.frame = max(min(w.frame, len(recs)/2), min(w.frame, smallFrame))
	case w.quiet > 0:
		w.quiet--
	case took < shortCall && w.in.used < min(w.module.opt.FuelPerRecord, frameFuel)/4:
		w.frame = min(w.frame*2, abi.MaxFrameRecords)
	}
}
