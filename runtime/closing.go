package runtime

import (
	"context"
	"errors"
	"fmt"
)

// closer returns what closes a generation, once its readers are gone, with the module that it has for itself: that is
// decided now, for by then the fold may have another.
func (f *Fold) closer(g *follower) func() {
	m := f.stray(g)
	return func() {
		if err := errors.Join(g.db.Close(), closeModule(context.Background(), m)); err != nil {
			f.log.Warn("store not closed", "generation", g.db.Generation(), "err", err)
		}
	}
}

// later closes in the background what readers may hold for a while: neither following the source nor a stop waits for them.
func (f *Fold) later(do func()) {
	before, done := f.closing, make(chan any)
	f.closing = done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		do()
	}()
}

// closed says whether all that later was told to close is.
func (f *Fold) closed() bool {
	select {
	case <-f.closing:
		f.closing = nil
	default:
	}
	return f.closing == nil
}

// retire waits until all that later was told to close is.
func (f *Fold) retire() {
	if f.closing != nil {
		<-f.closing
		f.closing = nil
	}
}

// unread does what must not be done to a generation under its readers: at once, or when all that later was told to close is.
// Meanwhile the supervisor goes on: what serves is followed, and a stop does not wait. What an end cuts off, the next run
// finds out anew; a command that asked for it is told.
func (s *supervisor) unread(do func() error) error {
	if len(s.waits) == 0 && s.closed() {
		return do()
	}
	s.waits = append(s.waits, do)
	return nil
}

// ready does what waited for readers.
func (s *supervisor) ready(ctx context.Context) (err error) {
	for _, do := range s.waits {
		if err = do(); err != nil {
			s.want, s.moment = false, nil
			break
		}
	}
	s.waits, s.dropping = nil, false
	s.said(err)
	return s.failed(ctx, err)
}

// cutOff is what a command is told that waited for readers, when what it waited in is over.
func (f *Fold) cutOff() error {
	return fmt.Errorf("fold %s: it ended, or went on, before the last reader of what is to be replaced had gone: nothing is begun", f.name)
}

// said replies to the commands that wait for readers.
func (s *supervisor) said(err error) {
	for _, reply := range s.unsaid {
		reply <- err
	}
	s.unsaid = nil
}
