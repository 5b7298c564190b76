package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/internal/revisions"
	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/wrapper/memcached"
)

// cacheMetrics are the counts S of caches C, for Prometheus.
type cacheMetrics[C interface {
	comparable
	Stats() S
}, S any] struct {
	caches *roster.Roster[C]
	counts []cacheMetric[S]
}

// cacheMetric is one of the counts.
type cacheMetric[S any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(S) int64
}

func newCacheMetric[S any](name, help string, kind prometheus.ValueType, value func(S) int64) cacheMetric[S] {
	return cacheMetric[S]{prometheus.NewDesc("zari_"+name, help, []string{"storage"}, nil), kind, value}
}

type cacheStats = revisions.Stats

var cacheCounts = []cacheMetric[cacheStats]{
	newCacheMetric("cache_hits_total", "Loads answered from the cache of records.", prometheus.CounterValue, func(s cacheStats) int64 { return s.Hits }),
	newCacheMetric("cache_misses_total", "Loads that asked the medium.", prometheus.CounterValue, func(s cacheStats) int64 { return s.Misses }),
	newCacheMetric("cache_waits_total", "Loads that waited for the medium's answer to another one.", prometheus.CounterValue, func(s cacheStats) int64 { return s.Waits }),
	newCacheMetric("cache_evictions_total", "Records that had to go because there was no room.", prometheus.CounterValue, func(s cacheStats) int64 { return s.Evictions }),
	newCacheMetric("cache_records", "Records in the cache.", prometheus.GaugeValue, func(s cacheStats) int64 { return s.Revisions }),
	newCacheMetric("cache_bytes", "Memory that the cache takes.", prometheus.GaugeValue, func(s cacheStats) int64 { return s.Bytes }),
	newCacheMetric("cache_limit_bytes", "Memory that the cache may take.", prometheus.GaugeValue, func(s cacheStats) int64 { return s.Limit }),
}

var memcachedCounts = []cacheMetric[memcached.Stats]{
	newCacheMetric("memcached_hits_total", "Loads that memcached answered.", prometheus.CounterValue, func(s memcached.Stats) int64 { return s.Hits }),
	newCacheMetric("memcached_misses_total", "Loads that memcached was asked for in vain.", prometheus.CounterValue, func(s memcached.Stats) int64 { return s.Misses }),
	newCacheMetric("memcached_failures_total", "Questions that memcached did not answer.", prometheus.CounterValue, func(s memcached.Stats) int64 { return s.Failed }),
	newCacheMetric("memcached_damaged_total", "Entries that were not what they had to be.", prometheus.CounterValue, func(s memcached.Stats) int64 { return s.Damaged }),
}

// Describe implements prometheus.Collector.
func (c cacheMetrics[C, S]) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.counts {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c cacheMetrics[C, S]) Collect(ch chan<- prometheus.Metric) {
	for name, s := range c.caches.All() {
		stats := s.Stats()
		for _, m := range c.counts {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.value(stats)), name)
		}
	}
}
