package source

import (
	"maps"
	"time"
)

// The states of a source.
const (
	StateIdle    = "idle"    // Run is not running
	StateWaiting = "waiting" // for NATS, for the stream, or for a permission; Status.Reason says for which
	StateProving = "proving" // comparing the stream with the cursor, before a consumer is made
	StateReading = "reading" // a consumer delivers
	StateStopped = "stopped" // Run returned a *Stop
)

// Status is what a source knows about itself and its stream. It is a copy, safe to keep.
type Status struct {
	State  string
	Reason string // why it waits or stopped, or why its last session ended
	Code   string // the stable code of Reason, if it has one
	Hint   string // what to do about it, if that is known

	Connected bool   // the NATS connection is up
	Server    string // version of the server, "" before the first connection

	Stream   string
	Domain   string
	Prefix   string // what is cut from a subject to get its source key
	Filter   string // the consumer's filter subject
	Mirror   string // the stream that this one mirrors, if any
	Created  time.Time
	Messages uint64 // in the stream, all subjects
	Subjects uint64 // distinct subjects in the stream, whatever the filter
	FirstSeq uint64
	LastSeq  uint64    // the stream's last seq as far as known: the leader's word, or newer by what arrived since
	AsOf     time.Time // the server's time of the leader's last word: Messages, Subjects and FirstSeq are of it
	AsOfSeq  uint64    // the stream's last seq by that word
	MaxAge   int64     // the stream's, ns, by that word; 0 = none
	Discards bool      // the oldest messages go when the stream is full: only in what Look returns
	TTL      bool      // messages may have a time to live of their own, by that word
	Doubt    string    // why the rows should be compared with the stream: the last of the Doubt… constants that was found
	Doubts   uint64    // how often one was found

	// Contradiction is why Run ended, if the stream was found to hold another history; nil once it is read again.
	Contradiction *Stop

	Seq        uint64    // the position of the last batch handed on
	Lag        uint64    // LastSeq - Seq
	CaughtUp   bool      // Seq has reached the LastSeq of the leader's last word
	CaughtUpAt time.Time // the server's time when that last held
	LastHeard  time.Time // this machine's time of the last batch or heartbeat
	HeadLost   uint64    // code source_head_lost: seqs that the stream had dropped before they were read, at most; superseded ones count too

	Batches    uint64            // handed on, empty ones included
	Updates    uint64            // in them
	Sessions   uint64            // consumers made
	Heartbeats uint64            // received
	Advances   uint64            // times a heartbeat moved the position
	Duplicates uint64            // messages dropped because their seq was not above the position
	Resets     map[string]uint64 // sessions ended, by reason
	Checks     map[string]uint64 // identity checks, by result
}

// Status returns what the source knows now. It may be called from any goroutine.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Resets, st.Checks = maps.Clone(st.Resets), maps.Clone(st.Checks)
	st.Connected, st.Server = s.nc.IsConnected(), s.nc.ConnectedServerVersion()
	if st.LastSeq > st.Seq {
		st.Lag = st.LastSeq - st.Seq
	}
	return st
}

// LastSeq returns the stream's last seq as far as known: that of Status, which costs more.
func (s *Source) LastSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.LastSeq
}

// away notes why there is no connection.
func (st *Status) away(err error) {
	st.Reason = "not connected to NATS"
	if err != nil {
		st.Reason += ": " + err.Error()
	}
	st.Code, st.Hint = explainAway(err)
}

// note changes the status under its lock. Nothing on the path of a message calls it.
func (s *Source) note(change func(st *Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}
