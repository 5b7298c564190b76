package model

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zaridb/zari/zodb"
)

// moment is a point in a transaction where a connection can be lost.
type moment int

const (
	never moment = iota
	voteOnWire
	voteAnswered
	finishOnWire
	moments
)

// cut chooses whether and when a transaction loses its connection.
func (a *Actor) cut() moment {
	if a.rng.IntN(30) != 0 {
		return never
	}
	return moment(1 + a.rng.IntN(int(moments)-1))
}

// update reads some objects, and writes some of them; others it only checks.
func (a *Actor) update(ctx context.Context) error {
	oids := a.pick(1 + a.rng.IntN(4))
	serials, err := a.cl.loadAll(oids, a.before())
	if err != nil {
		return err
	}
	in := &Intent{Label: Label{ID: a.name()}}
	for i, oid := range oids {
		switch {
		case serials[i] == 0: // not yet in this view
		case i > 0 && a.rng.IntN(3) == 0:
			in.Label.Checks = append(in.Label.Checks, Check{oid, serials[i]})
		default:
			in.Writes = append(in.Writes, State{OID: oid, Base: serials[i], ID: a.name()})
		}
	}
	if len(in.Writes) == 0 {
		return nil
	}
	return a.commit(ctx, in, oids)
}

// create stores new objects.
func (a *Actor) create(ctx context.Context) error {
	oids, err := a.cl.newOIDs(1 + a.rng.IntN(3))
	if err != nil {
		return err
	}
	in := &Intent{Label: Label{ID: a.name()}}
	for _, oid := range oids {
		in.Writes = append(in.Writes, State{OID: oid, ID: a.name()})
	}
	if err := a.commit(ctx, in, oids); err != nil {
		return err
	}
	a.own = append(a.own, oids...)
	a.own = a.own[max(0, len(a.own)-maxOwn):]
	return nil
}

// undo undoes one of its latest commits, unless somebody has built on it.
func (a *Actor) undo(ctx context.Context) error {
	if len(a.done) == 0 {
		return nil
	}
	tid := a.done[len(a.done)-1-a.rng.IntN(min(3, len(a.done)))]
	return a.commit(ctx, &Intent{Label: Label{ID: a.name(), Undo: tid}}, nil)
}

// commit takes a transaction through its phases, and now and then gives it up in
// one of them. oids are the objects it may lock.
func (a *Actor) commit(ctx context.Context, in *Intent, oids []zodb.OID) error {
	id, cut := int64(a.count), a.cut()
	a.cl.begin(id, in)
	b := a.cl.vote(id, in)
	if cut == voteOnWire {
		return a.reconnect(oids)
	}
	switch err := a.settle(id, in, b); {
	case errors.Is(err, errRefused):
		a.run.counts.Conflicts.Add(1)
		return a.cl.abort(id)
	case err != nil:
		return err
	}
	if err := a.hesitate(ctx); err != nil {
		return err
	}
	if cut == voteAnswered {
		return a.reconnect(oids)
	}
	if a.rng.IntN(12) == 0 || in.Label.Undo != 0 && len(in.Undone) == 0 {
		a.run.counts.Aborts.Add(1)
		return a.cl.abort(id)
	}
	call := a.cl.finish(id, in)
	if cut == finishOnWire {
		return a.reconnect(oids)
	}
	return a.finished(call, in)
}

// finished waits for the finish reply, and remembers the commit.
func (a *Actor) finished(call *Call, in *Intent) error {
	if err := a.cl.wait(call); err != nil {
		return err
	}
	a.run.counts.Commits.Add(1)
	if in.Label.Undo != 0 {
		a.run.counts.Undos.Add(1)
	}
	if !slices.ContainsFunc(in.Writes, func(s State) bool { return s.Base == 0 }) {
		a.done = append(a.done, in.tid)
		a.done = a.done[max(0, len(a.done)-maxPast):]
	}
	return nil
}

// maxVotes is how often ZEO's client votes on one transaction.
const maxVotes = 9

// settle waits for a vote, and merges what the server hands back, while it holds
// the locks. Giving up is a refusal.
func (a *Actor) settle(id int64, in *Intent, b *ballot) error {
	for range maxVotes {
		if err := a.cl.wait(b.call); err != nil || len(b.conflicts) == 0 {
			return err
		}
		if a.rng.IntN(4) == 0 {
			return errRefused
		}
		var merged []State
		for _, k := range b.conflicts {
			i := slices.IndexFunc(in.Writes, func(s State) bool { return s.OID == k.OID })
			if i < 0 {
				return errors.New("a conflict on an object that was not written")
			}
			in.Writes[i].Base, in.Writes[i].ID = k.Committed, a.name()
			merged = append(merged, in.Writes[i])
		}
		a.run.counts.Merges.Add(1)
		a.cl.stores(id, merged)
		b = a.cl.vote(id, in)
	}
	a.run.checker.Report(RuleStuck, a.cl.s, "%d votes of one transaction found new conflicts: its locks were not kept", maxVotes)
	return errRefused
}

// hesitate keeps the locks for a while, sometimes with other calls under way.
func (a *Actor) hesitate(ctx context.Context) error {
	switch a.rng.IntN(8) {
	case 0:
		a.linger(ctx, time.Duration(a.rng.IntN(4000))*time.Microsecond)
	case 1:
		return a.scan(ctx)
	case 2:
		return a.fresh(ctx)
	}
	return nil
}
