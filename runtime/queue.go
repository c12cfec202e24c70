package runtime

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A build that is to begin waits: for who reads what it replaces, for a moment that is drawn, for its turn.
//
// What has foldrun begin one by itself, a new version of a module, the same configuration rolled out, a stream that was made anew,
// comes to many nodes at once, and each would read the whole stream then. So each draws its moment. What an operator asks of one
// node begins at once, and so does what reads little of the stream: a first build, which nobody else can answer for meanwhile,
// a way back, what is made of kept records, and what replaces damaged files, which are one node's.

// A queued is a build that is to begin.
type queued struct {
	generation string    // "" until NEXT names it
	why        string    // it waits, "" for its turn
	begins     time.Time // where that was drawn
}

// spread draws the moment at which a build begins, unless an operator asked for it.
func (s *supervisor) spread() {
	if !s.want || s.opt.Jitter == 0 || s.opt.AtOnce || s.cur == nil || s.ordered || s.accept.Load() != 0 || s.returns() || s.keptSource(s.cause) != nil {
		return
	}
	wait := s.draw(s.opt.Jitter)
	s.moment = time.After(wait)
	at := time.Now().Add(wait)
	why := fmt.Sprintf("it begins at %s: what foldrun begins by itself is spread over build_jitter, %s, since other nodes may begin it too", whenOf(at), s.opt.Jitter)
	s.set(func() { s.queued.begins, s.queued.why = at, why })
	s.log.Info("a build waits for its moment", "begins", whenOf(at), "jitter", s.opt.Jitter)
}

// order notes that an operator has a build begin that waits for its moment.
func (s *supervisor) order() error {
	if s.ordered = true; len(s.waits) > 0 {
		return nil // what is to be done then notes it
	}
	_, err := s.prepare(true)
	return err
}

// now has a build begin at once that waits for its moment.
func (s *supervisor) now() {
	s.moment = nil
	s.set(func() { s.queued.begins, s.queued.why = time.Time{}, "" })
}

// drawn returns a moment within d, each as likely as the others.
func drawn(d time.Duration) time.Duration { return rand.N(d) }

func whenOf(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// await notes that a build waits for readers, or does not any more.
func (s *supervisor) await() {
	if s.moment != nil {
		return
	}
	why := ""
	if s.want && (len(s.waits) > 0 || s.closing != nil) {
		why = "it waits for those who read what was replaced, or is given up for it"
	}
	s.mu.Lock()
	same := s.queued.why == why
	s.mu.Unlock()
	if !same {
		s.set(func() { s.queued.why = why })
	}
}

// waiting is the status of a build that has not begun, nil where none is to.
func (f *Fold) waiting() *BuildStatus {
	f.mu.Lock()
	q := f.queued
	f.mu.Unlock()
	if q == (queued{}) {
		return nil
	}
	b := &BuildStatus{Generation: q.generation, State: StateQueued, Indexes: []IndexStatus{},
		Reason: orElse(q.why, "it waits for its turn: a process builds one generation at a time")}
	if !q.begins.IsZero() {
		b.Begins = whenOf(q.begins)
		b.Hint = fmt.Sprintf("foldrun apply %s has it begin now", f.name)
	}
	return b
}
