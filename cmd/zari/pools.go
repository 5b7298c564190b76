package main

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/engine/sqlstorage"
)

var (
	poolOpenDesc  = prometheus.NewDesc("zari_database_connections", "Connections to a SQL database that are open.", []string{"database", "pool"}, nil)
	poolInUseDesc = prometheus.NewDesc("zari_database_connections_in_use", "Those of them that are in use.", []string{"database", "pool"}, nil)
	poolLimitDesc = prometheus.NewDesc("zari_database_connections_limit", "How many there may be.", []string{"database", "pool"}, nil)
)

// poolMetrics are the connections to SQL databases for Prometheus.
type poolMetrics struct {
	mu        sync.Mutex
	databases []poolSource
}

type poolSource struct {
	name    string
	figures func() []sqlstorage.Pool
}

var _ prometheus.Collector = (*poolMetrics)(nil)

// add makes a database known.
func (m *poolMetrics) add(name string, figures func() []sqlstorage.Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.databases = append(m.databases, poolSource{name, figures})
}

func (m *poolMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- poolOpenDesc
	ch <- poolInUseDesc
	ch <- poolLimitDesc
}

func (m *poolMetrics) Collect(ch chan<- prometheus.Metric) {
	for key, p := range m.sums() {
		for desc, n := range map[*prometheus.Desc]int{poolOpenDesc: p.Open, poolInUseDesc: p.InUse, poolLimitDesc: p.Limit} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), key.database, p.Name)
		}
	}
}

type poolKey struct{ database, pool string }

// sums adds up what has one name: a database may be open more than once.
func (m *poolMetrics) sums() map[poolKey]sqlstorage.Pool {
	m.mu.Lock()
	defer m.mu.Unlock()
	sums := make(map[poolKey]sqlstorage.Pool)
	for _, d := range m.databases {
		for _, p := range d.figures() {
			key := poolKey{d.name, p.Name}
			before := sums[key]
			p.Open, p.InUse, p.Limit = p.Open+before.Open, p.InUse+before.InUse, p.Limit+before.Limit
			sums[key] = p
		}
	}
	return sums
}
