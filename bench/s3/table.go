package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// table is what is printed: a line for each load.
type table struct{ lines []string }

func (t *table) add(l load, zari, toy result) {
	seconds := zari.elapsed.Seconds()
	t.lines = append(t.lines, fmt.Sprintf("%d\t%v\t%.0f\t%.3g\t%.3f\t%v\t%v\t$%.0f\t%.3g\t%v\t$%.0f\t",
		l.rate, l.window, float64(zari.commits)/seconds, float64(zari.counts.Put)/seconds,
		float64(zari.counts.Put)/float64(zari.commits), ms(zari.p50), ms(zari.p99), zari.month(),
		float64(toy.counts.Requests())/float64(toy.commits), ms(toy.p50), toy.month()))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }

func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer tw.Flush()
	fmt.Fprintln(tw, "offered/s\twindow\tcommits/s\tPUT/s\tPUT/commit\tp50\tp99\tmonth\ttoy: requests/commit\tp50\tmonth\t")
	for _, line := range t.lines {
		fmt.Fprintln(tw, line)
	}
}
