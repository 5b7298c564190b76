// Relstorage measures Zari on PostgreSQL beside RelStorage on the same PostgreSQL:
// commits and loads of small objects by many clients.
//
//	go run ./bench/relstorage [flags]       (make bench builds bin/zari before)
//
// It starts one PostgreSQL, with fsync on, and measures in turns, each in a database
// of its own:
//
//   - relstorage: Python processes that commit through RelStorage
//   - python: Python processes that commit through ZEO to Zari
//   - raw: the load generator of package bench in their place, for what Zari can do
//     where the clients are not the limit; raw8 has 8 loads in flight on each connection
//   - relstorage-uncached, python-uncached: the same without caches in the clients'
//     processes, so that each load goes to the database, or to Zari
//
// RelStorage has no server: the database's CPU time is what it has beside the
// clients', so both are told.
//
// The Python with RelStorage is $ZARI_PYTHON or .venv/bin/python.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
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
		fmt.Fprintln(os.Stderr, "relstorage:", err)
		os.Exit(2)
	}
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "relstorage:", err)
		os.Exit(1)
	}
}

// bench is what the command line asks for.
type bench struct {
	zari, python string
	clients      int
	seconds      time.Duration
	runs, size   int
	sides        []side

	results results
}

func parse(args []string) (*bench, error) {
	b := &bench{results: make(results)}
	fs := flag.NewFlagSet("relstorage", flag.ContinueOnError)
	fs.StringVar(&b.zari, "zari", filepath.Join("bin", "zari"), "the zari `program`")
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		python = filepath.Join(".venv", "bin", "python")
	}
	fs.StringVar(&b.python, "python", python, "a Python `program` with RelStorage and ZEO")
	fs.IntVar(&b.clients, "clients", 16, "that work at the same time")
	fs.DurationVar(&b.seconds, "duration", 10*time.Second, "of one measurement")
	fs.IntVar(&b.runs, "runs", 3, "measurements of each")
	fs.IntVar(&b.size, "size", 1000, "bytes of an object")
	only := fs.String("only", "relstorage,python,raw,raw8,relstorage-uncached,python-uncached", "`sides` to measure, with commas")
	work := fs.String("work", "commit,load", "what to measure of them, with commas")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	for _, s := range sides {
		if slices.Contains(strings.Split(*only, ","), s.name) && slices.Contains(strings.Split(*work, ","), s.work) {
			b.sides = append(b.sides, s)
		}
	}
	if fs.NArg() > 0 || len(b.sides) == 0 || b.clients < 1 || b.seconds < time.Second || b.runs < 1 || b.size < 1 {
		return nil, errors.New("see --help")
	}
	return b, nil
}

func (b *bench) run(ctx context.Context) error {
	db, err := startDatabase()
	if err != nil {
		return err
	}
	defer db.Stop()
	for n := range b.runs {
		for _, side := range b.sides {
			fmt.Fprintf(os.Stderr, "run %d: %s %ss\n", n+1, side.name, side.work)
			r, err := b.measure(ctx, db, side)
			if err != nil {
				return fmt.Errorf("%s: %w", side.name, err)
			}
			b.results.add(side, r)
			fmt.Fprintf(os.Stderr, "%.0f a second, p99 %.2f ms\n", r.Operations/r.Seconds, r.P99)
		}
	}
	return b.results.print(os.Stdout, b.sides)
}
