package serve

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// These tables are the metrics, each with what it is of. docs/metrics.md has them too.

const (
	gauge        = prometheus.GaugeValue
	counter      = prometheus.CounterValue
	distribution = prometheus.UntypedValue // has outlet.histogram, which says so itself
)

var processMetrics = []metric[*Server]{
	of(gauge, "build_info", "The version of this foldrun, and the instance of its configuration.",
		func(o outlet, s *Server) { o.put(1, s.opt.Version, s.opt.Instance) }, "version", "foldrun_instance"),
}

// doorMetrics are of all that come in, whatever they may see.
var doorMetrics = []metric[*Refusals]{
	of(counter, "requests_refused_total", "Requests answered with an error, by the door (http, ops, socket or nats) and the error's code; not those for a key that is not there.",
		func(o outlet, r *Refusals) {
			r.each(func(door, code string, n uint64) { o.put(float64(n), door, code) })
		}, "door", "code"),
}

var cacheMetrics = []metric[*store.CacheMetrics]{
	of(gauge, "block_cache_bytes", "Size of the blocks in the cache that all stores share.",
		func(o outlet, m *store.CacheMetrics) { o.put(float64(m.Bytes)) }),
	of(counter, "block_cache_hits_total", "Blocks that were in the cache.",
		func(o outlet, m *store.CacheMetrics) { o.put(float64(m.Hits)) }),
	of(counter, "block_cache_misses_total", "Blocks that were not in the cache.",
		func(o outlet, m *store.CacheMetrics) { o.put(float64(m.Misses)) }),
}

// foldMetrics are of what a fold's status says. What nobody knows is absent.
var foldMetrics = []metric[*runtime.Status]{
	of(gauge, "fold_state", "1 for the state that the fold is in, with the code of why it does not do all of its work.",
		func(o outlet, x *runtime.Status) { o.put(1, x.State, x.Code) }, "state", "code"),
	of(gauge, "fold_seq", "The stream's sequence number up to which the fold is folded.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Seq)) }),
	of(gauge, "fold_stream_last_seq", "The stream's last sequence number, as far as known; absent while it is not.",
		func(o outlet, x *runtime.Status) {
			if x.LastSeq > 0 {
				o.put(float64(x.LastSeq))
			}
		}),
	of(gauge, "fold_lag_messages", "How far the fold is behind the stream's end, in sequence numbers; absent while that is not known.",
		func(o outlet, x *runtime.Status) {
			if x.LastSeq > 0 {
				o.put(float64(x.Lag))
			}
		}),
	of(gauge, "fold_behind_seconds", "How long ago the fold last held everything that the stream held, by the server's clock; 0 while it does, and if it never did.",
		func(o outlet, x *runtime.Status) { o.put(behind(x)) }),
	of(gauge, "fold_caught_up", "1 while everything that the stream holds is folded.",
		func(o outlet, x *runtime.Status) { o.put(flag(x.CaughtUp)) }),
	of(gauge, "fold_live_source_keys", "Source keys with a live record.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Live)) }),
	of(gauge, "fold_quarantined_source_keys", "Source keys whose update is in quarantine.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Quarantined)) }),
	of(gauge, "fold_quarantine_bytes", "Bytes of the updates in quarantine.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Held)) }),
	of(gauge, "fold_quarantine_allowed", "Source keys that may be in quarantine before the fold halts.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Allowed)) }),
	of(gauge, "fold_stale", "1 while everything was folded last longer ago than the fold's max_staleness.",
		func(o outlet, x *runtime.Status) { o.put(flag(x.Stale)) }),
	of(gauge, "fold_ready", "1 once everything that the stream held was folded, by this run or an earlier one.",
		func(o outlet, x *runtime.Status) { o.put(flag(x.Ready)) }),
	of(gauge, "fold_rows", "Rows of an index.",
		func(o outlet, x *runtime.Status) {
			for _, i := range x.Indexes {
				o.put(float64(i.Rows), i.Name)
			}
		}, "index"),
	of(gauge, "fold_build_seq", "The sequence number up to which a generation is built that is to replace the one that serves; absent when none is.",
		func(o outlet, x *runtime.Status) {
			if x.Build != nil {
				o.put(float64(x.Build.Seq))
			}
		}),
	of(gauge, "fold_nats_connected", "1 while the connection to NATS is up.",
		func(o outlet, x *runtime.Status) { o.put(flag(x.Source.Connected)) }),
	of(counter, "fold_updates_total", "Updates folded.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Updates)) }),
	of(counter, "fold_updates_coalesced_total", "Updates that a newer one of their batch made superfluous.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Coalesced)) }),
	of(counter, "fold_commits_total", "Batches committed.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Batches)) }),
	of(counter, "fold_rows_written_total", "Rows written.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Written)) }),
	of(counter, "fold_rows_retracted_total", "Rows deleted.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Retracted)) }),
	of(counter, "fold_rows_unchanged_total", "Rows that were yielded again as they stood, and not written.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Unchanged)) }),
	of(counter, "fold_source_keys_expired_total", "Source keys of which something expired.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Expired)) }),
	of(counter, "fold_source_keys_removed_total", "Source keys whose record the stream was found to hold no longer.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Removed)) }),
	of(counter, "fold_sweeps_total", "Comparisons of all source keys with the stream's.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Counts.Sweeps)) }),
	of(counter, "fold_source_sessions_total", "Consumers made.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Source.Sessions)) }),
	of(counter, "fold_source_resets_total", "Sessions with the server ended, by reason.",
		func(o outlet, x *runtime.Status) {
			for reason, n := range x.Source.Resets {
				o.put(float64(n), reason)
			}
		}, "reason"),
	of(counter, "fold_source_duplicates_total", "Messages that came twice, and were dropped.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Source.Duplicates)) }),
	of(gauge, "fold_source_head_lost", "Sequence numbers that the stream had dropped before they were read, at most.",
		func(o outlet, x *runtime.Status) { o.put(float64(x.Source.HeadLost)) }),
}

// figureMetrics are of what a fold that runs counts beside its status.
var figureMetrics = []metric[*runtime.Figures]{
	of(distribution, "fold_stage_seconds", "What a batch takes in a stage: pull, from its first message to its handing on; transform, in a worker, with what that waits for the committer; commit, of each part.",
		func(o outlet, x *runtime.Figures) {
			o.histogram(x.Pull, "pull")
			o.histogram(x.Transform, "transform")
			o.histogram(x.Commit, "commit")
		}, "stage"),
	of(distribution, "fold_fuel_per_record", "Fuel of records: each counts with the mean of the records of its call, for the meter is read once a call. Calls that failed are not in it.",
		func(o outlet, x *runtime.Figures) { o.histogram(x.Fuel) }),
	of(counter, "fold_frames_total", "Calls of the module.",
		func(o outlet, x *runtime.Figures) { o.put(float64(x.Frames)) }),
	of(counter, "fold_module_instances_total", "Instances of the module started: each record that fails costs some.",
		func(o outlet, x *runtime.Figures) { o.put(float64(x.Instances)) }),
	of(counter, "fold_failed_total", "Times that a source key was put into quarantine as it was folded, by code, since the fold began to run; foldrun_fold_quarantined_source_keys has how many are there.",
		func(o outlet, x *runtime.Figures) {
			for code, n := range x.Failed {
				o.put(float64(n), code)
			}
		}, "code"),
	of(gauge, "fold_module_memory_bytes", "Memory of the module's instances.",
		func(o outlet, x *runtime.Figures) { o.put(float64(x.Memory)) }),
	of(gauge, "fold_module_compile_seconds", "What it took to compile the module, or to read its machine code from the cache; 0 until it was needed.",
		func(o outlet, x *runtime.Figures) { o.put(x.Compile.Seconds()) }),
	of(gauge, "fold_module_cached", "1 if the module's machine code was in the cache.",
		func(o outlet, x *runtime.Figures) { o.put(flag(x.Cached)) }),
	of(gauge, "fold_disk_bytes", "Size of the files of all generations of the fold, also of one that is kept as the way back.",
		func(o outlet, x *runtime.Figures) { o.put(float64(x.Disk)) }),
	of(gauge, "fold_disk_quota_bytes", "What the generations of the fold may take before it pauses, its disk_quota; absent where there is none.",
		func(o outlet, x *runtime.Figures) {
			if x.Quota > 0 {
				o.put(float64(x.Quota))
			}
		}),
	of(gauge, "store_disk_bytes", "Size of the files of a generation: role is serving or build.",
		func(o outlet, x *runtime.Figures) {
			for role, m := range map[string]*store.Metrics{"serving": x.Serving, "build": x.Build} {
				if m != nil {
					o.put(float64(m.DiskBytes), role)
				}
			}
		}, "role"),
}

// storeMetrics are of the store of the generation that serves.
var storeMetrics = []metric[*store.Metrics]{
	of(counter, "store_compactions_total", "Compactions of the store, since it was opened.",
		func(o outlet, x *store.Metrics) { o.put(float64(x.Compactions)) }),
	of(gauge, "store_compaction_debt_bytes", "What is to be compacted, about.",
		func(o outlet, x *store.Metrics) { o.put(float64(x.CompactionDebt)) }),
	of(counter, "store_flushes_total", "Memtables written to table files, since the store was opened.",
		func(o outlet, x *store.Metrics) { o.put(float64(x.Flushes)) }),
	of(gauge, "store_write_amplification", "Bytes written to log and table files for each byte committed, since the store was opened.",
		func(o outlet, x *store.Metrics) { o.put(x.WriteAmp) }),
	of(gauge, "store_read_amplification", "Table files that a read may have to look into.",
		func(o outlet, x *store.Metrics) { o.put(float64(x.ReadAmp)) }),
	of(gauge, "store_open_views", "Snapshots that readers have open.",
		func(o outlet, x *store.Metrics) { o.put(float64(x.Views)) }),
	of(gauge, "store_memtable_bytes", "Memory of the memtables.",
		func(o outlet, x *store.Metrics) { o.put(float64(x.Memtables)) }),
}

// behind returns how long ago a fold last held everything, in seconds.
func behind(s *runtime.Status) float64 {
	since, err := time.Parse(time.RFC3339Nano, s.BehindSince)
	if err != nil {
		return 0
	}
	return max(time.Since(since).Seconds(), 0)
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
