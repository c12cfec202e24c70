package serve

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// A measured fold counts more than its status says: one that runs.
type measured interface {
	Figures() runtime.Figures
}

func storeMetric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("foldrun_store_"+name, help, append([]string{"fold"}, labels...), nil)
}

func cacheMetric(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("foldrun_block_cache_"+name, help, nil, nil)
}

var (
	metricStage     = metric("fold_stage_seconds", "What a batch takes in a stage: pull, from its first message to its handing on; transform, in a worker, with what that waits for the committer; commit, of each part.", "stage")
	metricFuel      = metric("fold_fuel_per_record", "Fuel of records: each counts with the mean of the records of its call, for the meter is read once a call. Calls that failed are not in it.")
	metricFrames    = metric("fold_frames_total", "Calls of the module.")
	metricInstances = metric("fold_module_instances_total", "Instances of the module started: each record that fails costs some.")
	metricFailed    = metric("fold_failed_total", "Source keys put into quarantine as they were folded, by code.", "code")
	metricGuest     = metric("fold_module_memory_bytes", "Memory of the module's instances.")
	metricCompile   = metric("fold_module_compile_seconds", "What it took at start to compile the module, or to read its machine code from the cache.")
	metricCached    = metric("fold_module_cached", "1 if the module's machine code was in the cache.")

	metricDisk        = storeMetric("disk_bytes", "Size of the files of a generation: role is serving or build.", "role")
	metricCompactions = storeMetric("compactions_total", "Compactions of the store, since it was opened.")
	metricDebt        = storeMetric("compaction_debt_bytes", "What is to be compacted, about.")
	metricFlushes     = storeMetric("flushes_total", "Memtables written to table files, since the store was opened.")
	metricWriteAmp    = storeMetric("write_amplification", "Bytes written to log and table files for each byte committed, since the store was opened.")
	metricReadAmp     = storeMetric("read_amplification", "Table files that a read may have to look into.")
	metricViews       = storeMetric("open_views", "Snapshots that readers have open.")
	metricMemtables   = storeMetric("memtable_bytes", "Memory of the memtables.")

	metricCacheBytes  = cacheMetric("bytes", "Size of the blocks in the cache that all stores share.")
	metricCacheHits   = cacheMetric("hits_total", "Blocks that were in the cache.")
	metricCacheMisses = cacheMetric("misses_total", "Blocks that were not in the cache.")
)

// figures sends what a fold counts beside its status.
func (x figures) figures(f runtime.Figures) {
	x.histogram(metricStage, f.Pull, "pull")
	x.histogram(metricStage, f.Transform, "transform")
	x.histogram(metricStage, f.Commit, "commit")
	x.histogram(metricFuel, f.Fuel)
	x.counter(metricFrames, float64(f.Frames))
	x.counter(metricInstances, float64(f.Instances))
	for code, n := range f.Failed {
		x.counter(metricFailed, float64(n), code)
	}
	x.gauge(metricGuest, float64(f.Memory))
	x.gauge(metricCompile, f.Compile.Seconds())
	x.gauge(metricCached, flag(f.Cached))
	if f.Build != nil {
		x.gauge(metricDisk, float64(f.Build.DiskBytes), "build")
	}
	if f.Serving != nil {
		x.store(f.Serving)
	}
}

func (x figures) store(m *store.Metrics) {
	x.gauge(metricDisk, float64(m.DiskBytes), "serving")
	x.counter(metricCompactions, float64(m.Compactions))
	x.gauge(metricDebt, float64(m.CompactionDebt))
	x.counter(metricFlushes, float64(m.Flushes))
	x.gauge(metricWriteAmp, m.WriteAmp)
	x.gauge(metricReadAmp, float64(m.ReadAmp))
	x.gauge(metricViews, float64(m.Views))
	x.gauge(metricMemtables, float64(m.Memtables))
}

func (x figures) cache(m store.CacheMetrics) {
	x.to <- prometheus.MustNewConstMetric(metricCacheBytes, prometheus.GaugeValue, float64(m.Bytes))
	x.to <- prometheus.MustNewConstMetric(metricCacheHits, prometheus.CounterValue, float64(m.Hits))
	x.to <- prometheus.MustNewConstMetric(metricCacheMisses, prometheus.CounterValue, float64(m.Misses))
}

// histogram sends what was observed, nothing while nothing was.
func (x figures) histogram(d *prometheus.Desc, h runtime.Histogram, labels ...string) {
	if h.Counts == nil {
		return
	}
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range h.Bounds {
		sum += h.Counts[i]
		buckets[bound] = sum
	}
	sum += h.Counts[len(h.Bounds)]
	x.to <- prometheus.MustNewConstHistogram(d, sum, h.Sum, buckets, append([]string{x.name}, labels...)...)
}
