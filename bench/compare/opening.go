package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/harness"
)

// slowVoter compares the latency of commits with and without another client that
// sits between vote and finish.
func slowVoter(ctx context.Context, l *lab) ([]*Figure, error) {
	servers, stop, err := l.serve(ctx, 1, python, zari)
	if err != nil {
		return nil, err
	}
	defer stop()
	alone := newFigure("slow-voter", "commit of one client, alone", "p99 in ms", nil)
	beside := newFigure("slow-voter", "commit of one client, another sits between vote and finish", "p99 in ms", nil)
	slower := newFigure("slow-voter", "the second figure divided by the first", "times", nil)
	err = l.inTurns(servers, func(s *harness.Server) error {
		o := s.Options()
		o.Stall = min(time.Second, l.duration/5)
		res, err := l.bench(ctx, bench.SlowVoter, o)
		if err != nil {
			return err
		}
		a, b := res.Measure("commit-alone").Latency.P99/1e3, res.Measure("commit").Latency.P99/1e3
		alone.add(s.Name, a)
		beside.add(s.Name, b)
		slower.add(s.Name, b/a)
		l.log("  %-6s p99 %8.2f ms alone %8.2f ms beside", s.Name, a, b)
		return nil
	})
	return []*Figure{alone, beside, slower}, err
}

// rebuild compares how long a large file without an index takes to open.
func rebuild(ctx context.Context, l *lab) ([]*Figure, error) {
	size := l.scale.rebuildBytes
	files, err := l.made(objectsIn(size, blockSize), blockSize, python, zari)
	if err != nil {
		return nil, err
	}
	defer remove(files)
	small, err := l.made(1, blockSize, python, zari)
	if err != nil {
		return nil, err
	}
	defer remove(small)
	opening := newFigure("rebuild", fmt.Sprintf("opening a file of %d MB without index", size>>20), "s", nil)
	net := newFigure("rebuild", "the same without the time that a file of one object takes", "s", &Goal{Of: python, AtMost: 0.1})
	for range l.runs {
		for p, f := range files {
			base, err := l.open(ctx, p, small[p])
			if err != nil {
				return nil, err
			}
			all, err := l.open(ctx, p, f)
			if err != nil {
				return nil, err
			}
			opening.add(p, all.Seconds())
			net.add(p, max(all-base, time.Millisecond).Seconds()) // no better than the noise
			l.log("  %-6s %v, a small file %v", p, all.Round(time.Millisecond), base.Round(time.Millisecond))
		}
	}
	return []*Figure{opening, net}, nil
}

// open tells how long a program takes to open a file without an index.
func (l *lab) open(ctx context.Context, program, file string) (time.Duration, error) {
	os.Remove(file + ".index")
	s, err := l.start(ctx, program, file)
	if err != nil {
		return 0, err
	}
	s.Stop()
	return s.Opening, nil
}

// smallObject is the size of the objects of the memory part.
const smallObject = bench.MinSize + 8

// memory compares the memory that servers hold with many objects.
func memory(ctx context.Context, l *lab) ([]*Figure, error) {
	n := l.scale.memoryObjects
	files, err := l.made(n, smallObject, python, zari)
	if err != nil {
		return nil, err
	}
	defer remove(files)
	small, err := l.made(1, smallObject, python, zari)
	if err != nil {
		return nil, err
	}
	defer remove(small)
	title := fmt.Sprintf("memory with %d objects", n)
	held := newFigure("memory", title+", index read", "MB", &Goal{Of: python, AtMost: 1})
	loaded := newFigure("memory", title+", after loads", "MB", &Goal{Of: python, AtMost: 1})
	each := newFigure("memory", title+", more than with one object, for each", "bytes", nil)
	for p, f := range files {
		if _, err := l.open(ctx, p, f); err != nil { // makes the index
			return nil, err
		}
		base, _, err := l.held(ctx, p, small[p], 1)
		if err != nil {
			return nil, err
		}
		for range min(l.runs, 3) {
			now, later, err := l.held(ctx, p, f, n)
			if err != nil {
				return nil, err
			}
			held.add(p, now/1e6)
			loaded.add(p, later/1e6)
			each.add(p, (now-base)/float64(n))
			l.log("  %-6s %.0f MB, %.0f MB after loads, %.1f bytes for each object", p, now/1e6, later/1e6, (now-base)/float64(n))
		}
	}
	return []*Figure{held, loaded, each}, nil
}

// held returns the bytes of memory that a program holds when it has opened a file
// of n objects, and after some loads.
func (l *lab) held(ctx context.Context, program, file string, n int) (now, later float64, err error) {
	s, err := l.start(ctx, program, file)
	if err != nil {
		return 0, 0, err
	}
	defer s.Stop()
	before, _, err := bench.Memory(s.PID)
	if err != nil {
		return 0, 0, err
	}
	o := s.Options()
	o.Objects = n
	res, err := l.bench(ctx, bench.Load, o)
	if err != nil {
		return 0, 0, s.Failure(err)
	}
	return float64(before), float64(res.Server.Memory), nil
}
