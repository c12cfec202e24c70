package runtime

import (
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// The states of a fold.
const (
	StateStarting   = "starting"
	StateCatching   = "catching up" // behind the stream's last seq
	StateCopying    = "copying"     // of a build: it is made of the records that the generation which serves keeps
	StateQueued     = "queued"      // of a build: it has not begun; Reason says what it waits for
	StateFollowing  = "following"
	StateWaiting    = "waiting"    // for NATS, for the stream, for disk space: Code and Reason say for which
	StateRebuilding = "rebuilding" // a generation is built beside the one that serves: Code and Reason say why, Build how far
	StateHeld       = "held"       // what is built does not replace what serves until an operator decides: Code, Reason and Hint
	StatePaused     = "paused"     // an operator paused it
	StateStopped    = "stopped"    // it will not go on by itself: Code, Reason and Hint say why
)

// Status is what a fold knows of itself.
type Status struct {
	Name        string          `json:"name"`
	State       string          `json:"state"`
	Code        string          `json:"code,omitempty"` // stable; docs/runbook.md
	Reason      string          `json:"reason,omitempty"`
	Hint        string          `json:"hint,omitempty"`
	Generation  string          `json:"generation,omitempty"`
	Module      string          `json:"module"` // its name
	Version     string          `json:"module_version,omitempty"`
	Stream      string          `json:"stream"`
	Domain      string          `json:"domain,omitempty"`
	Created     string          `json:"stream_created,omitempty"` // the incarnation: when the stream was created
	Seq         uint64          `json:"seq"`                      // folded up to here; what KV calls the revision
	StartSeq    uint64          `json:"start_seq"`                // where this run of the fold began
	LastSeq     uint64          `json:"last_seq"`                 // the stream's, as far as known
	Lag         uint64          `json:"lag"`                      // LastSeq - Seq
	BehindSince string          `json:"behind_since,omitempty"`   // when the fold last held everything, by the server's clock; "" while it does, and if it never did
	CaughtUp    bool            `json:"caught_up"`
	Staleness   time.Duration   `json:"max_staleness_ns,omitempty"`   // as configured
	Stale       bool            `json:"stale,omitempty"`              // everything was folded last longer ago than that
	Ready       bool            `json:"ready"`                        // everything that the stream held was folded once, by this run or an earlier one
	Live        uint64          `json:"live_keys"`                    // source keys with a live record
	Quarantined uint64          `json:"quarantined"`                  // source keys
	Allowed     uint64          `json:"quarantine_allowed,omitempty"` // by the error budget, as many source keys as are live now; 0 where nothing follows
	Lifted      bool            `json:"budget_lifted,omitempty"`      // an operator accepted failures beyond the budget
	Held        uint64          `json:"quarantine_bytes"`
	Owed        bool            `json:"retry_owed,omitempty"` // a limit was raised, and what is in quarantine was not all tried again since
	Kept        uint64          `json:"kept_keys"`            // of those in quarantine, source keys whose rows of an older record still stand
	Quota       int64           `json:"disk_quota,omitempty"` // as configured, bytes; 0 = none
	Disk        int64           `json:"disk_bytes,omitempty"` // what all generations take of it: set by who asks Fold.Disk
	Indexes     []IndexStatus   `json:"indexes"`
	Counts      Counts          `json:"counts"`
	Source      SourceStatus    `json:"source"`
	Sweep       *SweepReport    `json:"sweep,omitempty"`    // the last comparison of the source keys with the stream's
	Previous    *PreviousStatus `json:"previous,omitempty"` // kept as the way back, while it follows
	Build       *BuildStatus    `json:"build,omitempty"`    // of the generation that is being built beside the one that serves
	Refused     *RefusedStatus  `json:"refused,omitempty"`  // what was to be taken and was not: what runs goes on

	// What is applied in place, as it runs, by its key in the fold's table: set by who asks Fold.Policies.
	Policies map[string]string `json:"policies,omitempty"`

	HeldAt int64 `json:"-"` // when the fold last held everything, ns since 1970; 0 = never
}

// BuildStatus is what is known of a generation that is built beside the one that serves: as in Status.
type BuildStatus struct {
	Generation  string        `json:"generation"`
	State       string        `json:"state"`
	Code        string        `json:"code,omitempty"`
	Reason      string        `json:"reason,omitempty"`
	Hint        string        `json:"hint,omitempty"`
	Seq         uint64        `json:"seq"`
	LastSeq     uint64        `json:"last_seq"`
	CaughtUp    bool          `json:"caught_up"`
	Live        uint64        `json:"live_keys"`
	Quarantined uint64        `json:"quarantined"`
	Indexes     []IndexStatus `json:"indexes"`
	Counts      Counts        `json:"counts"`
	Begins      string        `json:"begins,omitempty"` // while it is queued: when it begins, where that was drawn
}

// RefusedStatus is what the fold was to become while it ran, a new module or configuration, and why it did not.
type RefusedStatus struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// PreviousStatus is what is known of the generation that the last upgrade replaced, while it is kept as the way back.
type PreviousStatus struct {
	Generation string `json:"generation"`
	Until      string `json:"until"`
	Seq        uint64 `json:"seq"`
	State      string `json:"state"`
}

// IndexStatus counts one index.
type IndexStatus struct {
	Name       string           `json:"name"`
	Collisions store.Collisions `json:"collisions"`
	Rows       uint64           `json:"rows"`
	Digest     store.Digest     `json:"digest"`
}

// SourceStatus is what the source's loop counts.
type SourceStatus struct {
	State      string            `json:"state"`
	Connected  bool              `json:"connected"`
	Sessions   uint64            `json:"sessions"`
	Resets     map[string]uint64 `json:"resets,omitempty"`
	Duplicates uint64            `json:"duplicates"`
	HeadLost   uint64            `json:"head_lost,omitempty"`
}

// Status returns what the fold knows of itself now.
func (f *Fold) Status() Status {
	s := f.status()
	if !s.CaughtUp {
		s.BehindSince = rfc3339(s.HeldAt)
		s.Stale = s.Staleness > 0 && time.Since(time.Unix(0, s.HeldAt)) > s.Staleness
	}
	return s
}

func (f *Fold) status() Status {
	f.mu.Lock()
	cur, next, held, cause, stopped, prev, until := f.cur, f.next, f.held, f.cause, f.stopped, f.prev, f.prevUntil
	r, refused := f.recipe, f.refused
	f.mu.Unlock()
	s := Status{Name: f.name, State: StateStarting, Stream: r.id.Stream, Domain: r.id.Domain, Staleness: r.opt.Staleness, Quota: r.opt.DiskQuota}
	if cur != nil {
		r = cur.recipe
	}
	if r.module != nil && (cur == nil || r.id.Has(cur.db.Generation())) { // else it is that of what is built
		m := r.module.Manifest()
		s.Module, s.Version = m.Name, m.Version
	}
	if cur != nil {
		cur.status(&s)
	}
	if next != nil {
		s.Build = next.building()
	} else {
		s.Build = f.waiting()
	}
	if refused != nil {
		code, text := Describe(refused)
		s.Refused = &RefusedStatus{code, text, HintOf(refused)}
	}
	if prev != nil {
		b := prev.building()
		s.Previous = &PreviousStatus{b.Generation, until.UTC().Format(time.RFC3339), b.Seq, b.State}
	}
	if isPaused(stopped) {
		s.why(StatePaused, stopped)
		return s
	}
	if stopped != nil {
		s.why(StateStopped, stopped)
		return s
	}
	if cause != nil {
		s.why(StateRebuilding, cause)
	}
	if held != nil {
		s.why(StateHeld, held)
	}
	return s
}

// status adds what a generation and what follows the source into it know.
func (g *follower) status(s *Status) {
	g.mu.Lock()
	src, swept, start, paused, mended := g.src, g.swept, g.startSeq, g.paused, g.mended
	g.mu.Unlock()
	s.store(g.db)
	if b := g.opt.Budget; b != nil {
		s.Allowed, s.Lifted = b.Allows(s.Live), g.lifted.Load()
	}
	s.StartSeq, s.Sweep, s.Counts = start, swept, g.counts.get()
	if g.copying.Load() {
		s.State = StateCopying
	} else if src != nil {
		s.source(src.Status(), g.heldAt.Load())
	}
	if mended != nil {
		s.why(StateRebuilding, mended)
	}
	if paused != nil {
		s.why(StateWaiting, paused)
	}
}

// building returns what is known of a generation that nobody reads yet.
func (g *follower) building() *BuildStatus {
	s := Status{State: StateStarting}
	g.status(&s)
	return &BuildStatus{s.Generation, s.State, s.Code, s.Reason, s.Hint, s.Seq, s.LastSeq, s.CaughtUp, s.Live, s.Quarantined, s.Indexes, s.Counts, ""}
}

// why shows why a fold does not do all of its work.
func (s *Status) why(state string, err error) {
	s.Code, s.Reason = Describe(err)
	s.State, s.Hint = state, HintOf(err)
}

// StoreStatus returns what a store says of itself, without a fold that follows.
func StoreStatus(db *store.DB) Status {
	s := Status{Name: db.Identity().Fold, State: StateStopped}
	s.store(db)
	return s
}

func (s *Status) store(db *store.DB) {
	state, id := db.State(), db.Identity()
	at := state.Position()
	s.Ready = at.CaughtUp > 0
	s.Stream, s.Domain = id.Stream, id.Domain
	s.Generation, s.Seq, s.Live, s.Quarantined = db.Generation(), at.Seq, state.Live, state.Quarantined
	s.Held, s.Kept, s.Owed = state.Held, state.Kept, db.Owes()
	s.Created, s.HeldAt = rfc3339(at.Created), at.CaughtUp
	for i, spec := range db.Indexes() {
		s.Indexes = append(s.Indexes, IndexStatus{spec.Name, spec.Collisions, state.Indexes[i].Rows, state.Indexes[i].Digest})
	}
	if err := db.Damage(); err != nil {
		s.Code, s.Reason = CodeDamaged, err.Error()
		s.Hint = db.RebuildHint()
	}
}

// source adds what a source knows. heldAt is when everything was folded last before what is under way now.
func (s *Status) source(src source.Status, heldAt int64) {
	s.LastSeq = max(src.LastSeq, s.Seq)
	s.Lag = s.LastSeq - s.Seq
	s.CaughtUp = src.CaughtUp && src.State == source.StateReading && s.Seq >= src.Seq
	if s.Seq >= src.Seq { // nothing is under way
		heldAt = nanos(src.CaughtUpAt)
	}
	s.HeldAt = max(s.HeldAt, heldAt)
	s.Source = SourceStatus{src.State, src.Connected, src.Sessions, src.Resets, src.Duplicates, src.HeadLost}
	switch {
	case src.State == source.StateWaiting, src.State == source.StateProving && src.Reason != "": // it looks whether what it waits for has come
		s.State, s.Code, s.Reason, s.Hint = StateWaiting, src.Code, src.Reason, src.Hint
	case s.CaughtUp:
		s.State = StateFollowing
	case src.State == source.StateReading:
		s.State = StateCatching
	}
}

// rfc3339 is a time in ns since 1970 as text, "" for 0.
func rfc3339(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}

// nanos is a time in ns since 1970, 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
