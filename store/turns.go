package store

import "runtime"

// turns are what the stages of a build have while they compute: its capacity is how many may.
type turns chan struct{}

// Yield has the stages that fill the generation compute in turns, of which there is one less than Go runs at once, so that who
// reads another generation beside it finds a core. With false each goes on as it likes, which is how a generation is opened.
func (db *DB) Yield(on bool) {
	if !on {
		db.turns.Store(nil)
		return
	}
	t := make(turns, max(1, runtime.GOMAXPROCS(0)-1))
	db.turns.Store(&t)
}

// Yields says whether there are turns.
func (db *DB) Yields() bool { return db.turns.Load() != nil }

// Turn waits for a turn, where there are turns, and returns what ends it. Who has one waits for no other stage.
func (db *DB) Turn() (end func()) {
	t := db.turns.Load()
	if t == nil {
		return func() {}
	}
	*t <- struct{}{}
	return func() { <-*t }
}
