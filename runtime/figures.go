package runtime

import (
	"maps"
	"slices"
	"time"

	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/store"
)

// Figures are what metrics say of a fold beside its Status. Counts are since it started.
type Figures struct {
	Pull      Histogram         // seconds from the first message of a batch to its handing on
	Transform Histogram         // seconds that a worker takes for a batch, with what it waits for the committer
	Commit    Histogram         // seconds of a commit
	Fuel      Histogram         // of records, each with the mean of its call
	Frames    uint64            // calls of the module
	Instances uint64            // of the module, started
	Failed    map[string]uint64 // source keys put into quarantine as they were folded, by code
	Memory    int64             // of the module's instances, bytes

	Compile time.Duration // of the module
	Cached  bool          // its machine code was in the cache

	Serving, Build *store.Metrics // nil where there is none
	Disk, Quota    int64          // bytes: what all generations take, and disk_quota, 0 for none
}

// A Histogram counts observations.
type Histogram struct {
	Bounds []float64 // not to be changed
	Counts []uint64  // of each bucket: up to Bounds[i], and of what is above all
	Sum    float64
}

var secondBounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}

func (h *Histogram) observe(seconds float64) {
	if h.Counts == nil {
		h.Bounds, h.Counts = secondBounds, make([]uint64, len(secondBounds)+1)
	}
	i, _ := slices.BinarySearch(h.Bounds, seconds)
	h.Counts[i]++
	h.Sum += seconds
}

func (h *Histogram) add(x Histogram) {
	if x.Counts == nil {
		return
	}
	if h.Counts == nil {
		h.Bounds, h.Counts = x.Bounds, make([]uint64, len(x.Counts))
	}
	for i, n := range x.Counts {
		h.Counts[i] += n
	}
	h.Sum += x.Sum
}

func (h Histogram) clone() Histogram {
	h.Counts = slices.Clone(h.Counts)
	return h
}

// Figures returns what the fold counts now. It takes locks of the store's, and looks at its files: it is for a scrape.
func (f *Fold) Figures() Figures {
	f.mu.Lock()
	cur, next, module, quota := f.cur, f.next, f.module, f.opt.DiskQuota
	f.mu.Unlock()
	var x Figures
	if cur != nil {
		x = cur.counts.figures()
		x.Memory, x.Serving = cur.guest.Load(), metricsOf(cur.db)
	}
	if next != nil {
		x.Memory += next.guest.Load()
		x.Build = metricsOf(next.db)
	}
	if module != nil {
		x.Compile, x.Cached, _ = module.Compiled()
	}
	x.Disk, x.Quota = f.Disk(), quota
	return x
}

func metricsOf(db *store.DB) *store.Metrics {
	m, open := db.Metrics()
	if !open {
		return nil
	}
	return &m
}

func (c *counter) figures() Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.f
	for _, h := range []*Histogram{&x.Pull, &x.Transform, &x.Commit, &x.Fuel} {
		*h = h.clone()
	}
	x.Failed = maps.Clone(x.Failed)
	return x
}

// add adds what was counted of a generation that this one's replaces.
func (x *Figures) add(was Figures) {
	x.Pull.add(was.Pull)
	x.Transform.add(was.Transform)
	x.Commit.add(was.Commit)
	x.Fuel.add(was.Fuel)
	x.Frames += was.Frames
	x.Instances += was.Instances
	x.fail(was.Failed)
}

func (x *Figures) fail(codes map[string]uint64) {
	if x.Failed == nil && len(codes) > 0 {
		x.Failed = map[string]uint64{}
	}
	for code, n := range codes {
		x.Failed[code] += n
	}
}

// worked adds what a worker did since it told the last time.
func (x *Figures) worked(is, was plugin.Stats) {
	x.Frames += is.Frames - was.Frames
	x.Instances += is.Instances - was.Instances
	if x.Fuel.Counts == nil {
		for _, bound := range plugin.FuelBounds {
			x.Fuel.Bounds = append(x.Fuel.Bounds, float64(bound))
		}
		x.Fuel.Counts = make([]uint64, len(is.Records))
	}
	for i := range is.Records {
		x.Fuel.Counts[i] += is.Records[i] - was.Records[i]
	}
	x.Fuel.Sum += float64(is.Fuel - was.Fuel)
}

func (c *counter) pulled(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.f.Pull.observe(took.Seconds())
}

func (c *counter) failed(codes map[string]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.f.fail(codes)
}
