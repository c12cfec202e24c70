package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// Why a sweep was made, beside the doubts of package source.
const (
	SweepFewer      = "fewer_keys"     // the stream has fewer subjects, or messages, than the fold has source keys
	SweepRaised     = "max_age_raised" // what the old MaxAge ended may stand again
	SweepEvery      = "interval"
	SweepReconciled = "reconciled" // the stream was found to hold another history, and was listed while it was written to
	SweepAsked      = "asked"
)

// ErrNotFollowing is returned by Sweep when the fold does not follow its source.
var ErrNotFollowing = errors.New("runtime: the fold does not follow its source")

// ErrNotCompared is returned by Sweep when the fold has not folded anything yet that could be compared.
var ErrNotCompared = errors.New("runtime: not compared: the fold is behind")

// proofPatience is how long a sweep that is asked for waits for the stream to be proved.
const proofPatience = 10 * time.Second

// The least pause between two sweeps that nobody asked for: this, and so many times what the last one took.
const (
	sweepPause = 10 * time.Second
	sweepShare = 20
)

// A sweeper decides when a fold's source keys are compared with those of its stream. One sweep runs at a time.
type sweeper struct {
	fold        *follower
	pipe        *pipeline
	src         *source.Source
	wantsDelete bool
	requests    chan sweepRequest
	ended       chan struct{} // closed when run has returned
	busy        sync.Mutex    // held by a sweep, and by what reconciles
	wanted      atomic.Bool   // a sweep is due when the source has caught up

	// owned by run
	doubts uint64 // of the source, dealt with
	maxAge int64  // of the stream, as last seen
	raised bool   // it was raised, and no sweep was made since
	last   time.Time
	took   time.Duration
	owed   string       // why a sweep was begun that ended early
	idle   int          // sweeps in a row for fewer keys that found nothing stale
	out    *store.Batch // what is handed to the committer
}

type sweepRequest struct {
	ctx    context.Context
	repair bool
	reply  chan sweepReply
}

type sweepReply struct {
	report SweepReport
	err    error
}

func newSweeper(p *pipeline, src *source.Source) *sweeper {
	return &sweeper{fold: p.fold, pipe: p, src: src, wantsDelete: p.fold.module.Manifest().WantsDelete(), requests: make(chan sweepRequest),
		maxAge: p.db.State().MaxAge, ended: make(chan struct{}), out: store.NewBatch(p.db.Indexes())}
}

// Sweep compares the source keys of a fold that follows its source with those of its stream, and with repair mends what
// differs. Rows stay readable, and the fold goes on meanwhile. It begins once the stream is proved to be the one that
// was folded, and anew where that has to be proved once more meanwhile, as after a connection was lost; where that takes long, the
// error is ErrNotFollowing.
func (f *Fold) Sweep(ctx context.Context, repair bool) (SweepReport, error) {
	for {
		r, err := f.sweepOnce(ctx, repair)
		replaced := errors.Is(err, context.Canceled) // the generation, by another
		if !replaced && !errors.Is(err, errUnproved) || ctx.Err() != nil {
			return r, err
		}
	}
}

func (f *Fold) sweepOnce(ctx context.Context, repair bool) (SweepReport, error) {
	s := f.following()
	if s == nil {
		return SweepReport{}, ErrNotFollowing
	}
	q := sweepRequest{ctx, repair, make(chan sweepReply, 1)}
	late := time.NewTicker(proofPatience)
	defer late.Stop()
	for {
		select {
		case s.requests <- q:
			r := <-q.reply
			if r.err == nil && r.report.empty() && r.report.LastSeq > r.report.Seq {
				r.err = fmt.Errorf("%w, at seq %d of %d", ErrNotCompared, r.report.Seq, r.report.LastSeq)
			}
			return r.report, r.err
		case <-late.C:
			if st := s.src.Status(); st.State != source.StateReading {
				return SweepReport{}, fmt.Errorf("%w: %s: %s", ErrNotFollowing, st.State, st.Reason)
			} // else another sweep is under way
		case <-s.ended:
			return SweepReport{}, ErrNotFollowing
		case <-ctx.Done():
			return SweepReport{}, ctx.Err()
		}
	}
}

// following returns the sweeper of the generation that answers reads, nil while nothing follows the source into it.
func (f *Fold) following() *sweeper {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cur == nil {
		return nil
	}
	return f.cur.sweeper
}

// run makes sweeps until ctx is done.
func (s *sweeper) run(ctx context.Context) {
	defer close(s.ended)
	every := time.NewTimer(s.next())
	defer every.Stop()
	for ctx.Err() == nil {
		requests, due := s.requests, every.C
		if !s.proved() {
			requests, due = nil, nil // the leader is heard once it is
		}
		select {
		case <-ctx.Done():
		case <-s.src.Heard():
			if err := s.evict(ctx); err != nil && ctx.Err() == nil {
				s.fold.log.Warn("eviction not followed", "err", err)
			}
			if reason := s.reason(); reason != "" {
				if _, err := s.sweep(ctx, reason, true); err != nil {
					s.owed = reason
				}
			}
		case <-due:
			if s.proved() && !s.fold.guards.off(guardEvery) {
				s.sweep(ctx, SweepEvery, true)
			}
			every.Reset(max(s.next(), min(sweepPause, s.fold.opt.SweepEvery)))
		case q := <-requests:
			both, stop := context.WithCancel(q.ctx)
			unlink := context.AfterFunc(ctx, stop)
			r, err := s.sweep(both, SweepAsked, q.repair)
			unlink()
			stop()
			q.reply <- sweepReply{r, err}
		}
	}
}

// next returns when a sweep is due whatever happens: a time since the last one, also of an earlier run.
func (s *sweeper) next() time.Duration {
	due := jitter(s.fold.opt.SweepEvery)
	if last := s.pipe.db.State().Swept; last > 0 {
		due -= max(time.Since(time.Unix(0, last)), 0)
	}
	return due
}

func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// reason says why a sweep is due now, "" when none is.
func (s *sweeper) reason() string {
	st, off := s.src.Status(), s.fold.guards.off
	s.raised = s.raised || !off(guardRaised) && s.maxAge > 0 && (st.MaxAge == 0 || st.MaxAge > s.maxAge)
	s.maxAge = st.MaxAge
	if !st.CaughtUp || !s.last.IsZero() && time.Since(s.last) < s.pause() {
		return ""
	}
	if owed := s.owed; owed != "" {
		s.owed = ""
		return owed
	}
	if s.wanted.Swap(false) {
		return SweepReconciled
	}
	if st.Doubts != s.doubts {
		s.doubts = st.Doubts
		if !off(doubtGuards[st.Doubt]) {
			return st.Doubt
		}
	}
	switch {
	case s.raised && s.pipe.db.State().MaxAge == st.MaxAge: // else what stands again would still be due
		return SweepRaised
	case !off(guardFewer) && s.fold.opt.OnEvict != evictKeep && s.fewer(&st):
		return SweepFewer
	}
	return ""
}

// pause is the least between the last sweep and one that nobody asked for.
func (s *sweeper) pause() time.Duration {
	if s.fold.sweepPause == 0 { // or one that was slow by chance would outlast a test
		return 0
	}
	return max(s.fold.sweepPause, sweepShare*s.took<<min(s.idle, 8))
}

var doubtGuards = map[string]guard{source.DoubtHorizon: guardHorizon, source.DoubtHead: guardHead, source.DoubtUnknown: guardUnknown}

// fewer says whether the stream is known to hold fewer records than the fold.
//
// Each live source key is a subject of the stream, or with keying = "message" a message of it. The leader counts all of
// them, those beside the filter too, so more live source keys than that are a proof whatever the filter is; the converse
// proves nothing. What was folded after the leader counted may be new, and what was due then, but is not yet by the
// fold's clock, is no surprise: both are taken off.
func (s *sweeper) fewer(st *source.Status) bool {
	state := s.pipe.db.State()
	has := st.Subjects
	if s.fold.opt.Source.KeyingMessage {
		has = st.Messages
	}
	newer := uint64(0)
	if at := state.Position().Seq; at > st.AsOfSeq {
		newer = at - st.AsOfSeq
	}
	if state.Live <= has+newer {
		return false
	}
	surplus := state.Live - has - newer
	due, err := s.pipe.db.Due(st.AsOf.UnixNano(), st.MaxAge, int(min(surplus, 1<<30)))
	return err == nil && uint64(due) < surplus
}

// evict removes the records of a fold with keying = "message" that lie before the stream's first message: their source
// keys are their seqs, so nothing has to be listed.
func (s *sweeper) evict(ctx context.Context) error {
	if !s.proved() || !s.fold.opt.Source.KeyingMessage || s.fold.opt.OnEvict == evictKeep || s.fold.guards.off(guardHead) {
		return nil
	}
	first := binary.BigEndian.AppendUint64(nil, s.src.Status().FirstSeq)
	for {
		all, err := s.before(first)
		if err != nil || len(all) == 0 {
			return err
		}
		if err := s.remove(ctx, all); err != nil {
			return err
		}
	}
}

// before returns the first lineages, if they lie before a source key.
func (s *sweeper) before(end []byte) (all []store.Lineage, err error) {
	v, err := s.pipe.db.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	err = v.Lineages(nil, func(l store.Lineage) bool {
		if string(l.Source) >= string(end) || len(all) >= staleChunk {
			return false
		}
		l.Source = append([]byte(nil), l.Source...)
		all = append(all, l)
		return true
	})
	return all, err
}

// remove has the committer remove the records of these lineages; those that moved on stay.
func (s *sweeper) remove(ctx context.Context, all []store.Lineage) error {
	s.out.Reset()
	for _, l := range all {
		s.out.RemoveIf(l.Source, l.Seq)
	}
	return s.commit(ctx, &aside{batch: s.out})
}

// put transforms the update in b and has the committer store it, unless one of its source key was committed since w
// was set.
func (s *sweeper) put(ctx context.Context, w *watch, b *source.Batch) error {
	t, slot := s.fold.transformer(), newSlot(s.pipe.db.Indexes())
	defer t.worker.Close(context.WithoutCancel(ctx))
	slot.in = b
	t.run(ctx, slot)
	x := <-slot.parts
	if x.err != nil {
		return x.err
	}
	return s.commit(ctx, &aside{batch: x.batch, watch: w})
}

// commit hands an aside to the committer, and waits until it is stored.
func (s *sweeper) commit(ctx context.Context, a *aside) error { return s.pipe.hand(ctx, a) }

// note keeps what a sweep found, and logs it.
func (s *sweeper) note(r SweepReport, err error) {
	s.last, s.took = time.Now(), r.Took
	if r.Repair && err == nil {
		s.raised = false
	}
	if s.idle++; r.Reason != SweepFewer || r.Stale > 0 {
		s.idle = 0
	}
	s.fold.counts.swept()
	s.fold.set(func() { s.fold.swept = &r })
	log, text := s.fold.log.Info, "swept"
	if err != nil {
		log, text = s.fold.log.Warn, "sweep ended early"
	}
	log(text, "reason", r.Reason, "listed", r.Listed, "stale", r.Stale, "missed", r.Missed, "repair", r.Repair, "took", r.Took, "err", err)
}
