package runtime

import (
	"sync"
	"time"

	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/store"
)

// Counts are what a fold did since it started.
type Counts struct {
	Updates   uint64        `json:"updates"`      // folded, of all batches
	Coalesced uint64        `json:"coalesced"`    // of them, made superfluous by a newer one of their batch
	Batches   uint64        `json:"batches"`      // committed
	Waited    uint64        `json:"waited"`       // of them, those that were stored together with a later one
	Written   uint64        `json:"written"`      // rows
	Retracted uint64        `json:"retracted"`    // rows
	Unchanged uint64        `json:"unchanged"`    // rows that were yielded again as they stood
	Expired   uint64        `json:"expired"`      // source keys of which something expired
	Failed    uint64        `json:"failed"`       // source keys put into quarantine
	Removed   uint64        `json:"removed"`      // source keys whose record the stream was found to hold no longer
	Sweeps    uint64        `json:"sweeps"`       // comparisons of all source keys with the stream's
	InFlight  int32         `json:"in_flight"`    // the most batches that were under way at once
	Transform time.Duration `json:"transform_ns"` // in workers
	Commit    time.Duration `json:"commit_ns"`    // in the committer
}

// counter guards Counts, and those of Figures that are counts.
type counter struct {
	mu sync.Mutex
	c  Counts
	f  Figures

	first   time.Time // when the first batch was taken in hand
	storing bool      // a batch is being committed, and not counted yet
}

func (c *counter) get() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c
}

// add adds what was counted of a generation that this one's replaces.
func (c *counter) add(was Counts, figures Figures) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.f.add(figures)
	is := &c.c
	is.Updates += was.Updates
	is.Coalesced += was.Coalesced
	is.Batches += was.Batches
	is.Waited += was.Waited
	is.Written += was.Written
	is.Retracted += was.Retracted
	is.Unchanged += was.Unchanged
	is.Expired += was.Expired
	is.Removed += was.Removed
	is.Sweeps += was.Sweeps
	is.InFlight = max(is.InFlight, was.InFlight)
	is.Transform += was.Transform
	is.Commit += was.Commit
}

func (c *counter) inFlight(n int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.InFlight = max(c.c.InFlight, n)
}

// transformed counts a batch, and what its worker did for it.
func (c *counter) transformed(took time.Duration, is, was plugin.Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first.IsZero() {
		c.first = time.Now().Add(-took)
	}
	c.c.Transform += took
	c.f.Transform.observe(took.Seconds())
	c.f.worked(is, was)
}

// store notes that a batch is being committed, until it is folded.
func (c *counter) store() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.storing = true
}

// folded counts a batch of the source whose parts, with keys source keys in all, are committed.
func (c *counter) folded(updates, keys int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.storing = false
	c.c.Updates += uint64(updates)
	c.c.Coalesced += uint64(updates - keys)
}

func (c *counter) waited() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Waited++
}

// sinceFirst returns how many updates were folded, and how long ago the first batch of them was taken in hand. It is not whole
// while a batch is being committed: the store has it before it is counted.
func (c *counter) sinceFirst() (updates uint64, took time.Duration, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c.Updates, time.Since(c.first), !c.storing
}

func (c *counter) swept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Sweeps++
}

func (c *counter) committed(done store.Committed, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Batches++
	c.c.Written += uint64(done.Written)
	c.c.Retracted += uint64(done.Retracted)
	c.c.Unchanged += uint64(done.Unchanged)
	c.c.Expired += uint64(done.Expired)
	c.c.Failed += uint64(done.Failed)
	c.c.Removed += uint64(done.Removed)
	c.c.Commit += took
	c.f.Commit.observe(took.Seconds())
}
