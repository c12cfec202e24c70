package runtime

import (
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// The states of a fold.
const (
	StateStarting  = "starting"
	StateCatching  = "catching up" // behind the stream's last seq
	StateFollowing = "following"
	StateWaiting   = "waiting" // for NATS, for the stream, for disk space: Code and Reason say for which
	StateStopped   = "stopped" // it will not go on by itself: Code, Reason and Hint say why
)

// Status is what a fold knows of itself.
type Status struct {
	Name        string        `json:"name"`
	State       string        `json:"state"`
	Code        string        `json:"code,omitempty"` // stable; docs/runbook.md
	Reason      string        `json:"reason,omitempty"`
	Hint        string        `json:"hint,omitempty"`
	Generation  string        `json:"generation,omitempty"`
	Module      string        `json:"module"` // its name
	Version     string        `json:"module_version,omitempty"`
	Stream      string        `json:"stream"`
	Domain      string        `json:"domain,omitempty"`
	Created     string        `json:"stream_created,omitempty"` // the incarnation: when the stream was created
	Seq         uint64        `json:"seq"`                      // folded up to here; what KV calls the revision
	StartSeq    uint64        `json:"start_seq"`                // where this run of the fold began
	LastSeq     uint64        `json:"last_seq"`                 // the stream's, as far as known
	Lag         uint64        `json:"lag"`                      // LastSeq - Seq
	CaughtUp    bool          `json:"caught_up"`
	Live        uint64        `json:"live_keys"`   // source keys with a live record
	Quarantined uint64        `json:"quarantined"` // source keys
	Indexes     []IndexStatus `json:"indexes"`
	Counts      Counts        `json:"counts"`
	Source      SourceStatus  `json:"source"`
	Sweep       *SweepReport  `json:"sweep,omitempty"` // the last comparison of the source keys with the stream's
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
	f.mu.Lock()
	db, src, code, reason, stopped, start, swept := f.db, f.src, f.code, f.reason, f.stopped, f.startSeq, f.swept
	f.mu.Unlock()
	s := Status{Name: f.opt.Name, State: StateStarting, Code: code, Stream: f.id.Stream, Domain: f.id.Domain, StartSeq: start,
		Counts: f.counts.get(), Sweep: swept}
	if f.module != nil {
		m := f.module.Manifest()
		s.Module, s.Version = m.Name, m.Version
	}
	if db != nil {
		s.store(db)
	}
	if src != nil {
		s.source(src.Status())
	}
	if reason != nil {
		s.Code, s.Reason, s.Hint = code, reasonText(reason), HintOf(reason)
		s.State = StateWaiting
	}
	if stopped {
		s.State = StateStopped
	}
	return s
}

func reasonText(err error) string {
	_, text := Describe(err)
	return text
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
	s.Stream, s.Domain = id.Stream, id.Domain
	s.Generation, s.Seq, s.Live, s.Quarantined = db.Generation(), at.Seq, state.Live, state.Quarantined
	if at.Created != 0 {
		s.Created = time.Unix(0, at.Created).UTC().Format(time.RFC3339Nano)
	}
	for i, spec := range db.Indexes() {
		s.Indexes = append(s.Indexes, IndexStatus{spec.Name, spec.Collisions, state.Indexes[i].Rows, state.Indexes[i].Digest})
	}
	if err := db.Damage(); err != nil {
		s.Code, s.Reason = CodeDamaged, err.Error()
		s.Hint = "stop foldrun and remove " + db.Path() + ": the fold is built again from the stream"
	}
}

func (s *Status) source(src source.Status) {
	s.LastSeq = max(src.LastSeq, s.Seq)
	s.Lag = s.LastSeq - s.Seq
	s.CaughtUp = src.CaughtUp && s.Seq >= src.Seq
	s.Source = SourceStatus{src.State, src.Connected, src.Sessions, src.Resets, src.Duplicates, src.HeadLost}
	switch {
	case src.State == source.StateWaiting:
		s.State, s.Code, s.Reason, s.Hint = StateWaiting, src.Code, src.Reason, src.Hint
	case s.CaughtUp:
		s.State = StateFollowing
	case src.State == source.StateReading:
		s.State = StateCatching
	}
}
