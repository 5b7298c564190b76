package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/barewrites"
	"github.com/zaridb/zari/bench/harness"
)

// A part measures something and has figures to show for it.
type part struct {
	name, what string
	run        func(context.Context, *lab) ([]*Figure, error)
}

var parts = []part{
	{"load8", "random loads of 1 KB objects, 8 in flight", func(ctx context.Context, l *lab) ([]*Figure, error) {
		return l.loads(ctx, "load8", 8, 0.5)
	}},
	{"load1", "random loads of 1 KB objects, 1 in flight", func(ctx context.Context, l *lab) ([]*Figure, error) {
		return l.loads(ctx, "load1", 1, 0.7)
	}},
	{"commit", "commits of one 1 KB object, and bare writes", commits},
	{"slow-voter", "commits while another client sits between vote and finish", slowVoter},
	{"rebuild", "opening a file without its index", rebuild},
	{"memory", "memory with many objects", memory},
}

func partNames() []string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return names
}

// log tells people what goes on.
func (l *lab) log(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
}

// made makes the same file for each program, of n objects of size bytes, in a
// directory of its own.
func (l *lab) made(n, size int, programs ...string) (map[string]string, error) {
	files := map[string]string{}
	for _, p := range programs {
		dir, err := os.MkdirTemp(l.dir, p+"-")
		if err != nil {
			return nil, err
		}
		if files[p], err = filepath.Abs(filepath.Join(dir, "Data.fs")); err != nil { // servers start elsewhere
			return nil, err
		}
		if err := makeData(files[p], l.began, n, size); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// remove removes what made has made, with all that the programs put beside it.
func remove(files map[string]string) {
	for _, f := range files {
		os.RemoveAll(filepath.Dir(f))
	}
}

// serve starts programs on files of n objects of a block each. stop ends them and
// removes the files.
func (l *lab) serve(ctx context.Context, n int, programs ...string) (servers map[string]*harness.Server, stop func(), err error) {
	files, err := l.made(n, blockSize, programs...)
	if err != nil {
		return nil, nil, err
	}
	servers = map[string]*harness.Server{}
	stop = func() {
		for _, s := range servers {
			s.Stop()
		}
		remove(files)
	}
	for p, f := range files {
		if servers[p], err = l.start(ctx, p, f); err != nil {
			delete(servers, p)
			stop()
			return nil, nil, err
		}
	}
	return servers, stop, nil
}

// inTurns measures each server once in every run. The one that begins changes
// from run to run.
func (l *lab) inTurns(servers map[string]*harness.Server, measure func(*harness.Server) error) error {
	for run := range l.runs {
		for i := range programs {
			s := servers[programs[(run+i)%len(programs)]]
			if s == nil {
				continue
			}
			if err := measure(s); err != nil {
				return s.Failure(err)
			}
		}
	}
	return nil
}

// bench runs a workload of the load generator. Failed operations are an error.
func (l *lab) bench(ctx context.Context, w bench.Workload, o bench.Options) (*bench.Result, error) {
	o.Connections, o.Duration, o.Warmup = l.connections, l.duration, l.duration/5
	if w == bench.SlowVoter {
		o.Connections = 1
	}
	res, err := bench.Run(ctx, w, o)
	if err != nil {
		return nil, err
	}
	if res.Errors > 0 || res.Missing > 0 {
		return nil, fmt.Errorf("%d errors, %d missing objects: %v", res.Errors, res.Missing, res.Messages)
	}
	return res, ctx.Err()
}

// loads compares random loads. goal is what is demanded of loads for each second
// of CPU, as a share of the bare server's.
func (l *lab) loads(ctx context.Context, name string, inFlight int, goal float64) ([]*Figure, error) {
	servers, stop, err := l.serve(ctx, l.scale.loadObjects, python, zari, bare)
	if err != nil {
		return nil, err
	}
	defer stop()
	title := fmt.Sprintf("random loads, %d connections with %d in flight", l.connections, inFlight)
	perCPU := newFigure(name, title, "per server CPU second", &Goal{Of: bare, AtLeast: goal})
	rate := newFigure(name, title, "per second", nil)
	err = l.inTurns(servers, func(s *harness.Server) error {
		o := s.Options()
		o.InFlight, o.Objects = inFlight, l.scale.loadObjects
		res, err := l.bench(ctx, bench.Load, o)
		if err != nil {
			return err
		}
		m := res.Measure("load")
		perCPU.add(s.Name, m.PerCPU)
		rate.add(s.Name, m.Rate)
		l.log("  %-6s %9.0f per CPU second %9.0f per second", s.Name, m.PerCPU, m.Rate)
		return nil
	})
	return []*Figure{perCPU, rate}, err
}

// commits compares commits, and Zari's with bare writes.
func commits(ctx context.Context, l *lab) ([]*Figure, error) {
	servers, stop, err := l.serve(ctx, 1, python, zari)
	if err != nil {
		return nil, err
	}
	defer stop()
	title := fmt.Sprintf("commits of one object, %d connections", l.connections)
	rate := newFigure("commit", title, "per second", &Goal{Of: python, AtLeast: 8})
	perCPU := newFigure("commit", title, "per server CPU second", &Goal{Of: python, AtLeast: 10})
	p99 := newFigure("commit", title, "p99 in ms", nil)
	err = l.inTurns(servers, func(s *harness.Server) error {
		res, err := l.bench(ctx, bench.Commit, s.Options())
		if err != nil {
			return err
		}
		m := res.Measure("commit")
		rate.add(s.Name, m.Rate)
		perCPU.add(s.Name, m.PerCPU)
		p99.add(s.Name, m.Latency.P99/1e3)
		l.log("  %-6s %9.0f per second %9.0f per CPU second", s.Name, m.Rate, m.PerCPU)
		return nil
	})
	if err != nil {
		return nil, err
	}
	writes, err := l.bareWrites(ctx, rate.Runs[zari])
	return append([]*Figure{rate, perCPU, p99}, writes...), err
}

// txnBytes is what a transaction of one object takes in a Data.fs, with the
// generator's description.
const txnBytes = 23 + 41 + 42 + blockSize + 8

// bareWrites holds Zari's rate of commits against that of bare writes in batches
// of several sizes.
func (l *lab) bareWrites(ctx context.Context, commits []float64) ([]*Figure, error) {
	var figures []*Figure
	for _, batch := range []int{1, 4, 8, 16} {
		f := newFigure("commit", fmt.Sprintf("commits against bare writes in batches of %d", batch), "per second", nil)
		for _, rate := range commits {
			f.add(zari, rate)
			res, err := barewrites.Run(ctx, barewrites.Options{Dir: l.dir, Batch: batch, Bytes: txnBytes, Duration: l.duration / 4})
			if err != nil {
				return nil, err
			}
			f.add(bare, res.Rate)
		}
		figures = append(figures, f)
	}
	return figures, nil
}
