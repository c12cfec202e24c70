package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Errors of Commit for a batch whose failures are too many. Nothing is written, and the store goes on.
var (
	// ErrBudget is part of the error for a batch that would put more source keys into quarantine than its Budget allows.
	ErrBudget = errors.New("the error budget is spent")
	// ErrQuarantineFull is part of the error for a batch that would have quarantine take more bytes than it may.
	ErrQuarantineFull = errors.New("quarantine is full")
)

// MaxHeld is how many bytes quarantine may take when a Budget does not say otherwise: the updates in it are whole, so
// that they can be tried again.
const MaxHeld = 1 << 30

// A Budget bounds quarantine. It refuses only batches that make quarantine larger: what spends more than it allows
// because live source keys went, or because the budget was lowered, stands.
type Budget struct {
	Share float64 // of the live source keys, those of the batch among them; 1 and more = all of them
	Least uint64  // source keys that may be in quarantine however few are live
	Bytes uint64  // that quarantine may take; 0 = MaxHeld
}

// Allows returns how many source keys may be in quarantine when so many are live.
func (b *Budget) Allows(live uint64) uint64 {
	if b.Share >= 1 {
		return max(b.Least, live)
	}
	return max(b.Least, uint64(b.Share*float64(live)))
}

// bounds returns why a commit that turns the state was into is may not be, nil when it may. b may be nil.
func (b *Budget) bounds(was, is *State) error {
	most := uint64(MaxHeld)
	if b != nil && b.Bytes > 0 {
		most = b.Bytes
	}
	if is.Held > was.Held && is.Held > most {
		return fmt.Errorf("%w: it would take %d bytes, %d are allowed", ErrQuarantineFull, is.Held, most)
	}
	if b == nil || is.Quarantined <= was.Quarantined {
		return nil
	}
	if allowed := b.Allows(is.Live); is.Quarantined > allowed {
		return fmt.Errorf("%w: %d of %d live source keys would be in quarantine, %d are allowed", ErrBudget, is.Quarantined, is.Live, allowed)
	}
	return nil
}

// bounds is that of b's budget, with one of b's failures.
func (b *Batch) bounds(was, is *State) error {
	err := b.Budget.bounds(was, is)
	if err == nil {
		return nil
	}
	for i := range b.changes {
		if ch := &b.changes[i]; ch.kind == changeFail {
			return fmt.Errorf("%w; one of them: %.300s", err, b.refuse(ch))
		}
	}
	return err
}

// Refused is the error of Commit for a batch that has a failure and may have none: Batch.Halt. Nothing is written, and
// the store goes on.
type Refused struct{ Quarantined }

func (r *Refused) Error() string {
	return fmt.Sprintf("the update of source key %q at seq %d cannot be transformed: %s", r.Source, r.Seq, r.Reason())
}

// refuse returns the Refused for a change that failed.
func (b *Batch) refuse(ch *change) error {
	return &Refused{Quarantined{Source: bytes.Clone(b.at(ch.source)), Seq: ch.seq, Time: ch.time, Failure: b.failures[ch.first]}}
}

// Quarantined is one source key in quarantine.
type Quarantined struct {
	Source []byte
	Seq    uint64
	Time   int64  // ns since 1970
	Kept   uint64 // the seq of the record whose rows still stand; 0 = none do
	Failure
}

// Reason says what went wrong, in one line: the code, the module's number where it gave one, and the message.
func (f *Failure) Reason() string {
	s := f.Code
	if f.Code == "module" {
		s += fmt.Sprintf(" %d", f.Number)
	}
	if f.Message != "" {
		s += ": " + f.Message
	}
	return s
}

// hold stages the failure of a source key, and has the new lineage say so.
func (c *committer) hold(source []byte, f *Failure) {
	t := c.stage
	from := t.mark()
	t.slab = appendQuarantineKey(t.slab, source)
	mid := t.mark()
	t.slab = appendFailure(t.slab, c.new.seq, c.new.time, f)
	t.set(listHeld, from, mid)
	c.new.flags |= lineageQuarantined
	c.new.held = uint64(t.mark() - mid)
}

func appendFailure(dst []byte, seq uint64, time int64, f *Failure) []byte {
	dst = appendString(appendI64(appendU64(dst, seq), time), f.Code)
	dst = appendString(binary.AppendUvarint(dst, uint64(f.Number)), f.Message)
	return appendBytes(appendString(dst, f.Module), f.Update)
}

func (q *Quarantined) decode(v []byte) error {
	r := reader{b: v}
	q.Seq, q.Time = r.u64(), r.i64()
	q.Code, q.Number, q.Message = r.string(), r.u16v(), r.string()
	q.Module, q.Update = r.string(), r.bytes()
	if err := r.end(); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}

// Quarantine calls f for each source key >= from in quarantine, in order. q's bytes are views, valid until f returns. f
// returns false to stop.
func (v *View) Quarantine(from []byte, f func(q Quarantined) bool) error {
	var find *Finder // of whose rows stand
	if v.state.Kept > 0 {
		var err error
		if find, err = v.Finder(); err != nil {
			return err
		}
		defer find.Close()
	}
	it, err := v.iter(&pebble.IterOptions{LowerBound: appendQuarantineKey(nil, from), UpperBound: []byte{kindQuarantine + 1}})
	if err != nil {
		return fmt.Errorf("store: quarantine: %w", err)
	}
	for ok, more := it.First(), true; ok && more && err == nil; ok = more && it.Next() {
		var q Quarantined
		if q, err = quarantinedAt(it, find); err == nil {
			more = f(q)
		}
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if IsDamage(err) {
		v.db.setDamage(plain(err))
	}
	if err != nil {
		return fmt.Errorf("store: quarantine: %w", plain(err))
	}
	return nil
}

func quarantinedAt(it *pebble.Iterator, find *Finder) (q Quarantined, err error) {
	q.Source = it.Key()[1:]
	v, err := it.ValueAndErr()
	if err == nil {
		err = q.decode(v)
	}
	if err != nil || find == nil {
		return q, err
	}
	l, _, err := find.Find(q.Source)
	q.Kept = l.Kept
	return q, err
}
