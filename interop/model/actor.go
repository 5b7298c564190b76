package model

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Actor is one client of the workload. All its choices come from its seed; what
// they meet depends on the others.
type Actor struct {
	run  *Runner
	n    uint32 // its number, the writer of its states
	rng  *rand.Rand
	cl   *client
	last *Session // of the connection that it has or had

	own   []zodb.OID // objects that it made itself, the newest last
	count uint64     // states and transactions named so far
	done  []zodb.TID // its latest commits, for undo
	views []zodb.TID // where its view was now and then
}

// Bounds of what an actor remembers.
const (
	maxOwn  = 12
	maxPast = 16
)

// action is something an actor does, and how often among a hundred.
type action struct {
	weight int
	do     func(*Actor, context.Context) error
}

var actions = []action{
	{44, (*Actor).update},
	{17, (*Actor).scan},
	{10, (*Actor).fresh},
	{8, (*Actor).ask},
	{7, (*Actor).walkBack},
	{4, (*Actor).changes},
	{3, (*Actor).create},
	{3, (*Actor).undo},
	{2, (*Actor).slow},
	{2, (*Actor).leave},
}

// act does n things, or stops early when the context ends or the server has been
// found wrong.
func (a *Actor) act(ctx context.Context, n int) error {
	for range n {
		if ctx.Err() != nil || a.run.checker.Broken() {
			return nil
		}
		if err := a.choose().do(a, ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *Actor) choose() action {
	k := a.rng.IntN(100)
	for _, c := range actions {
		if k -= c.weight; k < 0 {
			return c
		}
	}
	return actions[0]
}

// name returns a name for a state or a transaction.
func (a *Actor) name() StateID {
	a.count++
	return NewStateID(a.n, a.count)
}

// pick chooses n different objects: hot ones mostly, else its own.
func (a *Actor) pick(n int) []zodb.OID {
	oids := make([]zodb.OID, 0, n)
	seen := make(map[zodb.OID]bool)
	for range n {
		from := a.run.hot
		if len(a.own) > 0 && a.rng.IntN(4) == 0 {
			from = a.own
		}
		// The square of a random number: some objects are hotter than others.
		x := a.rng.Float64()
		oid := from[int(x*x*float64(len(from)))]
		if !seen[oid] {
			seen[oid] = true
			oids = append(oids, oid)
		}
	}
	return oids
}

// before chooses what a load asks for: the snapshot of the view, mostly, as ZODB
// does, or the current revision.
func (a *Actor) before() zodb.TID {
	if a.rng.IntN(3) == 0 {
		return zodb.MaxTID
	}
	return a.cl.s.View() + 1
}

// scan loads many objects, all in flight together.
func (a *Actor) scan(context.Context) error {
	_, err := a.cl.loadAll(a.pick(4+a.rng.IntN(20)), a.before())
	return err
}

// fresh synchronizes first, as a client with server-sync does.
func (a *Actor) fresh(context.Context) error {
	if err := a.cl.ping(); err != nil {
		return err
	}
	_, err := a.cl.loadAll(a.pick(3), zodb.MaxTID)
	return err
}

// ask asks for the last tid while loads are in flight.
func (a *Actor) ask(context.Context) error {
	call := a.cl.load(a.pick(1)[0], zodb.MaxTID, func(zodb.TID) {})
	return errors.Join(a.cl.lastTransaction(), a.cl.wait(call))
}

// walkBack loads revisions of one object into the past.
func (a *Actor) walkBack(context.Context) error {
	oid, before := a.pick(1), zodb.MaxTID
	for range 1 + a.rng.IntN(4) {
		serials, err := a.cl.loadAll(oid, before)
		if err != nil || serials[0] == 0 {
			return err
		}
		before = serials[0]
	}
	return nil
}

// changes asks what changed since a view of the past.
func (a *Actor) changes(context.Context) error {
	a.views = append(a.views, a.cl.s.View())
	if len(a.views) > maxPast {
		a.views = a.views[1:]
	}
	return a.cl.getInvalidations(a.views[a.rng.IntN(len(a.views))])
}

// slow leaves its answers and invalidations unread for a while.
func (a *Actor) slow(ctx context.Context) error {
	resume := a.cl.Pause()
	var calls []*Call
	for _, oid := range a.pick(20) {
		calls = append(calls, a.cl.load(oid, a.before(), func(zodb.TID) {}))
	}
	err := a.cl.Flush()
	a.linger(ctx, time.Duration(5+a.rng.IntN(60))*time.Millisecond)
	resume()
	for _, call := range calls {
		err = errors.Join(err, a.cl.wait(call))
	}
	return err
}

// linger lets time pass, as an application does between two calls.
func (a *Actor) linger(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// leave drops the connection while nothing is under way, or with loads in flight.
func (a *Actor) leave(ctx context.Context) error {
	for _, oid := range a.pick(a.rng.IntN(4) + 1) {
		a.cl.load(oid, zodb.MaxTID, func(zodb.TID) {})
	}
	if err := a.cl.Flush(); err != nil {
		return err
	}
	return a.reconnect(nil)
}

// reconnect drops the connection, without a word, and comes back with the cache
// that the client had. probe names objects that the lost transaction may have
// locked: a vote on them must go through, and when it has, the lost transaction
// is over.
func (a *Actor) reconnect(probe []zodb.OID) error {
	a.run.counts.Reconnects.Add(1)
	a.disconnect()
	if a.rng.IntN(8) == 0 { // lost again before the cache is verified
		if err := a.register(); err != nil {
			return err
		}
		a.disconnect()
	}
	if err := a.connect(); err != nil {
		return err
	}
	if len(probe) == 0 {
		return nil
	}
	serials, err := a.cl.loadAll(probe, zodb.MaxTID)
	if err != nil {
		return err
	}
	in := &Intent{Label: Label{ID: a.name()}}
	for i, oid := range probe {
		if serials[i] == 0 { // what does not exist cannot be checked
			in.Writes = append(in.Writes, State{OID: oid, ID: a.name()})
			continue
		}
		in.Label.Checks = append(in.Label.Checks, Check{oid, serials[i]})
	}
	id := int64(a.count)
	a.cl.begin(id, in)
	if err := a.cl.wait(a.cl.vote(id, in).call); err != nil && !errors.Is(err, errRefused) {
		return err
	}
	return a.cl.abort(id)
}

// disconnect closes the connection and waits for its reader.
func (a *Actor) disconnect() {
	if a.cl == nil {
		return
	}
	a.cl.Close()
	a.cl.s.Lost()
	a.cl = nil
}

// connect registers, and verifies the cache as a client does.
func (a *Actor) connect() error {
	before := a.last
	if err := a.register(); err != nil || before == nil {
		return err
	}
	return a.cl.getInvalidations(a.cl.s.Since())
}

func (a *Actor) register() error {
	cl, err := a.run.connect(a.n, a.last)
	if err == nil {
		a.cl, a.last = cl, cl.s
	}
	return err
}
