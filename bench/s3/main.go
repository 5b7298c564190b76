// S3 measures commits to a bucket that is as slow as S3, and counts what they are billed
// for, beside the requests of the "toy" S3 storage for ZODB of 2008.
//
//	go run ./bench/s3 [flags]
//
// The bucket is in memory, behind latencies like those of S3 from a machine in the same
// region (package delay): what is measured is the design, not a network. Commits are
// offered at a rate, by as many clients as that takes, whether the earlier ones are done
// or not.
//
// Of the toy (lrowe/s3storage) there is nothing left to run. What it asked of S3 for a
// commit of k objects stands in its source: for each object a LIST and a PUT, two LISTs in
// the vote, a PUT for the transaction, one for each object's index entry, two more for the
// indexes; one after the other. Just these requests are made here of the same bucket.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/zaridb/zari/bench/harness"
)

func main() { harness.Main("s3", parse, (*bench).run) }

// bench is what the command line asks for.
type bench struct {
	duration time.Duration
	size     int // bytes of an object
	seed     uint64
}

func parse(args []string) (*bench, error) {
	b := &bench{}
	fs := harness.NewFlags("s3")
	fs.DurationVar(&b.duration, "duration", 5*time.Second, "how long each load is offered")
	fs.IntVar(&b.size, "size", 8000, "`bytes` of an object")
	fs.Uint64Var(&b.seed, "seed", 1, "of the latencies")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if b.duration <= 0 || b.size < 1 {
		return nil, errors.New("-duration and -size must be more than nothing")
	}
	return b, nil
}

// loads are what is offered.
var loads = []load{
	{rate: 1}, {rate: 10}, {rate: 100}, {rate: 100, window: 100 * time.Millisecond},
	{rate: 1000}, {rate: 1000, window: 100 * time.Millisecond},
}

func (b *bench) run(ctx context.Context) error {
	fmt.Println("PUT 30 ms (1 in 100: 120 ms), GET 15 ms (80 ms); a month of requests at the prices of S3 Standard")
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "offered/s\twindow\tcommits/s\tPUT/s\tPUT/commit\tp50\tp99\tmonth\ttoy: requests/commit\tp50\tmonth\t")
	for _, l := range loads {
		l.objects = 1
		zari, toy, err := b.both(ctx, l)
		if err != nil {
			return err
		}
		seconds := zari.elapsed.Seconds()
		fmt.Fprintf(table, "%d\t%v\t%.0f\t%.3g\t%.3f\t%v\t%v\t$%.0f\t%.3g\t%v\t$%.0f\t\n",
			l.rate, l.window, float64(zari.commits)/seconds, float64(zari.counts.Put)/seconds,
			float64(zari.counts.Put)/float64(zari.commits), ms(zari.p50), ms(zari.p99), zari.month(),
			float64(toy.counts.Requests())/float64(toy.commits), ms(toy.p50), toy.month())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	zari, toy, err := b.both(ctx, load{rate: 1, objects: 10})
	if err != nil {
		return err
	}
	fmt.Printf("\nA commit of 10 objects alone: zari %s in %v; the toy %s in %v\n",
		zari.billed(), zari.p50.Round(time.Millisecond), toy.billed(), toy.p50.Round(time.Millisecond))
	return nil
}

// both offers a load to Zari, and then makes the requests that the toy makes for it.
func (b *bench) both(ctx context.Context, l load) (zari, toy result, err error) {
	if zari, err = b.offer(ctx, l); err == nil {
		toy, err = b.toy(ctx, l)
	}
	if err != nil {
		err = fmt.Errorf("%v: %w", l, err)
	}
	return zari, toy, err
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }
