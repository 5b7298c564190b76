package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run measures a workload. Errors of operations are counted in the Result, see
// [Result.Err]; an error from Run itself means that there is nothing to report:
// a wrong option (*UsageError), no server, or a server that refused the
// preparations. When ctx is cancelled while measuring, the Result tells of what
// was measured until then.
func Run(ctx context.Context, w Workload, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	switch w {
	case Load, Commit, Mixed:
		return runPlain(ctx, w, &o)
	case SlowVoter:
		return runSlowVoter(ctx, &o)
	case Fill:
		return runFill(ctx, &o)
	}
	return nil, usage("no workload %q; there are %v", w, Workloads())
}

// A worker is one connection at work.
type worker interface {
	// prepare makes what the worker needs, unmeasured.
	prepare() error
	// run works until the run stops or the work is done. An error is that of
	// the connection; what the server refuses is counted and goes on.
	run() error
	// common returns what all workers have.
	common() *base
}

// base is what all workers have.
type base struct {
	tally
	c    *conn
	o    *Options
	n    int // which of the workers
	rnd  *rand.Rand
	stop <-chan struct{} // closed when the run stops
}

func (b *base) common() *base { return b }

// A run is a set of workers and what they were seen to do.
type run struct {
	o       *Options
	phase   atomic.Int32
	stop    chan struct{}
	pid     int // of the server, 0 if not known
	workers []worker

	seconds float64
	cpu     time.Duration
}

func newRun(o *Options) *run {
	r := &run{o: o, stop: make(chan struct{}), pid: o.PID}
	if r.pid == 0 {
		r.pid, _ = FindServer(o.Address) // without it there is no CPU time to tell
	}
	return r
}

// connect opens n connections with a worker each.
func (r *run) connect(ctx context.Context, n int, readOnly bool, newWorker func(base) worker) error {
	first := len(r.workers)
	r.workers = append(r.workers, make([]worker, n)...)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := first; i < len(r.workers); i++ {
		g.Go(func() error {
			c, err := dial(ctx, r.o, readOnly)
			if err != nil {
				return err
			}
			w := newWorker(base{
				tally: tally{phase: &r.phase},
				c:     c, o: r.o, n: i, stop: r.stop,
				rnd: rand.New(rand.NewPCG(r.o.Seed, uint64(i))),
			})
			r.workers[i] = w
			return w.prepare()
		})
	}
	if err := g.Wait(); err != nil {
		r.close()
		return err
	}
	return nil
}

// close closes all connections.
func (r *run) close() {
	for _, w := range r.workers {
		if w != nil {
			w.common().c.Close()
		}
	}
}

// measure lets the workers work: for the warm-up, then for the duration, which
// 0 leaves to them. They have ended when it returns.
func (r *run) measure(ctx context.Context, warmup, duration time.Duration) {
	if warmup == 0 {
		r.phase.Store(measuring)
	}
	var wg sync.WaitGroup
	for _, w := range r.workers {
		wg.Go(func() {
			if err := w.run(); err != nil && r.phase.Load() != stopping {
				w.common().fail(fmt.Errorf("connection %d: %w", w.common().n, err))
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	wait(ctx, ended, warmup)
	r.watch(ctx, ended, duration)
	close(r.stop)
	r.close()
	<-ended
}

// watch measures until the duration is over, the workers have ended, or ctx.
func (r *run) watch(ctx context.Context, ended <-chan struct{}, duration time.Duration) {
	cpu, _ := CPUTime(r.pid)
	began := time.Now()
	r.phase.Store(measuring)
	if duration > 0 {
		wait(ctx, ended, duration)
	} else {
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	r.phase.Store(stopping)
	r.seconds = time.Since(began).Seconds()
	if end, err := CPUTime(r.pid); err == nil {
		r.cpu = end - cpu
	}
}

func wait(ctx context.Context, ended <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ended:
	case <-ctx.Done():
	}
}

// total adds up what the workers counted.
func (r *run) total() *tally {
	var t tally
	for _, w := range r.workers {
		t.merge(&w.common().tally)
	}
	return &t
}

// minCPU is the least processor time from which operations for each second of
// it are told: it comes in hundredths of a second.
const minCPU = 100 * time.Millisecond

// report puts what was seen into the result.
func (r *run) report(res *Result, t *tally) {
	for kind := range opKinds {
		if t.done[kind].Count() > 0 {
			res.Measures = append(res.Measures, r.newMeasure(opNames[kind], &t.done[kind]))
		}
	}
	res.Seconds += r.seconds
	res.Conflicts += t.conflicts
	res.Missing += t.missing
	res.Errors += t.errors
	res.Messages = append(res.Messages, t.messages...)
	now, peak, err := Memory(r.pid)
	if err != nil {
		return
	}
	if res.Server == nil {
		res.Server = &Server{PID: r.pid}
	}
	res.Server.CPUSeconds += r.cpu.Seconds()
	res.Server.Memory, res.Server.PeakMemory = now, peak
}

func (r *run) newMeasure(name string, h *Histogram) Measure {
	m := Measure{Name: name, Operations: h.Count(), Seconds: r.seconds, Latency: latency(h)}
	if r.seconds > 0 {
		m.Rate = float64(m.Operations) / r.seconds
	}
	if r.cpu >= minCPU {
		m.PerCPU = float64(m.Operations) / r.cpu.Seconds()
	}
	return m
}

func runPlain(ctx context.Context, w Workload, o *Options) (*Result, error) {
	r := newRun(o)
	res := newResult(w, o)
	if err := r.connectFor(ctx, w); err != nil {
		return nil, err
	}
	r.measure(ctx, o.Warmup, o.Duration)
	r.report(res, r.total())
	return res, nil
}

func (r *run) connectFor(ctx context.Context, w Workload) error {
	n := r.o.Connections
	switch {
	case w == Commit:
		return r.connect(ctx, n, false, newCommitter)
	case w == Load && r.o.Raw:
		return r.connect(ctx, n, true, newRawLoader)
	case w == Load:
		return r.connect(ctx, n, true, newLoader)
	}
	shared, err := makeShared(ctx, r.o)
	if err != nil {
		return err
	}
	return r.connect(ctx, n, false, func(b base) worker { return newMixer(b, shared) })
}
