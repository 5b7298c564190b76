package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/zaridb/zari/bench/harness"
)

// results are the measurements of each side.
type results map[side][]*result

func (r results) add(s side, x *result) { r[s] = append(r[s], x) }

// figure is one number that is told of a side.
type figure struct {
	name string
	of   func(*result) float64
}

var figures = []figure{
	{"per second", func(r *result) float64 { return r.Operations / r.Seconds }},
	{"p50 ms", func(r *result) float64 { return r.P50 }},
	{"p99 ms", func(r *result) float64 { return r.P99 }},
	{"server CPU µs", func(r *result) float64 { return 1e6 * r.server / r.Operations }},
	{"database CPU µs", func(r *result) float64 { return 1e6 * r.database / r.Operations }},
	{"client CPU µs", func(r *result) float64 { return 1e6 * r.ClientCPU / r.Operations }},
}

// median returns the middle of the measurements of a side.
func (r results) median(s side, f figure) float64 {
	var all []float64
	for _, x := range r[s] {
		all = append(all, f.of(x))
	}
	return harness.Median(all)
}

// print writes a table of medians, and the ratios to RelStorage.
func (r results) print(w io.Writer, sides []side) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\t")
	for _, f := range figures {
		fmt.Fprintf(t, "%s\t", f.name)
	}
	fmt.Fprintln(t)
	for _, s := range sides {
		fmt.Fprintf(t, "%s, %s\t", s.work, s.name)
		for _, f := range figures {
			fmt.Fprintf(t, "%.4g\t", r.median(s, f))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range sides {
		if s.name != "relstorage" && len(r[side{"relstorage", s.work}]) > 0 {
			fmt.Fprintln(w, r.ratio(s))
		}
	}
	return nil
}

// ratio tells how a side compares with RelStorage at the same work.
func (r results) ratio(s side) string {
	peer := side{"relstorage", s.work}
	times := func(f figure) float64 { return r.median(s, f) / r.median(peer, f) }
	served := figure{of: func(x *result) float64 { return (x.server + x.database) / x.Operations }}
	told := fmt.Sprintf("%ss, %s: %.2f times RelStorage's rate, p99 %.3f of its", s.work, s.name, times(figures[0]), times(figures[2]))
	if s.work == "commit" {
		told += fmt.Sprintf(", server and database CPU for each %.3f of its database's", times(served))
	}
	return told
}
