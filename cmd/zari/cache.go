package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/internal/revisions"
	"github.com/zaridb/zari/wrapper/cache"
)

// cacheMetrics are the counts of the caches of records, for Prometheus.
type cacheMetrics struct{ caches *cache.List }

var _ prometheus.Collector = cacheMetrics{}

// cacheMetric is one of the counts.
type cacheMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(revisions.Stats) int64
}

func newCacheMetric(name, help string, kind prometheus.ValueType, value func(revisions.Stats) int64) cacheMetric {
	return cacheMetric{prometheus.NewDesc("zari_cache_"+name, help, []string{"storage"}, nil), kind, value}
}

var cacheCounts = []cacheMetric{
	newCacheMetric("hits_total", "Loads answered from the cache of records.", prometheus.CounterValue, func(s revisions.Stats) int64 { return s.Hits }),
	newCacheMetric("misses_total", "Loads that asked the medium.", prometheus.CounterValue, func(s revisions.Stats) int64 { return s.Misses }),
	newCacheMetric("waits_total", "Loads that waited for the medium's answer to another one.", prometheus.CounterValue, func(s revisions.Stats) int64 { return s.Waits }),
	newCacheMetric("evictions_total", "Records that had to go because there was no room.", prometheus.CounterValue, func(s revisions.Stats) int64 { return s.Evictions }),
	newCacheMetric("records", "Records in the cache.", prometheus.GaugeValue, func(s revisions.Stats) int64 { return s.Revisions }),
	newCacheMetric("bytes", "Memory that the cache takes.", prometheus.GaugeValue, func(s revisions.Stats) int64 { return s.Bytes }),
	newCacheMetric("limit_bytes", "Memory that the cache may take.", prometheus.GaugeValue, func(s revisions.Stats) int64 { return s.Limit }),
}

// Describe implements prometheus.Collector.
func (c cacheMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range cacheCounts {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c cacheMetrics) Collect(ch chan<- prometheus.Metric) {
	for name, stats := range c.caches.All() {
		for _, m := range cacheCounts {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.value(stats)), name)
		}
	}
}
