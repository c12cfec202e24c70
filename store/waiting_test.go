package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A holder is a store whose ingestions wait until they are let go.
type holder struct {
	t       *testing.T
	fs      *vfs.MemFS
	dir     *Dir
	db      *DB
	w       *world
	begun   chan struct{} // receives when an ingestion begins
	let     chan error    // what it is to fail with, nil for none
	history uint64
}

func newHolder(t *testing.T) *holder {
	h := &holder{t: t, fs: vfs.NewMem(), w: newWorld(twoIndexes), begun: make(chan struct{}, 1), let: make(chan error, 1)}
	h.open()
	t.Cleanup(func() { ok(t, closeStore(h.dir, h.db)) })
	return h
}

func (h *holder) open() {
	o := options(h.fs)
	o.ingest = func(p *pebble.DB, paths []string) error {
		h.begun <- struct{}{}
		if err := <-h.let; err != nil {
			return err
		}
		return p.Ingest(h.t.Context(), paths)
	}
	var err error
	h.dir, h.db, err = openStore(dataDir, o, twoIndexes)
	ok(h.t, err)
}

// commit commits a step, and asserts that it did what is to be.
func (h *holder) commit(s step) {
	h.t.Helper()
	w, want := h.w.after(s)
	if done, err := commitStep(h.db, s); err != nil || done != want {
		h.t.Fatalf("at %d: %+v, want %+v: %v", s.pos.Seq, done, want, err)
	}
	h.w = w
}

// large returns a step that is large enough to be stored, though it may wait: twelve source keys, the first of which expires.
func (h *holder) large() step {
	s := h.step(true)
	for i := range 12 {
		s.events = append(s.events, h.put(s, i, "k", strings.Repeat(fmt.Sprintf("%d at %d;", i, s.pos.Seq), 500)))
	}
	s.events[0].expiry = 1000
	return s
}

// step returns the next step, without events.
func (h *holder) step(more bool) step {
	h.history += 100
	return step{pos: Position{Stream: "S", Created: 1, Seq: h.history}, now: 1, more: more}
}

func (h *holder) put(s step, n int, key, value string) event {
	return event{kind: changePut, source: fmt.Sprintf("s%02d", n), seq: s.pos.Seq - 50 + uint64(n), time: 1, entries: []entry{{0, key, value, 0}}}
}

func (h *holder) remove(s step, n int) event {
	return event{kind: changeRemove, source: fmt.Sprintf("s%02d", n), seq: s.pos.Seq - 50 + uint64(n), time: 1}
}

// stands asserts that the store holds what the world does.
func (h *holder) stands(w *world) {
	h.t.Helper()
	ok(h.t, w.compare(h.db))
	check(h.t, h.db)
}

// TestStoredBeside: while what waited is being stored, commits go on, and find in it what they change.
func TestStoredBeside(t *testing.T) {
	h := newHolder(t)
	h.commit(h.large())
	<-h.begun
	first := h.w
	s := h.step(true)
	s.events = []event{h.put(s, 1, "k", h.w.records["s01"].entries[place{0, "k"}].value), h.remove(s, 2), h.put(s, 3, "other", "x"), h.put(s, 12, "k", "new")}
	h.commit(s)
	s = h.step(true)
	s.events = []event{h.put(s, 2, "k", "back"), h.put(s, 3, "other", "x"), h.remove(s, 12)}
	h.commit(s)
	if is, ahead := h.db.State().Position().Seq, h.db.Ahead().Position().Seq; is != 0 || ahead != 300 || !h.db.Waiting() {
		t.Errorf("stored up to %d, ahead at %d", is, ahead)
	}
	if c := &h.db.commit; c.stage.isDue(&State{ExpiredTo: 1000}) || !c.isDue(&State{ExpiredTo: 1000}) {
		t.Error("what is to expire is not known to be staged where it is")
	}
	h.let <- nil
	<-h.db.Stored()
	h.stands(first)
	s = h.step(true)
	s.events = []event{h.put(s, 1, "k", "changed")}
	h.commit(s)
	s = h.step(false)
	s.now = 1000
	h.commit(s)
	if h.db.Waiting() || h.w.records["s00"].seq != 0 {
		t.Error("a commit waits, or a record stands that has expired")
	}
	h.stands(h.w)
}

// TestStoredBesideTwice: what is large enough while something is being stored is stored after it.
func TestStoredBesideTwice(t *testing.T) {
	h := newHolder(t)
	for range 3 {
		h.let <- nil // for the one that was begun before, or the first
		h.commit(h.large())
		<-h.begun
	}
	h.let <- nil
	if h.commit(h.step(false)); h.db.Waiting() {
		t.Error("it waits")
	}
	h.stands(h.w)
}

// TestStoredBesideIdle: once what waited is stored and nothing came since, nothing waits.
func TestStoredBesideIdle(t *testing.T) {
	h := newHolder(t)
	h.let <- nil
	h.commit(h.large())
	<-h.db.Stored()
	h.commit(h.step(false))
	if h.db.Waiting() || h.db.State().Position().Seq != 200 {
		t.Errorf("stored up to %d", h.db.State().Position().Seq)
	}
	h.stands(h.w)
}

// TestStoreBesideFails: the commit after one that could not be stored fails, and so do all after it; the store is what it was.
func TestStoreBesideFails(t *testing.T) {
	broken := errors.New("broken")
	for name, next := range map[string]func(h *holder) error{
		"commit": func(h *holder) error { _, err := commitStep(h.db, h.step(false)); return err },
		"more":   func(h *holder) error { _, err := commitStep(h.db, h.large()); return err },
		"discard": func(h *holder) error {
			h.db.Discard()
			_, err := commitStep(h.db, h.step(true))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolder(t)
			was := h.w
			h.commit(h.large())
			h.let <- broken
			if err := next(h); !errors.Is(err, broken) {
				t.Errorf("%v", err)
			}
			if _, err := commitStep(h.db, h.step(false)); !errors.Is(err, broken) || !errors.Is(h.db.Failed(), broken) {
				t.Errorf("after a failure: %v", err)
			}
			ok(t, closeStore(h.dir, h.db))
			<-h.begun
			h.open()
			h.stands(was)
		})
	}
}

// TestStoredBesideEnds: what is being stored when the store is closed, or what waits is forgotten, is stored; what came since is
// not.
func TestStoredBesideEnds(t *testing.T) {
	for name, end := range map[string]func(h *holder){
		"close":   func(h *holder) { ok(h.t, closeStore(h.dir, h.db)); h.open() },
		"discard": func(h *holder) { h.db.Discard() },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolder(t)
			h.commit(h.large())
			<-h.begun
			stored := h.w
			s := h.step(true)
			s.events = []event{h.remove(s, 1)}
			h.commit(s)
			h.let <- nil
			if end(h); h.db.Waiting() || h.db.Ahead().Position().Seq != 100 {
				t.Errorf("ahead at %d", h.db.Ahead().Position().Seq)
			}
			h.stands(stored)
		})
	}
}
