package serve

import (
	"net/http"
	"strings"

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

// A metric is one of those of a T: send takes its values from that.
type metric[T any] struct {
	kind       prometheus.ValueType
	name, help string
	labels     []string
	send       func(outlet, T)
}

// of returns a metric. Its name begins with foldrun_, and of what is a fold's the first label is the fold.
func of[T any](kind prometheus.ValueType, name, help string, send func(outlet, T), labels ...string) metric[T] {
	return metric[T]{kind, "foldrun_" + name, help, labels, send}
}

// A measured fold counts more than its status says: one that runs.
type measured interface {
	Figures() runtime.Figures
}

// A collector makes metrics of each fold's status.
type collector struct{ *Server }

// Describe is part of prometheus.Collector. A registry checks a collector that describes nothing at each scrape.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	send(to, "", processMetrics, c.Server)
	if c.parts.process {
		send(to, "", doorMetrics, c.all.refusals)
	}
	cache := c.parts.process // which all stores share: the first that is open tells of it
	for _, f := range c.opt.Folds {
		s := f.Status()
		send(to, s.Name, foldMetrics, &s)
		m, ok := f.(measured)
		if !ok {
			continue
		}
		figures := m.Figures()
		send(to, s.Name, figureMetrics, &figures)
		if figures.Serving == nil {
			continue
		}
		send(to, s.Name, storeMetrics, figures.Serving)
		if cache {
			send(to, "", cacheMetrics, &figures.Serving.Cache)
			cache = false
		}
	}
}

// send sends the metrics of one fold, or of none.
func send[T any](to chan<- prometheus.Metric, fold string, table []metric[T], x T) {
	for _, m := range table {
		o := outlet{to: to, kind: m.kind}
		labels := m.labels
		if fold != "" {
			o.fold, labels = []string{fold}, append([]string{"fold"}, labels...)
		}
		o.desc = prometheus.NewDesc(m.name, m.help, labels, nil)
		m.send(o, x)
	}
}

// An outlet takes the values of one metric.
type outlet struct {
	to   chan<- prometheus.Metric
	desc *prometheus.Desc
	kind prometheus.ValueType
	fold []string // its name, or nothing
}

func (o outlet) put(v float64, labels ...string) {
	o.to <- prometheus.MustNewConstMetric(o.desc, o.kind, v, o.labels(labels)...)
}

// histogram takes what was observed, nothing while nothing was.
func (o outlet) histogram(h runtime.Histogram, labels ...string) {
	if h.Counts == nil {
		return
	}
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range h.Bounds {
		sum += h.Counts[i]
		buckets[bound] = sum
	}
	sum += h.Counts[len(h.Bounds)]
	o.to <- prometheus.MustNewConstHistogram(o.desc, sum, h.Sum, buckets, o.labels(labels)...)
}

// labels returns the values of labels. One that is not UTF-8 would fail the whole scrape.
func (o outlet) labels(more []string) []string {
	all := append(o.fold[:len(o.fold):len(o.fold)], more...)
	for i, v := range all {
		all[i] = strings.ToValidUTF8(v, "\uFFFD")
	}
	return all
}
