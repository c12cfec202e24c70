package runtime

import (
	"fmt"
	"sync"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// A ledger watches what a source hands to a fold: every batch, before it is transformed. Batches follow one another
// without a gap in runs; a run begins where a store's cursor is, and nowhere else. What it has found wrong is in wrong.
type ledger struct {
	mu    sync.Mutex
	runs  []*cursorRun // the last used first
	epoch int          // counts the histories of the stream
	shut  bool         // the history is just being changed
	wrong differences
	begun int // runs
}

// A cursorRun is what one call of Source.Run handed on.
type cursorRun struct {
	epoch      int // the history that it read all of, -1 if that is not known
	start, end uint64
	seen       map[uint64]int64 // the time of each message, by seq
}

// change has the stream hold another history, or lose and regain its own.
func (l *ledger) change(do func()) {
	set := func(shut bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.epoch++
		l.shut = shut
	}
	set(true)
	defer set(false)
	do()
}

// restarted forgets the runs: from now on each begins at a cursor.
func (l *ledger) restarted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = nil
}

// see is a Fold.tamper that changes nothing.
func (l *ledger) see(f *Fold, b *source.Batch) {
	cursors := f.cursors()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.run(b.From, cursors)
	if r == nil {
		l.wrong.add("a batch follows %d, the runs stand at %s, the cursors at %v", b.From, l.ends(), cursors)
		return
	}
	last := r.end
	for i := range b.Records {
		u := &b.Records[i]
		if u.Seq <= last || u.Seq > b.Pos.Seq {
			l.wrong.add("seq %d comes after %d in a batch up to %d", u.Seq, last, b.Pos.Seq)
		}
		last, r.seen[u.Seq] = u.Seq, u.Time
	}
	if b.Pos.Seq < r.end {
		l.wrong.add("a batch ends at %d, the one before it at %d", b.Pos.Seq, r.end)
	}
	r.end = b.Pos.Seq
}

// run returns the run that a batch after seq belongs to, nil if there is none.
func (l *ledger) run(seq uint64, cursors []uint64) *cursorRun {
	for i, r := range l.runs {
		if r.end == seq {
			copy(l.runs[1:i+1], l.runs[:i])
			l.runs[0] = r
			return r
		}
	}
	for _, at := range cursors {
		if at != seq {
			continue
		}
		r := &cursorRun{epoch: l.epoch, start: seq, end: seq, seen: map[uint64]int64{}}
		if l.shut {
			r.epoch = -1
		}
		l.runs = append([]*cursorRun{r}, l.runs[:min(len(l.runs), len(cursors)-1)]...)
		l.begun++
		return r
	}
	return nil
}

func (l *ledger) ends() (text string) {
	for _, r := range l.runs {
		text += fmt.Sprintf("[%d, %d] ", r.start, r.end)
	}
	return text
}

// cursors returns those of the generations that are open.
func (f *Fold) cursors() (all []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range []*follower{f.cur, f.next} {
		if g != nil {
			all = append(all, g.db.State().Position().Seq)
		}
	}
	return all
}

// check returns what is wrong when the stream retains these messages: a run that read the history that the stream holds
// now was handed each of them that lies in it.
func (l *ledger) check(retained []record) (d differences) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.runs {
		if r.epoch != l.epoch {
			continue
		}
		for _, m := range retained {
			if m.seq <= r.start || m.seq > r.end {
				continue
			}
			if at, ok := r.seen[m.seq]; !ok || at != m.time {
				d.add("seq %d of %q stood all the while, and was skipped by the run from %d to %d", m.seq, m.key, r.start, r.end)
			}
		}
	}
	return d
}

// takeWrong returns what was found wrong with the batches, once.
func (l *ledger) takeWrong() differences {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.wrong
	l.wrong = nil
	return d
}

// contradicted returns the anchors of a cursor that the stream holds something else at.
func contradicted(at store.Position, retained []record) (d differences) {
	times := map[uint64]int64{}
	for _, m := range retained {
		times[m.seq] = m.time
	}
	for _, a := range at.Anchors {
		if is, ok := times[a.Seq]; ok && is != a.Time {
			d.add("the cursor's anchor at %d is of %d, the stream's message there of %d", a.Seq, a.Time, is)
		}
	}
	return d
}
