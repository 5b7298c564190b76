package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

func newFinishHistogram() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "zari_finish_seconds",
		Help:    "Time from tpc_finish to publication.",
		Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
	}, []string{"storage"})
}

// metric is one figure that Collect reads from a Status.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Status) float64
}

func newMetric(name, help string, kind prometheus.ValueType, value func(Status) float64) metric {
	return metric{prometheus.NewDesc("zari_"+name, help, []string{"storage"}, nil), kind, value}
}

var metrics = []metric{
	newMetric("loads_total", "Objects that clients loaded.", prometheus.CounterValue, func(s Status) float64 { return float64(s.Loads) }),
	newMetric("stores_total", "Records that clients sent to be stored.", prometheus.CounterValue, func(s Status) float64 { return float64(s.Stores) }),
	newMetric("commits_total", "Transactions committed.", prometheus.CounterValue, func(s Status) float64 { return float64(s.Commits) }),
	newMetric("aborts_total", "Transactions that clients aborted.", prometheus.CounterValue, func(s Status) float64 { return float64(s.Aborts) }),
	newMetric("conflicts_total", "Conflicts reported to clients.", prometheus.CounterValue, func(s Status) float64 { return float64(s.Conflicts) }),
	newMetric("conflicts_resolved_total", "Conflicts merged by the server.", prometheus.CounterValue, func(s Status) float64 { return float64(s.ConflictsResolved) }),
	newMetric("active_transactions", "Transactions that are open.", prometheus.GaugeValue, func(s Status) float64 { return float64(s.ActiveTxns) }),
	newMetric("waiting_votes", "Votes that wait for locks.", prometheus.GaugeValue, func(s Status) float64 { return float64(s.Waiting) }),
	newMetric("connections", "Clients connected.", prometheus.GaugeValue, func(s Status) float64 { return float64(s.Connections) }),
	newMetric("pack_running", "1 while a client's pack is under way.", prometheus.GaugeValue, func(s Status) float64 {
		if s.Packing {
			return 1
		}
		return 0
	}),
	newMetric("pack_done_ratio", "How much of the pack under way is done, 0 if there is none.", prometheus.GaugeValue, func(s Status) float64 { return s.PackDone }),
	newMetric("last_transaction_timestamp_seconds", "Time of the last commit.", prometheus.GaugeValue, func(s Status) float64 {
		if s.LastTransaction == 0 {
			return 0
		}
		return seconds(s.LastTransaction.Time())
	}),
}

var (
	objectsDesc = prometheus.NewDesc("zari_storage_objects", "Objects kept.", []string{"storage"}, nil)
	extrasDesc  = prometheus.NewDesc("zari_extra_storages", "Storages that are open because a client asked for them.", nil, nil)
	bytesDesc   = prometheus.NewDesc("zari_storage_bytes", "Bytes kept, without blobs.", []string{"storage"}, nil)
)

var _ prometheus.Collector = (*Server)(nil)

// Describe implements prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
	ch <- objectsDesc
	ch <- bytesDesc
	ch <- extrasDesc
	s.finish.Describe(ch)
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	for _, status := range s.Status() {
		for _, m := range metrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(status), status.Storage)
		}
		h := s.hubs[status.Storage]
		info := h.storage.Info()
		ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(info.Objects), status.Storage)
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(info.Size), status.Storage)
	}
	ch <- prometheus.MustNewConstMetric(extrasDesc, prometheus.GaugeValue, float64(s.extras.count()))
	s.finish.Collect(ch)
}
