package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// benchBatch is how many updates one commit of a benchmark holds: a large batch of a fold that is behind.
const benchBatch = 16_384

// A bencher commits batches of puts: source keys of 16 bytes, values of 128, each re-keyed by eight bytes that its
// round decides, so that a new round rewrites every row and the same round again none.
type bencher struct {
	db    *DB
	batch *Batch
	keys  [][]byte
	value []byte
	seq   uint64
	more  bool          // commits may wait
	cpu   time.Duration // of commits
}

func newBencher(b *testing.B, keys int) *bencher {
	rng := rand.New(rand.NewPCG(1, 1))
	m, err := SplitMemory(1<<30, 1, 0)
	if err != nil {
		b.Fatal(err)
	}
	d, db, err := openStore(b.TempDir(), Options{Memory: m, Sync: SyncNever}, []IndexSpec{{"i", All}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := closeStore(d, db); err != nil {
			b.Error(err)
		}
	})
	x := &bencher{db: db, batch: NewBatch(db.Indexes()), value: make([]byte, 128)}
	for i := range x.value {
		x.value[i] = byte(rng.Uint32())
	}
	for range keys {
		x.keys = append(x.keys, fmt.Appendf(nil, "%016x", rng.Uint64()))
	}
	return x
}

// fill fills the batch with puts of n keys from the from-th.
func (x *bencher) fill(b *testing.B, from, n int, round uint64) {
	x.batch.Reset()
	if (x.seq+uint64(n))/PointEvery > x.seq/PointEvery { // no commit spans a point
		x.seq = (x.seq/PointEvery + 1) * PointEvery
		x.batch.More = x.more
		if _, err := x.db.Commit(x.batch, Position{Stream: "S", Seq: x.seq}, 0); err != nil {
			b.Fatal(err)
		}
	}
	var key [8]byte
	for i, source := range x.keys[from : from+n] {
		binary.BigEndian.PutUint64(key[:], (uint64(from+i)+round*1e9)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(x.value, round)
		x.batch.Put(source, x.seq+uint64(i)+1, 1, 0)
		if err := x.batch.Row(0, key[:], x.value, 0); err != nil {
			b.Fatal(err)
		}
		if err := x.batch.End(); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.batch.Seal(); err != nil {
		b.Fatal(err)
	}
	x.seq += uint64(n)
	x.batch.More = x.more
}

func (x *bencher) commit(b *testing.B) {
	before := cpuTime()
	defer func() { x.cpu += cpuTime() - before }()
	if _, err := x.db.Commit(x.batch, Position{Stream: "S", Seq: x.seq}, 0); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what the process has used, compactions in the background with it.
func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// report adds what a commit costs for each update, by the clock and by the CPU.
func (x *bencher) report(b *testing.B) {
	n := float64(b.N) * benchBatch
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/update")
	b.ReportMetric(float64(x.cpu.Nanoseconds())/n, "cpu-ns/update")
}

// BenchmarkCommitNew: 16,384 puts of keys that the store does not have: while it is empty, then while it grows.
func BenchmarkCommitNew(b *testing.B) {
	x := newBencher(b, 64*benchBatch)
	n := 0
	for b.Loop() {
		b.StopTimer()
		if n == 64 {
			cpu := x.cpu
			x, n = newBencher(b, 64*benchBatch), 0
			x.cpu = cpu
		}
		x.fill(b, n*benchBatch, benchBatch, 0)
		n++
		b.StartTimer()
		x.commit(b)
	}
	x.report(b)
}

// benchExisting commits over a store of 262,144 keys, 16,384 at random places at a time.
func benchExisting(b *testing.B, round func(n int) uint64) {
	const keys = 16 * benchBatch
	x := newBencher(b, keys)
	for from := 0; from < keys; from += benchBatch {
		x.fill(b, from, benchBatch, 0)
		x.commit(b)
	}
	x.cpu = 0
	n := 0
	for b.Loop() {
		b.StopTimer()
		x.fill(b, n%16*benchBatch, benchBatch, round(n/16+1))
		n++
		b.StartTimer()
		x.commit(b)
	}
	x.report(b)
}

// BenchmarkCommitRekeyed: every update moves its row to another derived key.
func BenchmarkCommitRekeyed(b *testing.B) { benchExisting(b, func(n int) uint64 { return uint64(n) }) }

// BenchmarkCommitUnchanged: no update changes its row.
func BenchmarkCommitUnchanged(b *testing.B) { benchExisting(b, func(int) uint64 { return 0 }) }

// BenchmarkFill is what a batch costs before its commit: copying, hashing, sorting.
func BenchmarkFill(b *testing.B) {
	x := newBencher(b, benchBatch)
	for b.Loop() {
		x.seq = 0
		x.fill(b, 0, benchBatch, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/update")
}

// readStore has 100,000 rows: 40 of each derived key.
func readStore(b *testing.B) *DB {
	x := newBencher(b, 100_000)
	for from := 0; from < len(x.keys); from += 10_000 {
		x.batch.Reset()
		for i, source := range x.keys[from : from+10_000] {
			x.batch.Put(source, uint64(from+i+1)%PointEvery, 1, 0)
			if err := x.batch.Row(0, fmt.Appendf(nil, "group%06d", (from+i)%2500), x.value, 0); err != nil {
				b.Fatal(err)
			}
		}
		x.seq = min(x.seq+10_000, PointEvery)
		x.commit(b)
	}
	if err := x.db.pebble.Compact(b.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		b.Fatal(err)
	}
	return x.db
}

// BenchmarkView opens and closes a view, where nothing is committed meanwhile.
func BenchmarkView(b *testing.B) {
	db := readStore(b)
	for b.Loop() {
		v, err := db.View()
		if err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
}

func BenchmarkCheck(b *testing.B) {
	db := readStore(b)
	for b.Loop() {
		if err := checkStore(db); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/row")
}

// BenchmarkBuild: 2^21 puts of keys that the store does not have, 16,384 a commit: where commits wait and go in by
// ingestion, and where each is stored by itself. The CPU time is that of commits, with what runs beside them.
func BenchmarkBuild(b *testing.B) {
	const commits = 128
	for _, waits := range []bool{true, false} {
		b.Run(fmt.Sprintf("waits=%t", waits), func(b *testing.B) {
			cpu := time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				x := newBencher(b, commits*benchBatch)
				b.StartTimer()
				for n := range commits {
					x.more = waits && n < commits-1
					x.fill(b, n*benchBatch, benchBatch, 0)
					x.commit(b)
				}
				cpu += x.cpu
			}
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N*commits*benchBatch), "cpu-ns/update")
		})
	}
}

// BenchmarkSteady: a store of 2^20 keys, settled, gets an update of each, 16,384 a commit, in another order than that of the
// keys: each moves its row, or none changes anything. Commits wait, and go in by ingestion.
func BenchmarkSteady(b *testing.B) {
	const commits = 64
	for _, rekeyed := range []bool{true, false} {
		b.Run(fmt.Sprintf("rekeyed=%t", rekeyed), func(b *testing.B) {
			x := newBencher(b, commits*benchBatch)
			round := uint64(0)
			all := func() {
				for n := range commits {
					x.more = n < commits-1
					x.fill(b, n*benchBatch, benchBatch, round)
					x.commit(b)
				}
			}
			all()
			if err := x.db.Settle(b.Context()); err != nil {
				b.Fatal(err)
			}
			x.db.commitMu.Lock()
			x.db.commit.give() // as a store that is opened with source keys in it
			x.db.commitMu.Unlock()
			x.cpu = 0
			for b.Loop() {
				round += count(rekeyed)
				all()
			}
			b.ReportMetric(float64(x.cpu.Nanoseconds())/float64(b.N*commits*benchBatch), "cpu-ns/update")
		})
	}
}
