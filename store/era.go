package store

import "time"

// An era is what was written from one flush of the memtable that the store asked for to the next. What was written of a row in
// the eras that go on, or are being flushed, may be in the memtable alone; what was before is in tables.
//
// Invariant: what a commit writes is in the era before anybody can see the commit.
type era struct {
	n       uint64 // counted from 1
	written *beginnings

	// owned by epochs.mu
	flushed <-chan struct{} // closed when all of it is in tables; nil: it goes on
	tabled  bool            // that is closed

	// owned by who stores, and by epochs.mu when it does not go on any more
	bytes int       // that the memtable took, about
	began time.Time // when the era did
	taken []func()  // give back what the filter takes out of the block cache
}

// eraMost is about how often an era ends whose filter says nothing.
const eraMost = time.Second

// memtableCost is about what a memtable takes for a key and its value beside them, bytes.
const memtableCost = 48

// beginEra begins the first era of a store, unless that is only read: Pebble, which leaves what it finds in a log in memory then,
// has flushed it otherwise.
func (db *DB) beginEra() {
	if db.env.ReadOnly {
		return
	}
	e := db.newEra(1, 0)
	e.written.all.Store(db.pebble.Metrics().MemTable.Count > 1) // a batch as large as a memtable is not flushed, if it comes last
	db.epochs.era, db.epochs.eras = e, []*era{e}
}

// newEra returns an era whose filter is likely to take so many bytes.
func (db *DB) newEra(n uint64, size int) *era {
	e := &era{n: n, began: time.Now()}
	e.written = newBeginnings(db.env.Memory.Memtable/8, size, func(bytes int) { e.taken = append(e.taken, db.dir.cache.Reserve(bytes)) })
	return e
}

// give gives back what the filter took. Who reads a base of the era may still ask it.
func (e *era) give() {
	for _, back := range e.taken {
		back()
	}
	e.taken = nil
}

// noteWrites has the era know what is about to be written.
func (db *DB) noteWrites(s *staged) {
	e := db.epochs.era
	for _, all := range s.sorted {
		for i := range all {
			e.bytes += int(all[i].key.n+all[i].value.n) + memtableCost
		}
	}
	for i := range s.sorted[listRow] {
		e.written.add(s.at(s.sorted[listRow][i].key))
	}
}

// noteIngestion has the era know that tables are about to be ingested. Where they overlap what is in memory Pebble leaves them
// beside it, for a flush.
func (db *DB) noteIngestion() { db.epochs.era.written.all.Store(true) }

// nextEra ends the era, if it has half of a memtable, or knows nothing of what was written, and asks for the flush of what is in
// memory. No more than one era is being flushed at a time.
func (db *DB) nextEra() error {
	x := &db.epochs
	e := x.era
	if e.bytes < int(db.env.Memory.Memtable/2) && (!e.written.all.Load() || e.bytes == 0 || time.Since(e.began) < eraMost) {
		return nil
	}
	x.mu.Lock()
	flushing := x.unflushed() < e.n
	x.mu.Unlock()
	if flushing {
		return nil
	}
	flushed, err := db.pebble.AsyncFlush()
	if err != nil {
		return err
	}
	next := db.newEra(e.n+1, e.written.bytes())
	x.mu.Lock()
	e.flushed = flushed
	x.era, x.eras = next, append(x.eras[:len(x.eras):len(x.eras)], next)
	x.mu.Unlock()
	return nil
}

// unflushed returns the number of the first era that may not be in tables.
func (x *epochs) unflushed() uint64 {
	for _, e := range x.eras {
		if e.flushed == nil {
			return e.n // it goes on
		}
		if !e.tabled {
			select {
			case <-e.flushed:
				e.tabled = true
			default:
				return e.n
			}
		}
	}
	panic("store: no era goes on")
}

// filters returns the number of the last era that knows nothing of what was written, 0 where none is, and how much memory the
// filters of all eras take, bytes.
func (x *epochs) filters() (unknown uint64, size int) {
	for _, e := range x.eras {
		if e.written.all.Load() {
			unknown = e.n
		}
		size += e.written.bytes()
	}
	return unknown, size
}
