package main

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/blockcache"
	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/internal/revisions"
	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/wrapper/cache"
	"github.com/zaridb/zari/wrapper/memcached"
)

// partMetrics are what the parts of the storages have to show, for Prometheus: a collector for each
// kind of them.
func partMetrics(r *roster.Roster) []prometheus.Collector {
	return []prometheus.Collector{
		collector[sqlstorage.Pool]{sum(pools(r), sqlstorage.Pool.Add), poolFigures},
		collector[objstore.Counts]{sum(parts(r, objstore.Counting.Counts), objstore.Counts.Add), requestFigures},
		collector[revisions.Stats]{numbered(parts(r, (*cache.Storage).Stats)), cacheFigures},
		collector[memcached.Stats]{numbered(parts(r, (*memcached.Storage).Stats)), memcachedFigures},
		collector[blockcache.Stats]{numbered(parts(r, (*blockcache.Cache).Stats)), blockFigures},
		collector[s3storage.Backlog]{numbered(parts(r, (*s3storage.Engine).Backlog)), backlogFigures},
	}
}

// collector tells Prometheus the figures of each S there is, which comes with values of the first
// labels.
type collector[S any] struct {
	all     iter.Seq2[[]string, S]
	figures []figure[S]
}

var _ prometheus.Collector = collector[any]{}

// figure is a number of an S.
type figure[S any] struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	value  func(S) float64
	labels []string // values of the last labels
}

func counter[S any](desc *prometheus.Desc, value func(S) int64, labels ...string) figure[S] {
	return figure[S]{desc, prometheus.CounterValue, func(s S) float64 { return float64(value(s)) }, labels}
}

func gauge[S any, N int | int64 | float64](desc *prometheus.Desc, value func(S) N, labels ...string) figure[S] {
	return figure[S]{desc, prometheus.GaugeValue, func(s S) float64 { return float64(value(s)) }, labels}
}

func (c collector[S]) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.figures {
		ch <- f.desc
	}
}

func (c collector[S]) Collect(ch chan<- prometheus.Metric) {
	for labels, s := range c.all {
		for _, f := range c.figures {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(s), slices.Concat(labels, f.labels)...)
		}
	}
}

// parts yields what each part of type P says, by storage.
func parts[P, S any](r *roster.Roster, says func(P) S) iter.Seq2[[]string, S] {
	return func(yield func([]string, S) bool) {
		for storage, p := range roster.All[P](r) {
			if !yield([]string{storage}, says(p)) {
				return
			}
		}
	}
}

// pools yields the connections by database and pool.
func pools(r *roster.Roster) iter.Seq2[[]string, sqlstorage.Pool] {
	return func(yield func([]string, sqlstorage.Pool) bool) {
		for _, d := range roster.All[sqlstorage.Dialect](r) {
			for _, p := range d.Pools() {
				if !yield([]string{d.Name(), p.Name}, p) {
					return
				}
			}
		}
	}
}

// numbered tells apart what comes under one name: the second one is NAME#2.
func numbered[S any](all iter.Seq2[[]string, S]) iter.Seq2[[]string, S] {
	return func(yield func([]string, S) bool) {
		seen := make(map[string]int)
		for labels, s := range all {
			name := labels[0]
			if seen[name]++; seen[name] > 1 {
				labels = []string{name + "#" + strconv.Itoa(seen[name])}
			}
			if !yield(labels, s) {
				return
			}
		}
	}
}

// sum adds up what comes under the same labels, as a database does that is open more than once.
func sum[S any](all iter.Seq2[[]string, S], add func(S, S) S) iter.Seq2[[]string, S] {
	const between = "\x00"
	return func(yield func([]string, S) bool) {
		sums := make(map[string]S)
		for labels, s := range all {
			key := strings.Join(labels, between)
			sums[key] = add(sums[key], s)
		}
		for key, s := range sums {
			if !yield(strings.Split(key, between), s) {
				return
			}
		}
	}
}

// byStorage describes a metric of a storage.
func byStorage(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"storage"}, labels...), nil)
}

// byPool describes a metric of the connections to a SQL database.
func byPool(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"database", "pool"}, nil)
}

var poolFigures = []figure[sqlstorage.Pool]{
	gauge(byPool("zari_database_connections", "Connections to a SQL database that are open."), func(p sqlstorage.Pool) int { return p.Open }),
	gauge(byPool("zari_database_connections_in_use", "Those of them that are in use."), func(p sqlstorage.Pool) int { return p.InUse }),
	gauge(byPool("zari_database_connections_limit", "How many there may be."), func(p sqlstorage.Pool) int { return p.Limit }),
}

// Names of the metrics that zari s3 cost reads.
const (
	requestsMetric = "zari_s3_requests_total"
	bytesMetric    = "zari_s3_bytes_total"
)

var (
	requestsDesc = byStorage(requestsMetric,
		"Requests to the store of a storage in S3, as it bills them: by kind, put, get, head, list or delete. Attempts that failed count.", "kind")
	requestErrorsDesc = byStorage("zari_s3_request_errors_total",
		"Those of the requests that ended in anything but success; an object that is not there, or is there already, counts.")
	requestBytesDesc = byStorage(bytesMetric, "Bytes of objects that were written to the store, or read from it.", "direction")
)

var requestFigures = []figure[objstore.Counts]{
	counter(requestsDesc, func(c objstore.Counts) int64 { return c.Put }, "put"),
	counter(requestsDesc, func(c objstore.Counts) int64 { return c.Get }, "get"),
	counter(requestsDesc, func(c objstore.Counts) int64 { return c.Head }, "head"),
	counter(requestsDesc, func(c objstore.Counts) int64 { return c.List }, "list"),
	counter(requestsDesc, func(c objstore.Counts) int64 { return c.Delete }, "delete"),
	counter(requestErrorsDesc, func(c objstore.Counts) int64 { return c.Errors }),
	counter(requestBytesDesc, func(c objstore.Counts) int64 { return c.BytesIn }, "written"),
	counter(requestBytesDesc, func(c objstore.Counts) int64 { return c.BytesOut }, "read"),
}

var cacheFigures = []figure[revisions.Stats]{
	counter(byStorage("zari_cache_hits_total", "Loads answered from the cache of records."), func(s revisions.Stats) int64 { return s.Hits }),
	counter(byStorage("zari_cache_misses_total", "Loads that asked the medium."), func(s revisions.Stats) int64 { return s.Misses }),
	counter(byStorage("zari_cache_waits_total", "Loads that waited for the medium's answer to another one."), func(s revisions.Stats) int64 { return s.Waits }),
	counter(byStorage("zari_cache_evictions_total", "Records that had to go because there was no room."), func(s revisions.Stats) int64 { return s.Evictions }),
	gauge(byStorage("zari_cache_records", "Records in the cache."), func(s revisions.Stats) int64 { return s.Revisions }),
	gauge(byStorage("zari_cache_bytes", "Memory that the cache takes."), func(s revisions.Stats) int64 { return s.Bytes }),
	gauge(byStorage("zari_cache_limit_bytes", "Memory that the cache may take."), func(s revisions.Stats) int64 { return s.Limit }),
}

var memcachedFigures = []figure[memcached.Stats]{
	counter(byStorage("zari_memcached_hits_total", "Loads that memcached answered."), func(s memcached.Stats) int64 { return s.Hits }),
	counter(byStorage("zari_memcached_misses_total", "Loads that memcached was asked for in vain."), func(s memcached.Stats) int64 { return s.Misses }),
	counter(byStorage("zari_memcached_failures_total", "Questions that memcached did not answer."), func(s memcached.Stats) int64 { return s.Failed }),
	counter(byStorage("zari_memcached_damaged_total", "Entries that were not what they had to be."), func(s memcached.Stats) int64 { return s.Damaged }),
}

var (
	blockHitsDesc      = byStorage("zari_s3_block_cache_hits_total", "Reads that the cache of blocks answered, by place: from memory, or from the disk.", "place")
	blockMissesDesc    = byStorage("zari_s3_block_cache_misses_total", "Blocks that were read from the store.")
	blockEvictionsDesc = byStorage("zari_s3_block_cache_evictions_total", "Blocks that had to go because there was no room, by place.", "place")
	blockBytesDesc     = byStorage("zari_s3_block_cache_bytes",
		"What the blocks take, by place. A directory is counted now and then, with what other servers keep there.", "place")
)

var blockFigures = []figure[blockcache.Stats]{
	counter(blockHitsDesc, func(s blockcache.Stats) int64 { return s.Memory.Hits }, "memory"),
	counter(blockHitsDesc, func(s blockcache.Stats) int64 { return s.Disk.Hits }, "disk"),
	counter(blockMissesDesc, func(s blockcache.Stats) int64 { return s.Fetched }),
	counter(blockEvictionsDesc, func(s blockcache.Stats) int64 { return s.Memory.Evicted }, "memory"),
	counter(blockEvictionsDesc, func(s blockcache.Stats) int64 { return s.Disk.Evicted }, "disk"),
	gauge(blockBytesDesc, func(s blockcache.Stats) int64 { return s.Memory.Bytes }, "memory"),
	gauge(blockBytesDesc, func(s blockcache.Stats) int64 { return s.Disk.Bytes }, "disk"),
}

var backlogFigures = []figure[s3storage.Backlog]{
	gauge(byStorage("zari_s3_backlog_transactions", "Transactions that are durable in the log of this server, and not in the bucket yet."),
		func(b s3storage.Backlog) int { return b.Transactions }),
	gauge(byStorage("zari_s3_backlog_bytes", "Bytes that wait to be moved to the bucket."), func(b s3storage.Backlog) int64 { return b.Bytes }),
	gauge(byStorage("zari_s3_backlog_age_seconds", "How long the oldest of them has waited, as far as this server knows; 0 if nothing waits."),
		func(b s3storage.Backlog) float64 { return b.Age.Seconds() }),
}
