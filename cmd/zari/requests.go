package main

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Names of the metrics that zari s3 cost reads.
const (
	requestsMetric = "zari_s3_requests_total"
	bytesMetric    = "zari_s3_bytes_total"
)

var (
	requestsDesc = prometheus.NewDesc(requestsMetric,
		"Requests to the store of a storage in S3, as it bills them: by kind, put, get, head, list or delete. Attempts that failed count.",
		[]string{"storage", "kind"}, nil)
	requestErrorsDesc = prometheus.NewDesc("zari_s3_request_errors_total",
		"Those of the requests that ended in anything but success; an object that is not there, or is there already, counts.",
		[]string{"storage"}, nil)
	requestBytesDesc = prometheus.NewDesc(bytesMetric,
		"Bytes of objects that were written to the store, or read from it.", []string{"storage", "direction"}, nil)
)

// requestMetrics are the requests of all storages in S3, for Prometheus.
type requestMetrics struct {
	mu     sync.Mutex
	stores map[string][]objstore.Counting // by storage
}

var _ prometheus.Collector = (*requestMetrics)(nil)

func (m *requestMetrics) add(storage string, c objstore.Counting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stores == nil {
		m.stores = make(map[string][]objstore.Counting)
	}
	m.stores[storage] = append(m.stores[storage], c)
}

func (m *requestMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestsDesc
	ch <- requestErrorsDesc
	ch <- requestBytesDesc
}

func (m *requestMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for storage, stores := range m.stores {
		var sum objstore.Counts
		for _, s := range stores {
			sum = sum.Add(s.Counts())
		}
		counter := func(d *prometheus.Desc, n int64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{storage}, labels...)...)
		}
		for kind, n := range sum.ByKind() {
			counter(requestsDesc, n, kind)
		}
		counter(requestErrorsDesc, sum.Errors)
		counter(requestBytesDesc, sum.BytesIn, "written")
		counter(requestBytesDesc, sum.BytesOut, "read")
	}
}
