package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/check"
)

const analyzeLong = `Say what is in a storage: bytes and counts by class, how it grew, what a pack would
free of old revisions, and which objects are the largest.

` + storageHelp + `

Sizes of classes and objects are those of the records' data, as they are stored.`

const analyzeExample = `  zari analyze Data.fs
  zari analyze --by month --top 50 zeo://localhost:8100
  zari analyze --json Data.fs | jq '.classes[:3]'`

const analyzeExits = `
EXIT STATUS
  0  done
  1  the storage could not be read
  2  the command line or the configuration is wrong`

type analyzeFlags struct {
	by   string
	top  int
	json bool
}

var periods = map[string]string{"day": check.ByDay, "month": check.ByMonth, "year": check.ByYear}

func newAnalyzeCommand() *cobra.Command {
	var f analyzeFlags
	cmd := &cobra.Command{
		Use:     "analyze [flags] STORAGE",
		Short:   "Say what is in a storage, by class and by time",
		Long:    analyzeLong + "\n" + analyzeExits,
		Example: analyzeExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if periods[f.by] == "" {
				return usageError{fmt.Errorf("--by %s: it is day, month or year", f.by)}
			}
			if f.top < 0 {
				return usageError{errors.New("--top is negative")}
			}
			return f.run(cmd.Context(), args[0], cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.by, "by", "day", "the periods of growth: day, month or year")
	flags.IntVar(&f.top, "top", 20, "how many classes and objects to print")
	flags.BoolVar(&f.json, "json", false, "print JSON, with all classes")
	return cmd
}

func (f *analyzeFlags) run(ctx context.Context, where string, out io.Writer) error {
	s, err := openStorage(ctx, where, toRead)
	if err != nil {
		return err
	}
	defer s.Close()
	m := newMeter()
	a, err := check.Analyze(ctx, s, check.AnalyzeOptions{
		Period: periods[f.by], Largest: f.top, Report: &check.Report{Progress: m.show},
	})
	m.clear()
	if err != nil {
		return err
	}
	if f.json {
		printJSON(out, a)
		return nil
	}
	f.print(out, a)
	return nil
}

func (f *analyzeFlags) print(out io.Writer, a *check.Analysis) {
	fmt.Fprintf(out, "%s, %s, from %s to %s\n", count(a.Transactions, "transaction"), bytesText(a.Bytes), a.First.Format(time.DateTime), a.Last.Format(time.DateTime))
	fmt.Fprintf(out, "%s now, %s; %s, %s; %s\n",
		count(a.Current.Records, "object"), bytesText(a.Current.Bytes), count(a.Old.Records, "old revision"), bytesText(a.Old.Bytes), count(a.Deleted, "deleted object"))

	fmt.Fprintf(out, "\n%9s  %10s  %9s  %10s  class (# now, - old)\n", "objects", "bytes", "old", "bytes")
	most := int64(1)
	for _, c := range a.Classes {
		most = max(most, c.Current.Bytes+c.Old.Bytes)
	}
	for i, c := range a.Classes {
		if i == f.top {
			fmt.Fprintf(out, "%48s%d more\n", "", len(a.Classes)-i)
			break
		}
		fmt.Fprintf(out, "%9d  %10s  %9d  %10s  %s  %s\n", c.Current.Records, bytesText(c.Current.Bytes), c.Old.Records, bytesText(c.Old.Bytes),
			c.Class, bar("#", c.Current.Bytes, most)+bar("-", c.Old.Bytes, most))
	}

	fmt.Fprintf(out, "\n%-10s  %12s  %9s  %9s  %10s\n", f.by, "transactions", "records", "new", "bytes")
	most = 1
	for _, p := range a.Growth {
		most = max(most, p.Bytes)
	}
	for _, p := range a.Growth {
		fmt.Fprintf(out, "%-10s  %12d  %9d  %9d  %10s  %s\n", p.Name, p.Transactions, p.Records, p.New, bytesText(p.Bytes), bar("#", p.Bytes, most))
	}

	fmt.Fprintln(out, "\nlargest objects")
	for _, l := range a.Largest {
		fmt.Fprintf(out, "%10s  %v\n", bytesText(l.Bytes), l.Object)
	}
}

const barWidth = 40

// bar is a bar of n, the longest being that of most.
func bar(what string, n, most int64) string { return strings.Repeat(what, int(n*barWidth/most)) }
