package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// RetryReport is what a retry of held updates came to.
type RetryReport struct {
	Tried    uint64 `json:"tried"`    // source keys
	Released uint64 `json:"released"` // of them, those that were transformed and left quarantine
	Failing  uint64 `json:"failing"`  // those that failed again
	Moved    uint64 `json:"moved"`    // those that had moved on by then, and were left alone
}

// ErrNotHeld is returned by Retry for a source key that is not in quarantine.
var ErrNotHeld = errors.New("runtime: the source key is not in quarantine")

// What one step of a retry takes from quarantine, at most; one update in any case.
const (
	retryRecords = 256
	retryBytes   = 1 << 20
)

// A retry transforms held updates again, step by step, while the fold goes on. The committer takes each step between
// two batches, and drops from it what is not in quarantine with the same update any more.
type retry struct {
	*sweeper
	transform *transformer
	slot      *slot
	batch     *source.Batch
	report    RetryReport
}

// Retry transforms the held update of a source key, or with nil those of all, again, with the module that runs now. What
// it came to until an error is in the report too.
func (f *Fold) Retry(ctx context.Context, key []byte) (RetryReport, error) {
	s := f.admit()
	if s == nil {
		return RetryReport{}, ErrNotFollowing
	}
	defer s.fold.retries.Done()
	both, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.fold.alive, stop)()
	r, err := s.retry(both, key)
	if errors.Is(err, store.ErrClosed) || err != nil && ctx.Err() == nil && both.Err() != nil {
		err = ErrNotFollowing
	}
	if err == nil && key != nil && r.Tried == 0 {
		err = ErrNotHeld
	}
	return r, err
}

// admit returns the sweeper of the generation that answers reads, and has its follower wait for a retry, which uses the
// module: nil while nothing follows the source into it.
func (f *Fold) admit() *sweeper {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cur == nil || f.cur.sweeper == nil {
		return nil
	}
	f.cur.retries.Add(1)
	return f.cur.sweeper
}

func (s *sweeper) retry(ctx context.Context, key []byte) (RetryReport, error) {
	x := &retry{sweeper: s, transform: s.fold.transformer(), slot: newSlot(s.pipe.db.Indexes()), batch: new(source.Batch)}
	defer x.transform.worker.Close(context.WithoutCancel(ctx))
	var err error
	for from, more := key, true; more && err == nil; {
		from, more, err = x.step(ctx, from, key != nil)
	}
	r := &x.report
	s.fold.log.Info("retried quarantine", "tried", r.Tried, "released", r.Released, "failing", r.Failing, "moved", r.Moved, "err", err)
	return *r, err
}

// settleOwed tries everything in quarantine again where a limit was raised since that was last done.
func (s *sweeper) settleOwed(ctx context.Context) {
	if !s.pipe.db.Owes() {
		return
	}
	_, err := s.retry(ctx, nil)
	if err == nil {
		err = s.pipe.db.Retried()
		s.fold.set(func() {})
	}
	if err != nil && ctx.Err() == nil {
		s.fold.log.Warn("quarantine not tried under the raised limits: the next start does it", "err", err)
	}
}

// step retries what stands in quarantine from a source key on, or only that of this key, and returns where to go on.
// Nothing moves the cursor back meanwhile.
func (x *retry) step(ctx context.Context, from []byte, only bool) (next []byte, more bool, err error) {
	x.busy.Lock()
	defer x.busy.Unlock()
	if next, more, err = x.load(from, only); err != nil || x.batch.Len() == 0 {
		return next, more, err
	}
	return next, more, x.run(ctx)
}

// load takes held updates into the batch.
func (x *retry) load(from []byte, only bool) (next []byte, more bool, err error) {
	x.batch.Reset()
	v, err := x.pipe.db.View()
	if err != nil {
		return nil, false, err
	}
	defer v.Close()
	x.batch.Pos = v.State().Position()
	var bad error
	err = v.Quarantine(from, func(q store.Quarantined) bool {
		if only && !bytes.Equal(q.Source, from) {
			return false
		}
		if n := x.batch.Len(); n == retryRecords || n > 0 && len(x.batch.Bytes)+len(q.Update) > retryBytes {
			next, more = bytes.Clone(q.Source), true
			return false
		}
		if q.Seq > x.batch.Pos.Seq {
			return true // it comes again: the cursor was moved back before it
		}
		bad = appendHeld(x.batch, q)
		return bad == nil
	})
	return next, more, errors.Join(err, bad)
}

// appendHeld appends a held update to a batch: its frame, with the record's offsets in it.
func appendHeld(b *source.Batch, q store.Quarantined) error {
	u, err := abi.DecodeIn(q.Update)
	if err == nil && u.Len() != 1 {
		err = fmt.Errorf("a frame of %d records", u.Len())
	}
	if err != nil {
		return fmt.Errorf("runtime: the held update of %q: %w", q.Source, err)
	}
	base, first := uint32(len(b.Bytes)), uint32(len(b.Headers))
	b.Bytes = append(b.Bytes, u.Bytes...)
	r := u.Records[0]
	for _, s := range []*abi.Span{&r.Key, &r.Value, &r.Subject} {
		s.Off += base
	}
	r.Header = first
	b.Records = append(b.Records, r)
	for _, h := range u.Headers {
		h.Name.Off, h.Value.Off = h.Name.Off+base, h.Value.Off+base
		b.Headers = append(b.Headers, h)
	}
	return nil
}

// run transforms the batch and has the committer store what it yields.
func (x *retry) run(ctx context.Context) (err error) {
	x.slot.in = x.batch
	var worker sync.WaitGroup
	worker.Go(func() { x.transform.run(ctx, x.slot) })
	defer worker.Wait()
	for last := false; !last; {
		p := <-x.slot.parts
		if err == nil {
			err = p.err
		}
		if err == nil {
			err = x.store(ctx, p.batch)
		}
		last = p.last
		x.slot.spare <- p.batch
	}
	return err
}

func (x *retry) store(ctx context.Context, b *store.Batch) error {
	b.Retry = true
	a, n := &aside{batch: b}, uint64(b.Len())
	if err := x.commit(ctx, a); err != nil {
		return err
	}
	r := &x.report
	r.Tried += n
	r.Failing += uint64(a.did.Failed)
	r.Moved += uint64(a.did.Passed)
	r.Released += n - uint64(a.did.Failed+a.did.Passed)
	return nil
}
