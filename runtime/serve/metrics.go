package serve

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foldrun/foldrun/runtime"
)

// metrics returns the handler of GET /metrics: what the folds' status says, at the moment of the scrape. Nothing is
// counted twice, and nothing on the path of an update counts for it.
func (s *Server) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{s})
	if s.parts.process {
		r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorLog: scrapeLog{s}})
}

// scrapeLog logs why a scrape failed.
type scrapeLog struct{ *Server }

func (l scrapeLog) Println(v ...any) { l.opt.Log.Warn("scrape failed", "err", v) }

// A collector makes metrics of each fold's status.
type collector struct{ *Server }

// metric is one figure of a fold, with the labels fold and those named.
func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("foldrun_"+name, help, append([]string{"fold"}, labels...), nil)
}

var (
	metricBuild = prometheus.NewDesc("foldrun_build_info", "The version of this foldrun.", []string{"version", "instance"}, nil)

	metricState    = metric("fold_state", "1 for the state that the fold is in, with the code of why it does not do all of its work.", "state", "code")
	metricSeq      = metric("fold_seq", "The stream's sequence number up to which the fold is folded.")
	metricLastSeq  = metric("fold_stream_last_seq", "The stream's last sequence number, as far as known; absent while it is not.")
	metricLag      = metric("fold_lag_messages", "How far the fold is behind the stream's end, in sequence numbers; absent while that is not known.")
	metricBehind   = metric("fold_behind_seconds", "How long ago the fold last held everything that the stream held, by the server's clock; 0 while it does, and if it never did.")
	metricCaughtUp = metric("fold_caught_up", "1 while everything that the stream holds is folded.")
	metricLive     = metric("fold_live_source_keys", "Source keys with a live record.")
	metricHeld     = metric("fold_quarantined_source_keys", "Source keys whose update is in quarantine.")
	metricBytes    = metric("fold_quarantine_bytes", "Bytes of the updates in quarantine.")
	metricAllowed  = metric("fold_quarantine_allowed", "Source keys that may be in quarantine before the fold halts.")
	metricStale    = metric("fold_stale", "1 while everything was folded last longer ago than the fold's max_staleness.")
	metricReady    = metric("fold_ready", "1 once everything that the stream held was folded, by this run or an earlier one.")
	metricRows     = metric("fold_rows", "Rows of an index.", "index")
	metricBuilt    = metric("fold_build_seq", "The sequence number up to which a generation is built that is to replace the one that serves; absent when none is.")
	metricConn     = metric("fold_nats_connected", "1 while the connection to NATS is up.")

	metricUpdates   = metric("fold_updates_total", "Updates folded.")
	metricCoalesced = metric("fold_updates_coalesced_total", "Updates that a newer one of their batch made superfluous.")
	metricCommits   = metric("fold_commits_total", "Batches committed.")
	metricWritten   = metric("fold_rows_written_total", "Rows written.")
	metricRetracted = metric("fold_rows_retracted_total", "Rows deleted.")
	metricUnchanged = metric("fold_rows_unchanged_total", "Rows that were yielded again as they stood, and not written.")
	metricExpired   = metric("fold_source_keys_expired_total", "Source keys of which something expired.")
	metricRemoved   = metric("fold_source_keys_removed_total", "Source keys whose record the stream was found to hold no longer.")
	metricSweeps    = metric("fold_sweeps_total", "Comparisons of all source keys with the stream's.")

	metricSessions   = metric("fold_source_sessions_total", "Consumers made.")
	metricResets     = metric("fold_source_resets_total", "Sessions with the server ended, by reason.", "reason")
	metricDuplicates = metric("fold_source_duplicates_total", "Messages that came twice, and were dropped.")
	metricHeadLost   = metric("fold_source_head_lost", "Sequence numbers that the stream had dropped before they were read, at most.")
)

// Describe is part of prometheus.Collector. A registry checks a collector that describes nothing at each scrape.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(metricBuild, prometheus.GaugeValue, 1, c.opt.Version, c.opt.Instance)
	cache := c.parts.process // which all stores share: the first that is open tells of it
	for _, f := range c.opt.Folds {
		s := f.Status()
		x := figures{to, s.Name}
		x.fold(&s)
		x.counts(&s.Counts)
		x.source(&s.Source)
		if m, ok := f.(measured); ok {
			figures := m.Figures()
			x.figures(figures)
			if cache && figures.Serving != nil {
				x.cache(figures.Serving.Cache)
				cache = false
			}
		}
	}
}

// figures sends the metrics of one fold.
type figures struct {
	to   chan<- prometheus.Metric
	name string
}

func (x figures) gauge(d *prometheus.Desc, v float64, labels ...string) {
	x.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, x.labels(labels)...)
}

func (x figures) counter(d *prometheus.Desc, v float64, labels ...string) {
	x.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, x.labels(labels)...)
}

// labels returns the values of labels. One that is not UTF-8 would fail the whole scrape.
func (x figures) labels(more []string) []string {
	all := append([]string{x.name}, more...)
	for i, v := range all {
		all[i] = strings.ToValidUTF8(v, "\uFFFD")
	}
	return all
}

func (x figures) fold(s *runtime.Status) {
	x.gauge(metricState, 1, s.State, s.Code)
	x.gauge(metricSeq, float64(s.Seq))
	if s.LastSeq > 0 { // else nobody knows
		x.gauge(metricLastSeq, float64(s.LastSeq))
		x.gauge(metricLag, float64(s.Lag))
	}
	x.gauge(metricBehind, behind(s))
	x.gauge(metricCaughtUp, flag(s.CaughtUp))
	x.gauge(metricLive, float64(s.Live))
	x.gauge(metricHeld, float64(s.Quarantined))
	x.gauge(metricBytes, float64(s.Held))
	x.gauge(metricAllowed, float64(s.Allowed))
	x.gauge(metricReady, flag(s.Ready))
	x.gauge(metricStale, flag(s.Stale))
	x.gauge(metricConn, flag(s.Source.Connected))
	for _, i := range s.Indexes {
		x.gauge(metricRows, float64(i.Rows), i.Name)
	}
	if s.Build != nil {
		x.gauge(metricBuilt, float64(s.Build.Seq))
	}
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

func (x figures) counts(c *runtime.Counts) {
	x.counter(metricUpdates, float64(c.Updates))
	x.counter(metricCoalesced, float64(c.Coalesced))
	x.counter(metricCommits, float64(c.Batches))
	x.counter(metricWritten, float64(c.Written))
	x.counter(metricRetracted, float64(c.Retracted))
	x.counter(metricUnchanged, float64(c.Unchanged))
	x.counter(metricExpired, float64(c.Expired))
	x.counter(metricRemoved, float64(c.Removed))
	x.counter(metricSweeps, float64(c.Sweeps))
}

func (x figures) source(s *runtime.SourceStatus) {
	x.counter(metricSessions, float64(s.Sessions))
	x.counter(metricDuplicates, float64(s.Duplicates))
	x.gauge(metricHeadLost, float64(s.HeadLost))
	for reason, n := range s.Resets {
		x.counter(metricResets, float64(n), reason)
	}
}
