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
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zaridb/zari/bench/harness"
)

func main() { harness.Main("relstorage", parse, (*bench).run) }

// bench is what the command line asks for.
type bench struct {
	zari, python string
	clients      int
	seconds      time.Duration
	runs, size   int
	sides        []side

	dir     string            // for clients.py, and the logs of servers
	db      *harness.Postgres // that all sides use
	results results
}

func parse(args []string) (*bench, error) {
	b := &bench{results: make(results)}
	fs := harness.NewFlags("relstorage")
	fs.Zari(&b.zari)
	fs.Python(&b.python, "RelStorage and ZEO")
	fs.IntVar(&b.clients, "clients", 16, "that work at the same time")
	fs.DurationVar(&b.seconds, "duration", 10*time.Second, "of one measurement")
	fs.IntVar(&b.runs, "runs", 3, "measurements of each")
	fs.IntVar(&b.size, "size", 1000, "bytes of an object")
	var only, work []string
	fs.Choice(&only, "only", []string{"relstorage", "python", "raw", "raw8", "relstorage-uncached", "python-uncached"}, "`sides` to measure")
	fs.Choice(&work, "work", []string{"commit", "load"}, "`what` to measure of them")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	for _, s := range sides {
		if slices.Contains(only, s.name) && slices.Contains(work, s.work) {
			b.sides = append(b.sides, s)
		}
	}
	if len(b.sides) == 0 || b.clients < 1 || b.seconds < time.Second || b.runs < 1 || b.size < 1 {
		return nil, errors.New("see --help")
	}
	return b, nil
}

func (b *bench) run(ctx context.Context) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "zari-bench-relstorage-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.WriteFile(filepath.Join(b.dir, "clients.py"), clientsProgram, 0o600); err != nil {
		return err
	}
	if b.db, err = harness.StartPostgres("max_connections=200"); err != nil {
		return err
	}
	defer b.db.Stop()
	for n := range b.runs {
		for _, side := range b.sides {
			fmt.Fprintf(os.Stderr, "run %d: %s %ss\n", n+1, side.name, side.work)
			r, err := b.measure(ctx, side)
			if err != nil {
				return fmt.Errorf("%s: %w", side.name, err)
			}
			b.results.add(side, r)
			fmt.Fprintf(os.Stderr, "%.0f a second, p99 %.2f ms\n", r.Operations/r.Seconds, r.P99)
		}
	}
	return b.results.print(os.Stdout, b.sides)
}
