package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/barewrites"
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

// lab is where the measurements are made.
type lab struct {
	*config
	self  string // this program
	files int    // made so far
	began time.Time
}

func newLab(c *config) (*lab, error) {
	l := &lab{config: c, began: time.Now()}
	var err error
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	for _, program := range []*string{&c.zari, &c.python} {
		found, err := exec.LookPath(*program)
		if err != nil {
			return nil, fmt.Errorf("%w (make bench builds zari; make test installs Python's ZEO)", err)
		}
		if *program, err = filepath.Abs(found); err != nil {
			return nil, err
		}
	}
	return l, os.MkdirAll(c.dir, 0o755)
}

// log tells people what goes on.
func (l *lab) log(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
}

// place returns the path of a Data.fs in a directory of its own.
func (l *lab) place(program string) (string, error) {
	l.files++
	dir := filepath.Join(l.dir, fmt.Sprintf("%d-%s", l.files, program))
	return filepath.Join(dir, "Data.fs"), os.MkdirAll(dir, 0o755)
}

// made makes a file of n objects of size bytes, and a copy for each program.
func (l *lab) made(n, size int, programs ...string) (map[string]string, error) {
	files, first := map[string]string{}, ""
	for _, p := range programs {
		path, err := l.place(p)
		if err != nil {
			return nil, err
		}
		files[p] = path
		if first == "" {
			first, err = path, makeData(path, n, size)
		} else {
			err = copyFile(path, first)
		}
		if err != nil {
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

// startAll starts the programs on their files.
func (l *lab) startAll(ctx context.Context, files map[string]string) (servers map[string]*server, stop func(), err error) {
	servers = map[string]*server{}
	stop = func() {
		for _, s := range servers {
			s.stop()
		}
	}
	for p, f := range files {
		s, err := l.start(ctx, p, f)
		if err != nil {
			stop()
			return nil, nil, err
		}
		servers[p] = s
	}
	return servers, stop, nil
}

// inTurns measures each server once in every run. The one that begins changes
// from run to run.
func (l *lab) inTurns(servers map[string]*server, measure func(*server) error) error {
	for run := range l.runs {
		for i := range programs {
			s := servers[programs[(run+i)%len(programs)]]
			if s == nil {
				continue
			}
			if err := measure(s); err != nil {
				return s.ruin(err)
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
	files, err := l.made(l.scale.loadObjects, blockSize, python, zari, bare)
	if err != nil {
		return nil, err
	}
	defer remove(files)
	servers, stop, err := l.startAll(ctx, files)
	if err != nil {
		return nil, err
	}
	defer stop()
	title := fmt.Sprintf("random loads, %d connections with %d in flight", l.connections, inFlight)
	perCPU := newFigure(name, title, "per server CPU second", &Goal{Of: bare, AtLeast: goal})
	rate := newFigure(name, title, "per second", nil)
	err = l.inTurns(servers, func(s *server) error {
		o := s.options()
		o.InFlight, o.Objects = inFlight, l.scale.loadObjects
		res, err := l.bench(ctx, bench.Load, o)
		if err != nil {
			return err
		}
		m := res.Measure("load")
		perCPU.add(s.program, m.PerCPU)
		rate.add(s.program, m.Rate)
		l.log("  %-6s %9.0f per CPU second %9.0f per second", s.program, m.PerCPU, m.Rate)
		return nil
	})
	return []*Figure{perCPU, rate}, err
}

// commits compares commits, and Zari's with bare writes.
func commits(ctx context.Context, l *lab) ([]*Figure, error) {
	files, err := l.made(1, blockSize, python, zari)
	if err != nil {
		return nil, err
	}
	defer remove(files)
	servers, stop, err := l.startAll(ctx, files)
	if err != nil {
		return nil, err
	}
	defer stop()
	title := fmt.Sprintf("commits of one object, %d connections", l.connections)
	rate := newFigure("commit", title, "per second", &Goal{Of: python, AtLeast: 8})
	perCPU := newFigure("commit", title, "per server CPU second", &Goal{Of: python, AtLeast: 10})
	p99 := newFigure("commit", title, "p99 in ms", nil)
	err = l.inTurns(servers, func(s *server) error {
		res, err := l.bench(ctx, bench.Commit, s.options())
		if err != nil {
			return err
		}
		m := res.Measure("commit")
		rate.add(s.program, m.Rate)
		perCPU.add(s.program, m.PerCPU)
		p99.add(s.program, m.Latency.P99/1e3)
		l.log("  %-6s %9.0f per second %9.0f per CPU second", s.program, m.Rate, m.PerCPU)
		return nil
	})
	if err != nil {
		return nil, err
	}
	writes, err := l.bareWrites(ctx, filepath.Dir(files[zari]), rate.Runs[zari])
	return append([]*Figure{rate, perCPU, p99}, writes...), err
}

// txnBytes is what a transaction of one object takes in a Data.fs, with the
// generator's description.
const txnBytes = 23 + 41 + 42 + blockSize + 8

// bareWrites holds Zari's rate of commits against that of bare writes in batches
// of several sizes.
func (l *lab) bareWrites(ctx context.Context, dir string, commits []float64) ([]*Figure, error) {
	var figures []*Figure
	for _, batch := range []int{1, 4, 8, 16} {
		f := newFigure("commit", fmt.Sprintf("commits against bare writes in batches of %d", batch), "per second", nil)
		for _, rate := range commits {
			f.add(zari, rate)
			res, err := barewrites.Run(ctx, barewrites.Options{Dir: dir, Batch: batch, Bytes: txnBytes, Duration: l.duration / 4})
			if err != nil {
				return nil, err
			}
			f.add(bare, res.Rate)
		}
		figures = append(figures, f)
	}
	return figures, nil
}
