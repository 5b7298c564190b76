package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

// The race group checks models of applications (racetest): clients change
// objects such that an invariant holds after every transaction, others look, and
// see it hold at every tid, whether they load objects or have them cached since
// before and hear of changes.
var raceGroup = group{name: "race", tests: []test{
	{name: "LoadVsCommit", run: func(t *T) { testRace(t, incBoth, false) }},
	{name: "LoadVsInvalidation", needs: []Cap{CapWatcher}, run: func(t *T) { testRace(t, incBoth, true) }},
	{name: "Phases", needs: []Cap{CapWatcher}, run: func(t *T) { testRace(t, incInTurn, true) }},
}}

// model is an application: objects 1 to n, a step, and what holds between steps.
type model struct {
	objects int
	next    func(values []int)
	holds   func(values []int) bool

	forgets bool // others may overwrite what one is about to read
}

// incBoth increments two objects together.
var incBoth = model{
	objects: 2,
	next:    func(v []int) { v[0]++; v[1]++ },
	holds:   func(v []int) bool { return v[0] == v[1] },
}

// incInTurn increments one of two objects, then the other; a third says whose
// turn it is. A change that a client misses shows at the next one.
var incInTurn = model{
	objects: 3,
	next:    func(v []int) { v[v[2]]++; v[2] = 1 - v[2] },
	holds:   func(v []int) bool { return v[0]-v[1] == v[2] },
}

func testRace(t *T, m model, cached bool) {
	t.commit(m.initial()...)
	watch := m.watchLoads
	if cached {
		watch = m.watchCached
	}
	race(t, 100, func(i int) zodb.Storage { return t.S }, m, watch)
}

// initial makes the objects.
func (m model) initial() []write {
	var writes []write
	for i := range m.objects {
		writes = append(writes, write{zodb.OID(i + 1), 0, Object(0)})
	}
	return writes
}

// finishLine tells those who look on when to begin and when to end.
type finishLine struct {
	ready   sync.WaitGroup // counts watchers that have not looked yet
	running atomic.Int32   // counts writers
}

// race lets two clients commit n steps each while two look on. storage says which
// handle each of them has. Who looks on does so before the first step and after
// the last one too.
func race(t *T, n int, storage func(i int) zodb.Storage, m model, watch func(context.Context, zodb.Storage, *finishLine) error) {
	t.Helper()
	var line finishLine
	line.running.Store(2)
	line.ready.Add(2)
	t.together(4, func(i int) error {
		if i < 2 {
			defer line.running.Add(-1)
			line.ready.Wait()
			return m.change(t.ctx, storage(i), n)
		}
		return watch(t.ctx, storage(i), &line)
	})
}

// look calls f until the writers have finished, and once more.
func (l *finishLine) look(f func() error) error {
	err := f()
	l.ready.Done()
	for last := false; err == nil && !last; {
		last = l.running.Load() == 0
		err = f()
	}
	return err
}

// snapshot loads all objects as of one tid, and checks the invariant.
func (m model) snapshot(ctx context.Context, s zodb.Storage, at zodb.TID) ([]zodb.Record, []int, error) {
	records, values := make([]zodb.Record, m.objects), make([]int, m.objects)
	for i := range records {
		rec, err := s.LoadBefore(ctx, zodb.OID(i+1), at+1)
		if err != nil {
			return nil, nil, fmt.Errorf("load at %v: %w", at, err)
		}
		records[i], values[i] = rec, valueOf(rec.Data)
	}
	if !m.holds(values) {
		return nil, nil, m.broken(at, records, values)
	}
	return records, values, nil
}

// newest is the newest snapshot. Where others overwrite what is about to be read, it
// may take more than one attempt; but never with the same tid.
func (m model) newest(ctx context.Context, s zodb.Storage) ([]zodb.Record, []int, error) {
	for {
		at := s.LastTID()
		records, values, err := m.snapshot(ctx, s, at)
		missing, ok := errors.AsType[*zodb.NoObjectError](err)
		if !m.forgets || !ok || !missing.Known || missing.DeletedAt != 0 {
			return records, values, err
		}
		if s.LastTID() == at {
			return nil, nil, fmt.Errorf("%w, and what has overwritten it is not published", err)
		}
	}
}

func (m model) broken(at zodb.TID, records []zodb.Record, values []int) error {
	serials := make([]zodb.TID, len(records))
	for i, r := range records {
		serials[i] = r.Serial
	}
	return fmt.Errorf("the invariant is broken at %v: values %v, serials %v", at, values, serials)
}

// change commits n steps; those that conflict count as tried.
func (m model) change(ctx context.Context, s zodb.Storage, n int) error {
	for range n {
		records, values, err := m.newest(ctx, s)
		if err != nil {
			return err
		}
		m.next(values)
		var writes []write
		for i, v := range values {
			writes = append(writes, write{zodb.OID(i + 1), records[i].Serial, Object(v)})
		}
		if _, err := commit(ctx, s, nil, writes...); err != nil && !isConflict(err) {
			return err
		}
	}
	return nil
}

// watchLoads looks at the newest state again and again.
func (m model) watchLoads(ctx context.Context, s zodb.Storage, line *finishLine) error {
	return line.look(func() error {
		_, _, err := m.newest(ctx, s)
		return err
	})
}

// view is what a client with a cache knows: the changes it was told of.
type view struct {
	mu      sync.Mutex
	at      zodb.TID
	changed map[zodb.OID]zodb.TID
	err     error
}

func (v *view) observe(c zodb.Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.TID <= v.at {
		v.err = errors.Join(v.err, fmt.Errorf("change %v observed after %v", c.TID, v.at))
	}
	v.at = c.TID
	for _, oid := range c.OIDs {
		v.changed[oid] = c.TID
	}
}

// take moves the client to the last tid it was told of, and drops from its cache
// what changed.
func (v *view) take(cache map[zodb.OID]zodb.Record) (zodb.TID, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for oid, tid := range v.changed {
		if cache[oid].Serial < tid {
			delete(cache, oid)
		}
	}
	clear(v.changed)
	return v.at, v.err
}

// watchCached keeps the odd objects cached as long as nothing is heard of them,
// and loads the others, as of the last tid that it heard of.
func (m model) watchCached(ctx context.Context, s zodb.Storage, line *finishLine) error {
	w, ok := zodb.As[zodb.Watcher](s)
	if !ok {
		line.ready.Done()
		return errors.ErrUnsupported
	}
	v := &view{changed: make(map[zodb.OID]zodb.TID)}
	v.mu.Lock() // until the position is known
	after, unobserve := w.Observe(v.observe)
	v.at = after
	v.mu.Unlock()
	defer unobserve()
	cache := make(map[zodb.OID]zodb.Record)
	return line.look(func() error {
		at, err := v.take(cache)
		if err != nil {
			return err
		}
		return m.lookCached(ctx, s, at, cache)
	})
}

func (m model) lookCached(ctx context.Context, s zodb.Storage, at zodb.TID, cache map[zodb.OID]zodb.Record) error {
	records, values := make([]zodb.Record, m.objects), make([]int, m.objects)
	for i := range records {
		oid := zodb.OID(i + 1)
		rec, ok := cache[oid]
		if !ok {
			var err error
			if rec, err = s.LoadBefore(ctx, oid, at+1); err != nil {
				return fmt.Errorf("load at %v: %w", at, err)
			}
			if oid%2 == 1 {
				cache[oid] = rec
			}
		}
		records[i], values[i] = rec, valueOf(rec.Data)
	}
	if !m.holds(values) {
		return m.broken(at, records, values)
	}
	return nil
}
