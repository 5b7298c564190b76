package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// Config says what a run does.
type Config struct {
	Server  *Process
	Seed    uint64
	Codec   wire.Codec // default pickle; Mixed overrides it
	Mixed   bool       // every other client speaks the other encoding
	Clients int        // default 16
	Hot     int        // shared objects, default 12
	Actions int        // of each client in a window, default 150
	Frames  int64      // the run ends after the window in which so many were observed
	Kill    int        // in every Kill-th window the server is killed; 0: never
	// Bound is how long a call may take before it counts as stuck. Default 20 s:
	// far more than any client keeps a lock, less than a server's own limit.
	Bound    time.Duration
	Options  Options
	Progress io.Writer // gets a line for each window; nil: none
}

// Counts is what the actors did.
type Counts struct {
	Commits, Conflicts, Merges, Undos, Aborts, Reconnects, Kills atomic.Int64
}

// Report is the outcome of a run.
type Report struct {
	Seed         uint64
	Frames       int64 // observed and judged
	Transactions int   // in the database at the end
	Windows      int
	Skipped      int   // facts that could not be judged
	Beyond       int64 // loads that named a successor the client was not told of
	Tolerated    map[Rule]int
	Violations   []Violation
	More         int // violations that are only counted
	Elapsed      time.Duration
}

// Runner drives actors against one server, window by window.
type Runner struct {
	cfg     Config
	checker *Checker
	counts  Counts
	actors  []*Actor
	hot     []zodb.OID
	rng     *rand.Rand
	started time.Time
}

// NewRunner prepares a run. It starts nothing.
func NewRunner(cfg Config) *Runner {
	set(&cfg.Codec, wire.Pickle)
	set(&cfg.Clients, 16)
	set(&cfg.Hot, 12)
	set(&cfg.Actions, 150)
	set(&cfg.Bound, 20*time.Second)
	r := &Runner{cfg: cfg, checker: NewChecker(cfg.Options), rng: rand.New(rand.NewPCG(cfg.Seed, 0))}
	for i := range cfg.Clients {
		n := uint32(i + 1)
		r.actors = append(r.actors, &Actor{run: r, n: n, rng: rand.New(rand.NewPCG(cfg.Seed, uint64(n)))})
	}
	return r
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Counts returns what the actors have done so far.
func (r *Runner) Counts() *Counts { return &r.counts }

// Run starts the server on an empty database, runs until enough frames were
// observed or a violation was found, and stops the server. An error says that the
// run could not be done; what the server did wrong is in the report.
func (r *Runner) Run(ctx context.Context) (Report, error) {
	r.started = time.Now()
	if err := r.cfg.Server.Start(ctx); err != nil {
		return Report{}, err
	}
	defer r.cfg.Server.Kill()
	windows, err := r.windows(ctx)
	for _, a := range r.actors {
		a.disconnect()
	}
	report := Report{
		Seed: r.cfg.Seed, Frames: r.checker.Frames(), Transactions: r.checker.Transactions(), Windows: windows,
		Skipped: r.checker.Skipped(), Beyond: r.checker.Beyond(), Tolerated: r.checker.Tolerated(), Elapsed: time.Since(r.started),
	}
	report.Violations, report.More = r.checker.Violations()
	if err != nil || len(report.Violations) > 0 {
		return report, err
	}
	return report, r.cfg.Server.Stop()
}

// windows runs them all, and compares the whole database at the end.
func (r *Runner) windows(ctx context.Context) (n int, err error) {
	if err := r.prepare(ctx); err != nil {
		return 0, err
	}
	for r.checker.Frames() < r.cfg.Frames && !r.checker.Broken() && ctx.Err() == nil {
		n++
		kill := r.cfg.Kill > 0 && n%r.cfg.Kill == 0
		if err := r.window(ctx, kill); err != nil {
			return n, err
		}
		r.progress(n)
	}
	if r.checker.Broken() {
		return n, nil
	}
	if err := ctx.Err(); err != nil {
		return n, err
	}
	return n, r.compareAll()
}

// prepare connects all actors, and lets the first one make the hot objects, the
// root among them.
func (r *Runner) prepare(ctx context.Context) error {
	for _, a := range r.actors {
		if err := a.connect(); err != nil {
			return err
		}
	}
	a := r.actors[0]
	r.hot = []zodb.OID{0}
	for len(r.hot) < r.cfg.Hot {
		oids, err := a.cl.newOIDs(r.cfg.Hot - len(r.hot))
		if err != nil {
			return err
		}
		r.hot = append(r.hot, oids...)
	}
	in := &Intent{Label: Label{ID: a.name()}}
	for _, oid := range r.hot {
		in.Writes = append(in.Writes, State{OID: oid, ID: a.name()})
	}
	id := int64(a.count)
	a.cl.begin(id, in)
	if err := a.cl.wait(a.cl.vote(id, in).call); err != nil {
		return err
	}
	return a.cl.wait(a.cl.finish(id, in))
}

// window lets all actors act, and judges what they saw. With kill they go on until
// the server dies.
func (r *Runner) window(ctx context.Context, kill bool) error {
	actions := r.cfg.Actions
	var wg sync.WaitGroup
	if kill {
		actions = math.MaxInt
		delay := time.Duration(20+r.rng.IntN(400)) * time.Millisecond
		wg.Go(func() {
			<-time.After(delay)
			r.cfg.Server.Kill()
		})
	}
	for _, a := range r.actors {
		wg.Go(func() { r.failed(a, a.act(ctx, actions), kill) })
	}
	wg.Wait()
	if err := r.rest(ctx, kill); err != nil || r.checker.Broken() || ctx.Err() != nil {
		return err
	}
	if err := r.judge(); err != nil {
		return err
	}
	if kill && !r.checker.Broken() {
		return r.comeBack()
	}
	return nil
}

// rest brings all to rest after the actors have stopped: either every client has
// been told of everything, or the server has been started again.
func (r *Runner) rest(ctx context.Context, killed bool) error {
	if killed {
		return r.restart(ctx)
	}
	if r.checker.Broken() {
		return nil
	}
	for _, a := range r.actors {
		r.failed(a, a.cl.ping(), false)
	}
	return nil
}

// failed turns an actor's error into a violation, unless the server was killed.
// The actor leaves, so that the others do not wait for its locks.
func (r *Runner) failed(a *Actor, err error, killed bool) {
	if err == nil {
		return
	}
	reported := errors.Is(err, errStuck)
	died := killed && (errors.Is(err, errLost) || a.cl == nil)
	if !reported && !died {
		r.checker.Report(RuleDropped, a.last, "%v", err)
	}
	a.disconnect()
}

// restart ends all connections to the killed server and starts a new one.
func (r *Runner) restart(ctx context.Context) error {
	for _, a := range r.actors {
		a.disconnect()
	}
	r.counts.Kills.Add(1)
	return r.cfg.Server.Start(ctx)
}

// comeBack connects all actors again, with the caches that they had.
func (r *Runner) comeBack() error {
	for _, a := range r.actors {
		if err := a.connect(); err != nil {
			return err
		}
	}
	return nil
}

// connect opens a connection for an actor.
func (r *Runner) connect(n uint32, before *Session) (*client, error) {
	codec := r.cfg.Codec
	if r.cfg.Mixed && n%2 == 0 {
		codec = wire.Pickle + wire.Msgpack - codec
	}
	return connect(r.cfg.Server.Addr(), fmt.Sprintf("client %d", n), codec, r.cfg.Bound, r.checker, before)
}

// judge reads the truth of the window and lets the checker compare.
func (r *Runner) judge() error {
	reader, err := connect(r.cfg.Server.Addr(), "truth", r.cfg.Codec, r.cfg.Bound, nil, nil)
	if err != nil {
		return err
	}
	defer reader.Close()
	var truth []Txn
	for t, err := range reader.transactions(r.checker.Head()) {
		if err != nil {
			return err
		}
		truth = append(truth, t)
	}
	r.checker.Verify(truth)
	return nil
}

// compareAll reads the whole database once more.
func (r *Runner) compareAll() error {
	reader, err := connect(r.cfg.Server.Addr(), "truth", r.cfg.Codec, r.cfg.Bound, nil, nil)
	if err != nil {
		return err
	}
	defer reader.Close()
	count, digest := 0, uint64(0)
	for t, err := range reader.transactions(0) {
		if err != nil {
			return err
		}
		count, digest = count+1, Digest(digest, t)
	}
	r.checker.VerifyAll(count, digest)
	return nil
}

// progress prints how far the run is.
func (r *Runner) progress(window int) {
	if r.cfg.Progress == nil {
		return
	}
	c, frames, took := &r.counts, r.checker.Frames(), time.Since(r.started)
	fmt.Fprintf(r.cfg.Progress,
		"seed %d window %d: %d of %d frames, %.0f/s; %d commits %d conflicts %d merges %d undos %d aborts %d reconnects %d kills; %v\n",
		r.cfg.Seed, window, frames, r.cfg.Frames, float64(frames)/took.Seconds(), c.Commits.Load(), c.Conflicts.Load(),
		c.Merges.Load(), c.Undos.Load(), c.Aborts.Load(), c.Reconnects.Load(), c.Kills.Load(), took.Round(time.Second))
}
