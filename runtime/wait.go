package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// The codes of why a reader does not get the position that it demands, beside those of why a fold stopped.
const (
	CodeBehind      = "behind"            // the fold has not folded so far
	CodeIncarnation = "other_incarnation" // what is read is of another incarnation of the stream
	CodeUnconfirmed = "unconfirmed"       // the fold is as far, but its stream did not answer: it may have been made anew
)

// Pace of those who wait.
const (
	nudgeEvery  = 50 * time.Millisecond  // who is behind has the server asked this often how far it has looked
	confirmWait = 250 * time.Millisecond // the stream has this long to answer, whatever the reader's wait
)

// AtLeast is the position that a reader demands of what it reads: that of its own write, to see it.
type AtLeast struct {
	Seq     uint64
	Created int64         // the stream's incarnation, ns since 1970; 0: the one that there is when it is asked
	Wait    time.Duration // for the fold to get there
}

// A Refusal is why a reader does not get what it demanded.
type Refusal struct {
	Code string // stable
	Text string
	Hint string

	DB    *store.DB    // what was looked at last, nil while there is none
	State *store.State // of it

	final bool // waiting would change nothing
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Text }

// A stand is how a fold stands at one moment.
type stand struct {
	cur            *follower
	src            *source.Source // of cur, nil until it is open
	cause, stopped error
}

func (f *Fold) stand() stand {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := stand{cur: f.cur, stopped: f.stopped}
	if f.cur != nil {
		s.src = f.cur.src
	}
	if f.cause != nil { // a *Stop
		s.cause = f.cause
	}
	return s
}

// contradicted returns why the stream is known not to be the one that was folded, nil if it is not.
func (s *stand) contradicted() *Refusal {
	if s.src != nil {
		if stop := s.src.Status().Contradiction; stop != nil {
			return otherHistory(stop.Code, stop.Text)
		}
	}
	for _, err := range []error{s.cause, s.stopped} {
		if err == nil {
			continue
		}
		if code, text := Describe(err); isDivergence(code) {
			return otherHistory(code, text)
		}
	}
	return nil
}

// Follows says whether what serves goes on, and is of the stream that there is as far as that is known: nothing replaces it
// because it is wrong. A source that is away does not change that.
func (f *Fold) Follows() bool {
	s := f.stand()
	if s.cur == nil || s.src == nil || s.stopped != nil || s.cause != nil || s.contradicted() != nil {
		return false
	}
	state := s.src.Status().State
	return state != source.StateIdle && state != source.StateStopped
}

func otherHistory(code, text string) *Refusal {
	return &Refusal{Code: code, Text: "what is folded is of another history of the stream: " + text, final: true,
		Hint: "foldrun status says what becomes of it; without min_seq the rows of that history are read meanwhile"}
}

// isDivergence says whether a code is that a stream holds another history than the one that was folded.
func isDivergence(code string) bool {
	return code == source.CodeRewound || code == source.CodeDiverged || code == source.CodeRecreated
}

// ViewAt opens a view of the generation that serves, with a position that is at least what is demanded; the caller
// closes it. Else the error is a *Refusal, or that of ctx or the store. What was folded of another history of the stream
// is refused at once, as is what a fold that stopped lacks; anything else when the wait is over.
//
// A reader that does not say which incarnation it means gets a view only once the stream has answered since it asked:
// the one that the fold knows may have been deleted and made again, with another message of that seq.
func (f *Fold) ViewAt(ctx context.Context, want AtLeast) (*store.DB, *store.View, error) {
	w := &waiter{fold: f, want: want}
	late, again := time.NewTimer(want.Wait), time.NewTicker(nudgeEvery)
	defer late.Stop()
	defer again.Stop()
	for over := 0; ; { // 1: the reader's wait is; 2: that for the stream's answer too
		moved := f.Moved()
		db, v, err := w.look()
		if err == nil {
			return db, v, nil
		}
		var why *Refusal
		if !errors.As(err, &why) || why.final || over == 1 && why.Code != CodeUnconfirmed || over == 2 {
			return nil, nil, err
		}
		select {
		case <-moved:
		case <-w.answer():
			w.heard()
		case <-again.C:
			w.nudge()
		case <-late.C:
			over++
			late.Reset(confirmWait)
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// A waiter is one call of ViewAt.
type waiter struct {
	fold   *Fold
	want   AtLeast
	src    *source.Source // of the generation that serves
	asked  bool           // at least once
	proof  *source.Proof  // that is awaited, nil: none
	proven int64          // the stream's creation time by the last that came
}

// look opens the view, or says why it cannot be opened yet: then the source is asked.
func (w *waiter) look() (*store.DB, *store.View, error) {
	s := w.fold.stand()
	if s.src != w.src {
		w.src, w.asked, w.proof, w.proven = s.src, false, nil, 0
	}
	why := w.lacks(&s, nil)
	if why == nil {
		v, err := s.cur.db.View()
		is := w.fold.stand()
		if why = w.lacks(&is, v); err == nil && why == nil && is.cur == s.cur {
			return s.cur.db, v, nil
		}
		if err == nil {
			v.Close()
		}
		if err != nil && is.cur == s.cur {
			return nil, nil, err
		}
		if why == nil { // the generation was replaced just now: Moved says so
			why = &Refusal{Code: CodeBehind, Text: "the fold's generation is being replaced"}
		}
	}
	if !w.asked {
		w.nudge()
	}
	return nil, nil, why
}

// lacks returns why a view, or the store as it is if that is nil, is not what is demanded.
func (w *waiter) lacks(s *stand, v *store.View) *Refusal {
	if s.cur == nil {
		return s.settle(&Refusal{Code: CodeBehind, Text: "the fold has nothing to read yet"})
	}
	state := s.cur.db.State()
	if v != nil {
		state = v.State()
	}
	why := s.contradicted()
	if why == nil {
		why = s.settle(w.want.judge(state, w.proven))
	}
	if why != nil {
		why.DB, why.State = s.cur.db, state
	}
	return why
}

// Judge compares what is demanded with the position of a store that nothing follows.
func (a AtLeast) Judge(state *store.State) *Refusal { return a.judge(state, 0) }

// judge compares what is demanded with a position. The stream of the creation time proven has answered.
func (a AtLeast) judge(state *store.State, proven int64) *Refusal {
	at := state.Position()
	switch {
	case a.Created != 0 && a.Created != at.Created:
		return &Refusal{Code: CodeIncarnation, Text: fmt.Sprintf("the stream that is folded was created at %s, not at %s", stamp(at.Created), stamp(a.Created)),
			Hint: "a seq means something in one incarnation of the stream only: foldrun status has the one that is folded, nats stream info the one that there is"}
	case at.Seq < a.Seq:
		return &Refusal{Code: CodeBehind, Text: fmt.Sprintf("folded is seq %d, demanded is %d", at.Seq, a.Seq),
			Hint: "ask again, with a longer wait; foldrun status says how far the fold is, and what keeps it"}
	case a.Created == 0 && (at.Created == 0 || proven != at.Created):
		return &Refusal{Code: CodeUnconfirmed, Text: fmt.Sprintf("folded is seq %d, but the stream has not answered since the request: it may have been made anew", at.Seq),
			Hint: "foldrun status says whether it is reached; who gives the incarnation of its put as well does not wait for the stream"}
	}
	return nil
}

// settle makes a refusal final if the fold stopped: nothing will change.
func (s *stand) settle(why *Refusal) *Refusal {
	if why == nil || s.stopped == nil {
		return why
	}
	code, text := Describe(s.stopped)
	return &Refusal{Code: code, Text: why.Text + "; the fold is stopped: " + text, Hint: HintOf(s.stopped), final: true}
}

// nudge asks the source, unless it has not answered yet.
func (w *waiter) nudge() {
	if w.src != nil && w.proof == nil {
		w.asked, w.proof = true, w.src.Nudge()
	}
}

// answer returns a channel that is closed when the source has answered; nil: it is not asked.
func (w *waiter) answer() <-chan struct{} {
	if w.proof == nil {
		return nil
	}
	return w.proof.Done()
}

// heard takes the answer. A later one comes from a later moment, so one is proof for good.
func (w *waiter) heard() { w.proven, w.proof = w.proof.Created(), nil }

func stamp(ns int64) string {
	if ns == 0 {
		return "no time yet"
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}
