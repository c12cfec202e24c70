package store

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// storing is what is stored while commits go on. Until it is joined they find in its stage what they do not find in theirs;
// neither it nor who stores it changes what is found there.
type storing struct {
	stage *staged
	done  chan struct{} // closed when it is stored, or err says why not
	err   error
}

func (x *storing) ended() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// waitRoom is how much may wait to be stored before it is, bytes. As much again is being stored meanwhile: the two have the
// room of the memtables, which are not in use then.
func (db *DB) waitRoom() int { return int(memtables * db.env.Memory.Memtable / 2) }

// isDue says whether something that waits may be due by what a state says.
func (c *committer) isDue(state *State) bool {
	return c.stage.isDue(state) || c.beside != nil && c.beside.stage.isDue(state)
}

// waiting returns the newest lineage of a source key that waits to be stored, as staged.lineage does.
func (c *committer) waiting(source []byte) (value []byte, staged bool) {
	if value, staged = c.stage.lineage(c.hash, source); !staged && c.beside != nil {
		return c.beside.stage.lineage(c.hash, source)
	}
	return value, staged
}

// waitingBytes returns about how much memory takes what waits, and what is being stored.
func (c *committer) waitingBytes() int {
	n := c.stage.bytes()
	if c.beside != nil {
		n += c.beside.stage.bytes()
	}
	return n
}

// store stores all that waits.
func (db *DB) store() error {
	if err := db.join(); err != nil {
		return err
	}
	if state := db.ahead.Load(); state != nil && state != db.state.Load() {
		if err := db.persist(db.commit.stage, state); err != nil {
			return err
		}
	}
	db.discard()
	return nil
}

// storeBeside has what waits stored while commits go on, once what was stored so before is.
func (db *DB) storeBeside() error {
	if err := db.join(); err != nil {
		return err
	}
	c, state := &db.commit, db.ahead.Load()
	x := &storing{stage: c.stage, done: make(chan struct{})}
	if c.stage = c.spare; c.stage == nil {
		c.stage = &staged{}
	}
	c.stage.expect(db.waitRoom())
	c.beside, c.spare, c.since = x, nil, time.Now()
	go func() {
		x.err = db.persist(x.stage, state)
		close(x.done)
		select {
		case db.stored <- struct{}{}:
		default:
		}
	}()
	return nil
}

// join waits until what is stored beside is. What that failed with is returned once.
func (db *DB) join() error {
	c := &db.commit
	x := c.beside
	if x == nil {
		return nil
	}
	<-x.done
	x.stage.reset(db.keeps())
	c.beside, c.spare = nil, x.stage
	return x.err
}

// Stored receives when what waited was stored while commits go on: State has moved.
func (db *DB) Stored() <-chan struct{} { return db.stored }

// Waited returns since when commits wait that are not being stored. It is for who commits.
func (db *DB) Waited() time.Time {
	return db.commit.since
}

// persist stores s, which leaves state.
func (db *DB) persist(s *staged, state *State) error {
	end := db.Turn()
	s.sort()
	end()
	if s.dropPoints || s.bytes() < int(db.env.Memory.Memtable)/2 {
		db.noteWrites(s)
		if err := db.move(state, func() error { return db.write(s, state) }); err != nil {
			return err
		}
		return db.nextEra()
	}
	db.noteIngestion()
	err := db.move(state, func() error { return db.ingest(s, state) })
	if db.building.held.Load() {
		db.building.ingested(db.depth())
	}
	return err
}

// Discard forgets the commits that wait to be stored, but those that are being stored: State is where to go on.
func (db *DB) Discard() {
	db.commitMu.Lock()
	defer db.commitMu.Unlock()
	if err := db.join(); err != nil {
		db.fail(err)
	}
	db.discard()
}

// discard forgets what waits. Nothing is being stored.
func (db *DB) discard() {
	c := &db.commit
	db.ahead.Store(nil)
	c.stage.reset(db.keeps())
	if !c.more && c.release != nil {
		c.spare = nil
		c.release()
		c.release = nil
	}
}

// keeps is how much memory a stage keeps that is emptied, bytes.
func (db *DB) keeps() int {
	if db.commit.more {
		return 2 * db.waitRoom()
	}
	return int(4 * db.env.Memory.Batch)
}

// write stores what is staged in one batch of Pebble, in key order: a sorted batch costs Pebble's memtable about half of
// a shuffled one (docs/performance.md). It is as durable as the store's policy says.
func (db *DB) write(s *staged, state *State) error {
	w := db.pebble.NewBatchWithSize(s.bytes()+4096, pebble.WithMaxRetainedSizeBytes(int(2*db.env.Memory.Batch)))
	defer w.Close()
	w.Set(keyState, state.append(nil), nil)
	if s.dropPoints {
		w.DeleteRange(appendPointKey(nil, 0), []byte{kindPoint + 1}, nil)
	}
	for _, all := range s.sorted {
		err := s.each(all, func(x *write) error {
			if x.deletes() {
				return w.Delete(s.at(x.key), nil)
			}
			return w.Set(s.at(x.key), s.at(x.value), nil)
		})
		if err != nil {
			return err
		}
	}
	return db.commitBatch(w)
}
