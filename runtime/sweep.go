package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// SweepReport is what a comparison of a fold's source keys with those of its stream found.
type SweepReport struct {
	Reason   string        `json:"reason"` // one of the Sweep… constants
	At       time.Time     `json:"at"`     // when it ended
	Took     time.Duration `json:"took_ns"`
	Repair   bool          `json:"repair"`   // what was found was mended
	Seq      uint64        `json:"seq"`      // it compared everything up to here
	LastSeq  uint64        `json:"last_seq"` // the stream's, as far as known when it began
	Listed   uint64        `json:"listed"`   // messages of the stream
	Matched  uint64        `json:"matched"`
	Stale    uint64        `json:"stale"`     // source keys whose record the stream no longer holds
	Uncover  uint64        `json:"uncovered"` // of them, those whose next older message counts again
	Missed   uint64        `json:"missed"`    // messages, and deletions, that were never folded
	Kept     uint64        `json:"kept"`      // source keys whose record the stream evicted: they stand, with on_evict = "keep"
	Keys     []SweepKey    `json:"-"`         // the first of what was found
	Unlooked uint64        `json:"unlooked"`  // messages that might be missed, beyond those that one sweep looks into
	Error    string        `json:"error,omitempty"`
}

// OK says that nothing was found.
func (r *SweepReport) OK() bool { return r.Stale == 0 && r.Missed == 0 && r.Error == "" }

// empty says that there was nothing to compare.
func (r *SweepReport) empty() bool { return r.Listed == 0 && r.Matched == 0 && r.OK() }

// SweepKey is one source key that a sweep found to differ.
type SweepKey struct {
	Source []byte
	Seq    uint64
	Kind   string // "stale", "uncovered", "missed"
}

// maxSweepKeys bounds the keys that a report lists.
const maxSweepKeys = 100

func (r *SweepReport) found(kind string, key []byte, seq uint64) {
	if len(r.Keys) < maxSweepKeys {
		r.Keys = append(r.Keys, SweepKey{bytes.Clone(key), seq, kind})
	}
}

// What one sweep holds in memory, beside two sets of seqs and one batch of the source.
const (
	maxSuspects   = 65536 // source keys that may have a message which was missed
	staleChunk    = 4096  // lineages that one commit removes
	lineageChunk  = 65536 // lineages read from one view: a view holds files back
	staleSample   = 8     // of each chunk so many are asked for at the leader before it is removed
	lineagesBytes = 1 << 20
)

// errListing says that the leader holds what a listing left out: nothing is removed on the word of such a listing.
var errListing = errors.New("runtime: the listing lacks messages that the stream's leader holds")

// errUnproved says that the stream may be another by now than the one that was proved: nothing is removed on the word of
// a listing of it.
var errUnproved = errors.New("runtime: what was listed may be another stream than the one that is followed")

// A sweep is one mark-and-sweep: every message that the stream holds up to a seq is compared, by source key, seq and
// time, with the lineage of its source key; a lineage up to that seq that nothing matched is stale, and a message that is
// newer than its lineage, or live and without one, was missed.
//
// It looks at the store's newest state, chunk by chunk, while the fold goes on: what moved on meanwhile has a seq beyond
// upTo, and is left alone. Nothing is written here: what is to go is handed to the committer with the seq of its
// lineage, and the committer drops what has another one by then.
type sweep struct {
	*sweeper
	report   SweepReport
	upTo     uint64
	batch    *source.Batch
	order    []int32
	matched  seqSet          // of lineages whose message the stream holds
	older    seqSet          // of lineages whose source key has an older message in the stream
	suspects map[string]bool // source keys whose newest listed message was not folded; true: their lineage was stale
	keep     bool            // on_evict = "keep"
	now      source.Status   // with keep: what the stream evicts
	seed     maphash.Seed
	sampling uint64 // suspects whose hash has one of these bits are not looked at: there are too many
}

// sweep compares, and with repair mends.
func (s *sweeper) sweep(ctx context.Context, reason string, repair bool) (SweepReport, error) {
	s.busy.Lock()
	defer s.busy.Unlock()
	x := s.newSweep(reason, s.pipe.db.State().Position().Seq)
	x.report.Repair = repair
	began := time.Now()
	proof, proved := s.proof()
	err := errUnproved
	if proved {
		err = s.src.List(ctx, x.upTo, x.batch, x.mark)
	}
	if now, still := s.proof(); err == nil && (!still || now != proof) {
		err = errUnproved
	}
	if err == nil && x.keep {
		x.now, err = s.src.Look(ctx) // after the listing: what evicted may have begun meanwhile
	}
	if err == nil {
		err = x.stale(ctx)
	}
	if err == nil {
		err = x.missed(ctx)
	}
	if err == nil && repair {
		s.out.Reset()
		s.out.Swept = time.Now().UnixNano()
		err = s.commit(ctx, &aside{batch: s.out})
	}
	r := &x.report
	r.Took, r.At, r.Matched = time.Since(began), time.Now(), uint64(x.matched.len())
	if err != nil {
		r.Error = err.Error()
	}
	s.note(*r, err)
	return *r, err
}

// proof returns which proof of the stream holds, if one does: it ends with the session that began with it.
func (s *sweeper) proof() (session uint64, holds bool) {
	st := s.src.Status()
	return st.Sessions, st.State == source.StateReading
}

func (s *sweeper) proved() bool {
	_, holds := s.proof()
	return holds
}

func (s *sweeper) newSweep(reason string, upTo uint64) *sweep {
	return &sweep{sweeper: s, upTo: upTo, batch: new(source.Batch), suspects: map[string]bool{}, seed: maphash.MakeSeed(), keep: s.fold.opt.OnEvict == evictKeep,
		report: SweepReport{Reason: reason, Seq: upTo, LastSeq: max(upTo, s.src.Status().LastSeq)}}
}

// mark compares one batch of listed messages with their lineages.
func (x *sweep) mark() error {
	state := x.pipe.db.State()
	return x.each(func(i int, l store.Lineage, found bool) {
		key, u := x.batch.Key(i), &x.batch.Records[i]
		switch {
		case found && l.Seq == u.Seq && l.Time == u.Time:
			x.matched.add(l.Seq)
			delete(x.suspects, string(key))
		case found && l.Seq > u.Seq:
			x.older.add(l.Seq)
			delete(x.suspects, string(key))
		case !found && (u.Op != abi.OpPut && !x.wantsDelete || state.Gone(u.Time, x.batch.Expiry(i))):
			delete(x.suspects, string(key))
		default:
			x.suspect(key)
		}
	})
}

// each calls f with the number of each listed message, in the order of the source keys, and the lineage of its source
// key, if it has one.
func (x *sweep) each(f func(i int, l store.Lineage, found bool)) error {
	x.report.Listed += uint64(x.batch.Len())
	x.inOrder()
	v, err := x.pipe.db.View()
	if err != nil {
		return err
	}
	defer v.Close()
	find, err := v.Finder()
	if err != nil {
		return err
	}
	defer find.Close()
	for _, i := range x.order {
		l, found, err := find.Find(x.batch.Key(int(i)))
		if err != nil {
			return err
		}
		f(int(i), l, found)
	}
	return nil
}

// suspect notes a source key that may have a message which was missed. With history, it may also be one that a later
// message of the listing deletes: when too many are held, half of them are let go, another half in each sweep.
func (x *sweep) suspect(key []byte) {
	if maphash.Bytes(x.seed, key)&x.sampling != 0 {
		x.report.Unlooked++
		return
	}
	x.suspects[string(key)] = false
	for len(x.suspects) > maxSuspects {
		x.sampling = x.sampling<<1 | 1
		for key := range x.suspects {
			if maphash.String(x.seed, key)&x.sampling != 0 {
				x.report.Unlooked++
				delete(x.suspects, key)
			}
		}
	}
}

// stale goes through the lineages and removes those that nothing matched.
func (x *sweep) stale(ctx context.Context) error {
	var from []byte
	for more := true; more; {
		var all []store.Lineage
		var err error
		if all, from, more, err = x.unmatched(from); err != nil {
			return err
		}
		if len(all) == 0 {
			continue
		}
		if err := x.confirm(ctx, all); err != nil {
			return err
		}
		for _, l := range all {
			x.report.Stale++
			kind := "stale"
			if x.older.has(l.Seq) {
				kind = "uncovered"
				x.report.Uncover++
				x.suspects[string(l.Source)] = true
			}
			x.report.found(kind, l.Source, l.Seq)
		}
		if !x.report.Repair {
			continue
		}
		if err := x.remove(ctx, all); err != nil {
			return err
		}
	}
	return nil
}

// unmatched returns lineages from a source key on that nothing matched, and where to go on.
func (x *sweep) unmatched(from []byte) (all []store.Lineage, next []byte, more bool, err error) {
	v, err := x.pipe.db.View()
	if err != nil {
		return nil, nil, false, err
	}
	defer v.Close()
	seen, held := 0, 0
	err = v.Lineages(from, func(l store.Lineage) bool {
		if seen >= lineageChunk || len(all) >= staleChunk || held > lineagesBytes {
			next, more = bytes.Clone(l.Source), true
			return false
		}
		seen++
		if l.Seq <= x.upTo && !x.matched.has(l.Seq) && !x.keeps(&l) {
			l.Source = bytes.Clone(l.Source)
			held += len(l.Source)
			all = append(all, l)
		}
		return true
	})
	return all, next, more, err
}

// keeps says whether a record that the stream no longer holds may have been evicted, and stays for it.
func (x *sweep) keeps(l *store.Lineage) bool {
	if !x.keep || !evicted(&x.now, l) {
		return false
	}
	x.report.Kept++
	return true
}

// evicted says whether a stream may have evicted a record that it no longer holds: else it was deleted.
func evicted(st *source.Status, l *store.Lineage) bool {
	return st.TTL || st.Discards && l.Seq < st.FirstSeq || st.MaxAge > 0 && l.Time <= st.AsOf.UnixNano()-st.MaxAge
}

// confirm asks the leader for a few of the messages that the listing left out.
func (x *sweep) confirm(ctx context.Context, all []store.Lineage) error {
	for i := 0; i < len(all); i += max(1, len(all)/staleSample) {
		held, err := x.src.Holds(ctx, all[i].Seq, all[i].Time)
		if err != nil {
			return err
		}
		if held {
			return fmt.Errorf("%w: %q at %d", errListing, all[i].Source, all[i].Seq)
		}
	}
	return nil
}

// missed looks into the suspects: what the leader holds for a source key, and was not folded, is folded now.
func (x *sweep) missed(ctx context.Context) error {
	for key, uncovered := range x.suspects {
		if uncovered && !x.report.Repair {
			continue // counted, and its lineage stands
		}
		if err := x.refold(ctx, []byte(key), uncovered); err != nil {
			return err
		}
	}
	return nil
}

// refold folds what counts for a source key, if that was not done.
func (x *sweep) refold(ctx context.Context, key []byte, uncovered bool) error {
	w := &watch{key: key}
	x.pipe.watch.Store(w) // from here on the committer notes a newer update of the key
	defer x.pipe.watch.Store(nil)
	seq := keySeq(key)
	found, err := x.src.Fetch(ctx, key, seq, x.batch)
	if err != nil || !found {
		return err
	}
	u := &x.batch.Records[0]
	if u.Seq > x.upTo || x.keep && evicts(&x.batch.Updates, 0) {
		return nil
	}
	l, found, gone, err := x.standing(key, u, x.batch.Expiry(0))
	gone = gone || u.Op != abi.OpPut && !x.wantsDelete
	if err != nil || gone && !found || found && (l.Seq > u.Seq || l.Seq == u.Seq && l.Time == u.Time) {
		return err // it was applied, or need not be
	}
	if !uncovered {
		x.report.Missed++
		x.report.found("missed", key, u.Seq)
		x.fold.log.Error("a message was missed", "source_key", string(key), "seq", u.Seq, "cursor", x.upTo)
	}
	switch {
	case !x.report.Repair:
		return nil
	case gone:
		return x.remove(ctx, []store.Lineage{l})
	}
	return x.put(ctx, w, x.batch)
}

// keySeq returns the seq that a source key is with keying = "message".
func keySeq(key []byte) (seq uint64) {
	for _, b := range key {
		seq = seq<<8 | uint64(b)
	}
	return seq
}

// standing returns the lineage of an update's source key, if it has one, and whether the update itself has expired.
func (x *sweep) standing(key []byte, u *abi.Update, expiry int64) (l store.Lineage, found, gone bool, err error) {
	v, err := x.pipe.db.View()
	if err != nil {
		return l, false, false, err
	}
	defer v.Close()
	f, err := v.Finder()
	if err != nil {
		return l, false, false, err
	}
	defer f.Close()
	l, found, err = f.Find(key)
	l.Source = key
	return l, found, v.State().Gone(u.Time, expiry), err
}
