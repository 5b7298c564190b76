package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/resolve"
	"github.com/zaridb/zari/zodb/pickle"
)

func TestConflictMetrics(t *testing.T) {
	r := resolve.New(resolve.Options{})
	length := func(n any) []byte {
		data, err := pickle.EncodeRecord(&pickle.Global{Module: "BTrees.Length", Name: "Length"}, n)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for range 2 {
		r.Resolve(length(1), length(2), length(3))
	}
	r.ResolveUndo(length(1), length(2), length("x"))
	registry := prometheus.NewRegistry()
	registry.MustRegister(conflictMetrics{r})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range families[0].Metric {
		line := ""
		for _, l := range m.Label {
			line += l.GetName() + "=" + l.GetValue() + " "
		}
		got = append(got, line+m.Counter.String())
	}
	slices.Sort(got)
	want := []string{
		"class=BTrees.Length.Length operation=store outcome=merged value:2",
		"class=BTrees.Length.Length operation=undo outcome=incomparable value:1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
