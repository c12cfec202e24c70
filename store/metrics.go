package store

import (
	"context"
	"time"
)

// Metrics are what Pebble and the store count of one open generation, since it was opened.
type Metrics struct {
	DiskBytes      uint64  // all of its files
	Committed      uint64  // bytes that went in, by batches and as tables
	Compacting     int     // compactions under way
	Compactions    uint64  // done
	CompactionDebt uint64  // bytes that are to be compacted, about
	Flushes        uint64  // of memtables, done
	WriteAmp       float64 // bytes written to table files and the log, for each byte committed
	ReadAmp        int     // files that a read may have to look into
	Views          int     // open: snapshots of readers
	Memtables      uint64  // bytes
	Cache          CacheMetrics
}

// CacheMetrics are of the block cache that all stores of the process share.
type CacheMetrics struct {
	Bytes        int64
	Hits, Misses int64
}

// Metrics returns what is counted; false once the store is closed. It takes locks of Pebble's: it is for a scrape.
func (db *DB) Metrics() (Metrics, bool) {
	db.closeMu.RLock()
	defer db.closeMu.RUnlock()
	if db.closed {
		return Metrics{}, false
	}
	m := db.pebble.Metrics()
	total := m.Total()
	in := m.WAL.BytesIn
	for i := range m.Levels {
		in += m.Levels[i].TableBytesIngested
	}
	return Metrics{
		DiskBytes:      m.DiskSpaceUsage(),
		Committed:      in,
		Compacting:     int(m.Compact.NumInProgress),
		Compactions:    uint64(m.Compact.Count),
		CompactionDebt: m.Compact.EstimatedDebt,
		Flushes:        uint64(m.Flush.Count),
		WriteAmp:       total.WriteAmp(),
		ReadAmp:        m.ReadAmp(),
		Views:          int(db.views.Load()),
		Memtables:      m.MemTable.Size,
		Cache:          CacheMetrics{m.BlockCache.Size, m.BlockCache.Hits, m.BlockCache.Misses},
	}, true
}

// Settle writes what is in memory to tables and waits until no compaction runs: what the store takes to be at rest is then
// spent. It is for measurements.
func (db *DB) Settle(ctx context.Context) error {
	db.closeMu.RLock()
	defer db.closeMu.RUnlock()
	if db.closed {
		return ErrClosed
	}
	if err := db.pebble.Flush(); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for quiet := 0; quiet < 5; quiet++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if db.pebble.Metrics().Compact.NumInProgress > 0 || db.building.merging.Load() > 0 {
			quiet = 0
		}
	}
	return nil
}
