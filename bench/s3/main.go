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
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	b, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "s3:", err)
		os.Exit(2)
	}
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "s3:", err)
		os.Exit(1)
	}
}

// bench is what the command line asks for.
type bench struct {
	duration time.Duration
	size     int // bytes of an object
	seed     uint64
}

func parse(args []string) (*bench, error) {
	b := &bench{}
	fs := flag.NewFlagSet("s3", flag.ContinueOnError)
	fs.DurationVar(&b.duration, "duration", 5*time.Second, "how long each load is offered")
	fs.IntVar(&b.size, "size", 8000, "`bytes` of an object")
	fs.Uint64Var(&b.seed, "seed", 1, "of the latencies")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 || b.duration <= 0 || b.size < 1 {
		return nil, errors.New("there are only flags, and their numbers are positive")
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
	var table table
	for _, l := range loads {
		l.objects = 1
		zari, err := b.offer(ctx, l)
		if err != nil {
			return fmt.Errorf("%v: %w", l, err)
		}
		toy, err := b.toy(ctx, l)
		if err != nil {
			return fmt.Errorf("the toy's requests: %w", err)
		}
		table.add(l, zari, toy)
	}
	table.print(os.Stdout)
	return b.ten(ctx)
}

// ten prints what a commit of ten objects alone is billed for.
func (b *bench) ten(ctx context.Context) error {
	l := load{rate: 1, objects: 10}
	zari, err := b.offer(ctx, l)
	if err != nil {
		return err
	}
	toy, err := b.toy(ctx, l)
	if err != nil {
		return err
	}
	fmt.Printf("\nA commit of 10 objects alone: zari %s in %v; the toy %s in %v\n",
		zari.billed(), zari.p50.Round(time.Millisecond), toy.billed(), toy.p50.Round(time.Millisecond))
	return nil
}
