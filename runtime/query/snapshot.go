package query

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/foldrun/foldrun/store"
)

// Bounds of snapshots that are kept between requests. Each holds files of a store back from deletion, and one of a
// generation that was replaced holds back the whole generation.
const (
	MaxSnapshots = 32 // at once
	MaxKeep      = 2 * time.Minute
)

// A Snapshot is a moment of a fold that is kept for the requests that have its token.
type Snapshot struct {
	Token string
	Until time.Time
}

// appendTo appends the snapshot as a field, if there is one.
func (s *Snapshot) appendTo(dst []byte) []byte {
	if s == nil {
		return dst
	}
	return fmt.Appendf(dst, `,"snapshot":{"token":%q,"until":%q}`, s.Token, s.Until.UTC().Format(time.RFC3339Nano))
}

// A kept is a snapshot with its view.
type kept struct {
	Snapshot
	fold  Fold
	db    *store.DB
	view  *store.View
	timer *time.Timer

	readers int  // owned by snapshots, with ended
	ended   bool // the last reader closes the view
}

// snapshots are those that are kept. Each ends when its time is over, or all end, whoever is still there: what reads one
// then reads on.
type snapshots struct {
	mu     sync.Mutex
	all    map[string]*kept
	ending int // that have ended and have a reader still
	closed bool
}

// keep keeps a view of a store, which it owns from then on.
func (s *snapshots) keep(f Fold, db *store.DB, v *store.View, keep time.Duration) (*kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, closing()
	case len(s.all)+s.ending >= MaxSnapshots:
		return nil, &Fault{Status: http.StatusServiceUnavailable, Code: TooManySnapshots, Message: fmt.Sprintf("%d snapshots are kept already", MaxSnapshots),
			Hint: "ask again when one has expired, or read the range as one stream"}
	}
	k := &kept{Snapshot: Snapshot{rand.Text(), time.Now().Add(keep)}, fold: f, db: db, view: v, readers: 1}
	s.all[k.Token] = k
	k.timer = time.AfterFunc(keep, func() { s.end(k) })
	return k, nil
}

// use returns a snapshot of a fold. Whoever got it releases it.
func (s *snapshots) use(fold, token string) (*kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.all[token]
	if k == nil || k.fold.Name() != fold {
		return nil, &Fault{Status: http.StatusGone, Code: TokenExpired, Message: "no snapshot of this fold is kept under this token",
			Hint: "begin again without it: it lives for as long as was asked, and no longer than foldrun runs"}
	}
	k.readers++
	return k, nil
}

func (s *snapshots) release(k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.readers--; k.readers == 0 && k.ended {
		s.ending--
		k.view.Close()
	}
}

// end forgets a snapshot.
func (s *snapshots) end(k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(k)
}

func (s *snapshots) forget(k *kept) {
	if k.ended {
		return
	}
	k.ended = true
	k.timer.Stop()
	delete(s.all, k.Token)
	if k.readers == 0 {
		k.view.Close()
	} else {
		s.ending++
	}
}

// close ends all of them. No more are kept.
func (s *snapshots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, k := range s.all {
		s.forget(k)
	}
}
