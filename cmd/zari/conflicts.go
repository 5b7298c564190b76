package main

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/resolve"
)

var mergesDesc = prometheus.NewDesc("zari_merges_total",
	"Conflicts by class of the object, by what met (store, undo or check), and by outcome: merged, or why not. "+
		"A store that is not merged is handed to the client, an undo fails, a check that does not pass is a conflict.",
	[]string{"class", "operation", "outcome"}, nil)

// conflictMetrics are a resolver's counts for Prometheus. A resolver bounds the
// number of classes, and outcomes are few.
type conflictMetrics struct{ resolver *resolve.Resolver }

var _ prometheus.Collector = conflictMetrics{}

func (c conflictMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- mergesDesc }

func (c conflictMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.resolver.Stats() {
		for operation, outcomes := range map[string]resolve.Outcomes{"store": s.Stores, "undo": s.Undos, "check": s.Checks} {
			for outcome, n := range outcomes.ByName() {
				ch <- prometheus.MustNewConstMetric(mergesDesc, prometheus.CounterValue, float64(n), s.Class, operation, outcome)
			}
		}
	}
}

// writeConflicts answers /conflicts: the same counts as JSON, the class with most
// conflicts first.
func (s *service) writeConflicts(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	classes := s.resolver.Stats()
	if classes == nil {
		classes = []resolve.ClassStats{}
	}
	e.Encode(classes)
}
