package client

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bytes are bytes that may be text. As JSON they are a string where they are UTF-8 without control characters other
// than tab, line feed and carriage return, else {"base64": "…"}.
type Bytes []byte

// MarshalJSON encodes b as foldrun does.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if !b.isText() {
		return json.Marshal(struct {
			Base64 []byte `json:"base64"`
		}{b})
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // the caller's encoder decides
	err := e.Encode(string(b))
	return text.Bytes(), err
}

func (b Bytes) isText() bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' {
			return false
		}
	}
	return true
}

// UnmarshalJSON decodes either form.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) == nil {
		*b = Bytes(s)
		return nil
	}
	var coded struct {
		Base64 *string `json:"base64"`
	}
	if err := json.Unmarshal(text, &coded); err != nil || coded.Base64 == nil {
		return fmt.Errorf(`client: neither a string nor {"base64": …}: %.80s`, text)
	}
	raw, err := base64.StdEncoding.DecodeString(*coded.Base64)
	*b = raw
	return err
}

// A Row is one row of an index, owned by the source key that it was derived from.
type Row struct {
	Key     Bytes           `json:"key"`
	Tuple   string          `json:"tuple,omitempty"` // the key as text, where that was asked for and it is a tuple
	Value   Bytes           `json:"value,omitzero"`  // nil where JSON is set, or only keys were asked for
	JSON    json.RawMessage `json:"json,omitempty"`  // the value, where that was asked for and it is JSON
	Source  Bytes           `json:"source,omitzero"`
	Seq     uint64          `json:"seq,omitempty"`      // the source's, in an index with collisions = "latest"; else 0
	Expires time.Time       `json:"expires,omitzero"`   // zero = never
	Kept    uint64          `json:"kept_seq,omitempty"` // if not 0: the row is of the source's record of this seq; a newer one is in quarantine
}

// Status is what a process knows of itself.
type Status struct {
	Instance string       `json:"instance"`
	Version  string       `json:"version"`
	Folds    []FoldStatus `json:"folds"`
}

// FoldStatus is what a fold knows of itself.
type FoldStatus struct {
	Name        string          `json:"name"`
	State       string          `json:"state"`          // "starting", "catching up", "following", "waiting", "rebuilding", "held", "paused", "stopped"; of a build also "copying", "queued"
	Code        string          `json:"code,omitempty"` // why it waits or stopped, stable
	Reason      string          `json:"reason,omitempty"`
	Hint        string          `json:"hint,omitempty"`
	Generation  string          `json:"generation,omitempty"`
	Module      string          `json:"module"`
	Version     string          `json:"module_version,omitempty"`
	Stream      string          `json:"stream"`
	Domain      string          `json:"domain,omitempty"`
	Created     string          `json:"stream_created,omitempty"` // the incarnation, RFC 3339
	Seq         uint64          `json:"seq"`                      // folded up to here; what KV calls the revision
	StartSeq    uint64          `json:"start_seq"`                // where this run of the fold began
	LastSeq     uint64          `json:"last_seq"`                 // the stream's, as far as known
	Lag         uint64          `json:"lag"`                      // LastSeq - Seq
	BehindSince string          `json:"behind_since,omitempty"`   // when the fold last held everything, by the server's clock, RFC 3339; "" while it does
	CaughtUp    bool            `json:"caught_up"`
	Staleness   time.Duration   `json:"max_staleness_ns,omitempty"`   // as configured
	Stale       bool            `json:"stale,omitempty"`              // everything was folded last longer ago than that: the fold is not ready
	Ready       bool            `json:"ready"`                        // everything that the stream held was folded once, by this run or an earlier one
	Live        uint64          `json:"live_keys"`                    // source keys with a live record
	Quarantined uint64          `json:"quarantined"`                  // source keys
	Allowed     uint64          `json:"quarantine_allowed,omitempty"` // by the error budget, as many source keys as are live now; 0 where nothing follows
	Lifted      bool            `json:"budget_lifted,omitempty"`      // an operator accepted failures beyond the budget
	Held        uint64          `json:"quarantine_bytes"`
	Owed        bool            `json:"retry_owed,omitempty"` // a limit was raised: what failed on the old one is tried again
	Kept        uint64          `json:"kept_keys"`            // of those in quarantine, source keys whose rows of an older record still stand
	Quota       int64           `json:"disk_quota,omitempty"` // as configured, bytes; 0 = none
	Disk        int64           `json:"disk_bytes,omitempty"` // what all generations of the fold take
	Indexes     []IndexStatus   `json:"indexes"`
	Counts      Counts          `json:"counts"`
	Source      SourceStatus    `json:"source"`
	Sweep       *SweepReport    `json:"sweep,omitempty"`    // the last one
	Previous    *PreviousStatus `json:"previous,omitempty"` // the generation that the last upgrade replaced, while it is kept and follows
	Build       *BuildStatus    `json:"build,omitempty"`    // of the generation that is built beside the one that serves
	Refused     *RefusedStatus  `json:"refused,omitempty"`  // what was to be taken and was not: what runs goes on

	// What is applied in place, as it runs, by its key in the fold's table, as a configuration has it: "rollback_window" is "1h".
	Policies map[string]string `json:"policies,omitempty"`
}

// RefusedStatus is what a fold was to become while it ran, a new module or configuration, and why it did not.
type RefusedStatus struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// BuildStatus is what is known of a generation that is built beside the one that serves: as in FoldStatus.
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
	Begins      string        `json:"begins,omitempty"` // while it is "queued": when it begins, RFC 3339, where that moment was drawn
}

// IndexStatus counts one index.
type IndexStatus struct {
	Name       string `json:"name"`
	Collisions string `json:"collisions,omitempty"` // "all" or "latest"
	Rows       uint64 `json:"rows"`
	Digest     string `json:"digest"` // 32 hexadecimal digits: equal for equal rows
}

// Counts are what a fold did since it started.
type Counts struct {
	Updates   uint64        `json:"updates"`      // folded
	Coalesced uint64        `json:"coalesced"`    // of them, made superfluous by a newer one of their batch
	Batches   uint64        `json:"batches"`      // committed
	Waited    uint64        `json:"waited"`       // of them, those that were stored together with a later one
	Written   uint64        `json:"written"`      // rows
	Retracted uint64        `json:"retracted"`    // rows
	Unchanged uint64        `json:"unchanged"`    // rows that were yielded again as they stood
	Expired   uint64        `json:"expired"`      // source keys of which something expired
	Failed    uint64        `json:"failed"`       // source keys put into quarantine
	Removed   uint64        `json:"removed"`      // source keys whose record the stream was found to hold no longer
	Sweeps    uint64        `json:"sweeps"`       // comparisons of all source keys with the stream's
	InFlight  int32         `json:"in_flight"`    // the most batches that were under way at once
	Transform time.Duration `json:"transform_ns"` // in workers
	Commit    time.Duration `json:"commit_ns"`    // in the committer
}

// SourceStatus is what the loop that reads the stream counts.
type SourceStatus struct {
	State      string            `json:"state"`
	Connected  bool              `json:"connected"`
	Sessions   uint64            `json:"sessions"`
	Resets     map[string]uint64 `json:"resets,omitempty"` // sessions ended, by reason
	Duplicates uint64            `json:"duplicates"`
	HeadLost   uint64            `json:"head_lost,omitempty"`
}

// SweepReport is what a comparison of a fold's source keys with the stream found.
type SweepReport struct {
	Reason   string        `json:"reason"` // why it was made
	At       time.Time     `json:"at"`     // when it ended
	Took     time.Duration `json:"took_ns"`
	Repair   bool          `json:"repair"`   // what was found was mended
	Seq      uint64        `json:"seq"`      // it compared everything up to here
	LastSeq  uint64        `json:"last_seq"` // the stream's, as far as known when it began
	Listed   uint64        `json:"listed"`   // messages of the stream
	Matched  uint64        `json:"matched"`
	Stale    uint64        `json:"stale"`     // source keys whose record the stream no longer holds
	Uncover  uint64        `json:"uncovered"` // of them, those whose next older message counts again
	Missed   uint64        `json:"missed"`    // live messages that were never folded
	Kept     uint64        `json:"kept"`      // source keys whose record the stream evicted: they stand, with on_evict = "keep"
	Unlooked uint64        `json:"unlooked"`  // messages that might be missed, beyond those that one sweep looks into
	Error    string        `json:"error,omitempty"`
}

// KeyReport is what VerifyKeys found.
type KeyReport struct {
	Fold string `json:"fold"`
	OK   bool   `json:"ok"`
	SweepReport
	Keys []KeyProblem `json:"keys,omitempty"` // the first of what was found
}

// KeyProblem is one source key that differs from the stream's.
type KeyProblem struct {
	Kind   string `json:"kind"` // "stale", "uncovered" or "missed"
	Source Bytes  `json:"source"`
	Seq    uint64 `json:"seq"`
}

// Report is what Verify found in a fold's store.
type Report struct {
	Fold     string        `json:"fold"`
	OK       bool          `json:"ok"`
	Rows     uint64        `json:"rows"`
	Lineages uint64        `json:"lineages"`
	Kept     uint64        `json:"kept_keys,omitempty"` // source keys that keep rows of an older record (on_error = "keep_last_good"): no function of the source
	Indexes  []IndexStatus `json:"indexes,omitempty"`
	Found    uint64        `json:"found"`              // problems in all
	Problems []Problem     `json:"problems,omitempty"` // the first of them
	At       Position      `json:"at,omitzero"`
}

// Problem is one disagreement within a store.
type Problem struct {
	Kind   string `json:"kind"`            // "row", "lineage", "quarantine", "expiry", "aging", "state", "key" or "damage"
	Index  string `json:"index,omitempty"` // where one is concerned, as Key and Source
	Key    Bytes  `json:"key,omitempty"`
	Source Bytes  `json:"source,omitempty"`
	Text   string `json:"text"`
}

// PreviousStatus is what is known of the generation that the last upgrade replaced, while it is kept as the way back.
type PreviousStatus struct {
	Generation string `json:"generation"`
	Until      string `json:"until"` // when it is removed, RFC 3339
	Seq        uint64 `json:"seq"`
	State      string `json:"state"`
}
