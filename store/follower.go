package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// follower is the committer of a medium that others write to too. It publishes what
// Follower.Changes returns and nothing else, in that order: so nobody sees a transaction
// of this Store before all older ones of others.
//
// Commits are in flight while the goroutines of Finish are in Lock.Commit; then they
// have landed, with a tid, and wait for the round that publishes them. What the medium
// did not answer stays in flight until it is settled. Two goroutines serve all of them:
// one goes round, one waits for news of others.
type follower struct {
	store  *Store
	medium Follower
	at     zodb.TID // all up to it is published; only the rounds use it

	mu      sync.Mutex
	wake    sync.Cond // what follows has changed
	due     bool      // somebody may have committed since the last round began
	begun   uint64    // counts the rounds
	ended   uint64    // the last one that succeeded
	flights map[*flight]bool
	landed  []*commit
	doubt   int   // flights that must be settled
	lost    error // the medium has lost what was published: nothing goes on
	closed  bool
	stopped bool // there will be no more rounds

	ctx    context.Context // of all questions to the medium
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// flight is one Lock.Commit whose outcome is not known yet.
type flight struct {
	held    Lock
	commits []*commit
}

const (
	minFollowDelay = 10 * time.Millisecond // after a question that failed
	maxFollowDelay = time.Second
	closeGrace     = 10 * time.Second // for the last questions
)

func newFollower(s *Store, medium Follower, at zodb.TID) *follower {
	f := &follower{store: s, medium: medium, at: at, flights: make(map[*flight]bool)}
	f.wake.L = &f.mu
	f.ctx, f.cancel = context.WithCancel(context.Background())
	listening, deaf := context.WithCancel(f.ctx)
	f.wg.Go(func() { f.listen(listening) })
	f.wg.Go(func() {
		defer deaf()
		f.goRound()
	})
	return f
}

func (f *follower) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refusal()
}

// refusal tells why nothing can be committed now, nil if something can. f.mu is held.
func (f *follower) refusal() error {
	switch {
	case f.closed:
		return zodb.ErrClosed
	case f.lost != nil:
		return f.lost
	case f.doubt > 0:
		return errInDoubt
	}
	return nil
}

func (f *follower) votedNow() uint64 { return 0 }
func (f *follower) notSoon(uint64)   {}

func (f *follower) add(c *commit) error { return f.addTogether([]*commit{c}) }

// addTogether commits in the medium, and leaves the rest to the rounds. All are under
// the locks that the first of them holds.
func (f *follower) addTogether(list []*commit) error {
	x := &flight{held: list[0].txn.held, commits: list}
	f.mu.Lock()
	if err := f.refusal(); err != nil {
		f.mu.Unlock()
		return err
	}
	f.flights[x] = true
	f.mu.Unlock()

	recs := make([]*txnlog.Txn, len(list))
	for i, c := range list {
		recs[i] = c.rec
	}
	f.store.stats.batches.Add(1)
	n, err := x.held.Commit(context.Background(), recs)
	if errors.Is(err, zodb.ErrCommitUnknown) {
		f.inDoubt(x, err)
		return nil
	}
	f.land(x, n, err)
	return nil
}

// land ends a flight: the first n of its commits are durable, the others are not.
func (f *follower) land(x *flight, n int, err error) {
	kept := x.commits[:n]
	for _, c := range kept {
		f.store.window.enter(c.txn.replaced, c.rec.TID)
	}
	f.mu.Lock()
	delete(f.flights, x)
	if f.stopped {
		f.abandon(kept)
	} else {
		f.landed = append(f.landed, kept...)
		f.due = true
	}
	f.wake.Broadcast()
	f.mu.Unlock()
	for _, c := range x.commits[n:] {
		c.txn.giveUp()
		c.answer(err)
	}
}

// inDoubt answers for commits whose fate is not known, and sees to it that it becomes
// known.
func (f *follower) inDoubt(x *flight, err error) {
	for _, c := range x.commits {
		c.answer(err) // the locks stay until it is settled
	}
	f.mu.Lock()
	if f.stopped {
		f.mu.Unlock()
		f.forget(x)
		return
	}
	f.doubt++
	f.wg.Go(func() { f.settle(x) })
	f.mu.Unlock()
	f.store.published.happened() // not soon
}

// settle asks the medium what became of a flight in doubt until it is known, or the
// store is closed.
func (f *follower) settle(x *flight) {
	log := f.store.opts.Logger
	log.Error("the medium did not say whether a commit is kept; votes are refused until it does", "transactions", len(x.commits))
	for delay := minFollowDelay; ; delay = min(2*delay, maxFollowDelay) {
		n, err := x.held.Settle(f.ctx)
		if err == nil {
			f.noDoubt()
			f.land(x, n, nil)
			log.Info("the commit is settled", "kept", n, "of", len(x.commits))
			return
		}
		if errors.Is(err, zodb.ErrCommitUnknown) {
			log.Error("the commit will never be settled; commits resume", "err", err)
			f.noDoubt()
			f.forget(x)
			return
		}
		log.Error("settling failed", "err", err, "again_in", delay)
		if f.pause(delay) {
			f.noDoubt()
			f.forget(x)
			return
		}
	}
}

func (f *follower) noDoubt() {
	f.mu.Lock()
	f.doubt--
	f.mu.Unlock()
}

// forget ends a flight whose fate this process will not learn.
func (f *follower) forget(x *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flights, x)
	f.abandon(x.commits)
	f.wake.Broadcast()
}

// abandon ends commits that will not be published here, though they may be kept.
func (f *follower) abandon(commits []*commit) {
	for _, c := range commits {
		f.store.window.leave(c.txn.replaced)
		c.txn.free()
		c.answer(fmt.Errorf("%w: the storage stopped before it was published", zodb.ErrCommitUnknown))
	}
}

// listen makes rounds due when others may have committed something.
func (f *follower) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.medium.Wait(ctx); err != nil && ctx.Err() == nil {
			f.store.opts.Logger.Warn("nobody tells of the commits of others; looking for them every second", "err", err)
			f.pause(maxFollowDelay)
		}
		f.hurry()
		f.awaitRound()
	}
}

// awaitRound waits until the round that is due begins: Wait has no news before.
func (f *follower) awaitRound() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.due && !f.stopped {
		f.wake.Wait()
	}
}

// hurry makes a round due.
func (f *follower) hurry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due = true
	f.wake.Broadcast()
}

// goRound makes rounds until the store is closed and nothing is left to publish.
func (f *follower) goRound() {
	delay := time.Duration(0)
	for f.nextRound() {
		err := f.round()
		if err == nil {
			delay = 0
			continue
		}
		delay = min(max(2*delay, minFollowDelay), maxFollowDelay)
		f.store.opts.Logger.Error("cannot tell what was committed", "err", err, "again_in", delay)
		f.mu.Lock()
		f.due = true
		if f.lost != nil {
			f.mu.Unlock()
			break
		}
		f.mu.Unlock()
		if f.pause(delay) {
			break // what has landed would have to wait for a medium that does not answer
		}
	}
	f.stop()
}

// nextRound waits until a round is due; it reports false when there will be none.
func (f *follower) nextRound() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.due {
		if f.closed && len(f.flights) == 0 && len(f.landed) == 0 {
			return false
		}
		f.wake.Wait()
	}
	return true
}

// stop ends the rounds, and whatever waits for one.
func (f *follower) stop() {
	f.mu.Lock()
	f.stopped = true
	f.abandon(f.landed)
	f.landed = nil
	f.wake.Broadcast()
	f.mu.Unlock()
	f.store.published.happened() // not any more
}

// round asks the medium what was committed, and publishes it.
func (f *follower) round() error {
	f.mu.Lock()
	f.begun++
	f.due = false
	f.wake.Broadcast()
	number, returned := f.begun, f.lastLanded()
	f.mu.Unlock()
	changes, head, err := f.medium.Changes(f.ctx, f.at)
	if err != nil {
		return err
	}
	if head < f.at {
		return f.lose(head)
	}
	// What has returned before the question is covered by the answer, also where
	// nothing is left of it to be listed.
	upTo := max(head, returned)
	f.publish(changes, f.own(changes, upTo))
	f.at = max(f.at, upTo)
	f.mu.Lock()
	f.ended = number
	f.wake.Broadcast()
	f.mu.Unlock()
	return nil
}

// lastLanded returns the largest tid of the commits that have landed, 0 if there are
// none. f.mu is held.
func (f *follower) lastLanded() (last zodb.TID) {
	for _, c := range f.landed {
		last = max(last, c.rec.TID)
	}
	return last
}

// lose stops everything: there is no way to take back what was published.
func (f *follower) lose(head zodb.TID) error {
	err := fmt.Errorf("the database has lost transactions that had been committed: its last one is %v now, and was %v; "+
		"restart this server, so that its clients drop what they have cached", head, f.at)
	f.mu.Lock()
	f.lost = err
	f.mu.Unlock()
	f.store.published.happened() // never
	return err
}

// own takes the commits of this Store up to a tid from those that have landed, in the
// order of their tids. First it waits for those in flight that may be among the changes:
// they are if they are durable, for then the newest revision of whatever they wrote
// is by them or by a later change.
func (f *follower) own(changes []zodb.Change, upTo zodb.TID) []*commit {
	changed := make(map[zodb.OID]bool)
	for _, c := range changes {
		for _, oid := range c.OIDs {
			changed[oid] = true
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for x := range maps.Clone(f.flights) { // those that come later are not in the answer
		for f.flights[x] && x.mayBeAmong(changed) {
			f.wake.Wait()
		}
	}
	var own, rest []*commit
	for _, c := range f.landed {
		if c.rec.TID <= upTo {
			own = append(own, c)
		} else {
			rest = append(rest, c)
		}
	}
	f.landed = rest
	slices.SortFunc(own, func(a, b *commit) int { return cmp.Compare(a.rec.TID, b.rec.TID) })
	return own
}

// mayBeAmong reports whether transactions that changed the objects may be this flight's.
func (x *flight) mayBeAmong(changed map[zodb.OID]bool) bool {
	for _, c := range x.commits {
		if len(c.rec.Records) == 0 {
			return true // it may not be listed
		}
		for i := range c.rec.Records {
			if changed[c.rec.Records[i].OID] {
				return true
			}
		}
	}
	return false
}

// publish shows the changes of others and the commits of this Store in the order of
// their tids.
func (f *follower) publish(changes []zodb.Change, own []*commit) {
	changes = slices.DeleteFunc(slices.Clone(changes), func(c zodb.Change) bool {
		_, found := slices.BinarySearchFunc(own, c.TID, func(x *commit, tid zodb.TID) int { return cmp.Compare(x.rec.TID, tid) })
		return found
	})
	if f.store.forgets() {
		changes = together(changes, own, f.at)
	}
	for len(changes)+len(own) > 0 {
		if len(own) > 0 && (len(changes) == 0 || own[0].rec.TID < changes[0].TID || planted.OwnCommitFirst) {
			f.store.publishOwn(own[0])
			own = own[1:]
			continue
		}
		f.store.publishOne(changes[0], nil)
		changes = changes[1:]
	}
}

// together makes one change of all those of others between two commits of this Store, of
// which the first comes after the transaction at.
//
// A medium that forgets does not tell of a transaction which objects it changed that a
// later one in the answer has changed too, nor of the transaction if that was all. So a
// snapshot among those, or just after them, would show some of what they did. Each of the
// changes made here stands for all others up to just before the next commit of this Store,
// and names whatever may have changed by then; also where nothing is left to be told of.
func together(changes []zodb.Change, own []*commit, at zodb.TID) []zodb.Change {
	var runs []zodb.Change
	oids := make(map[zodb.OID]bool)
	for n := len(own); n >= 0; n-- {
		after, upTo := at, zodb.TID(0)
		if n > 0 {
			after = own[n-1].rec.TID
		}
		switch {
		case n < len(own):
			upTo = own[n].rec.TID - 1
		case len(changes) > 0:
			upTo = changes[len(changes)-1].TID
		}
		for len(changes) > 0 && changes[len(changes)-1].TID > after {
			for _, oid := range changes[len(changes)-1].OIDs {
				oids[oid] = true
			}
			changes = changes[:len(changes)-1]
		}
		if len(oids) > 0 && upTo > after {
			runs = append(runs, zodb.Change{TID: upTo, OIDs: slices.Sorted(maps.Keys(oids))})
		}
	}
	slices.Reverse(runs)
	return runs
}

// Sync implements zodb.Syncer: it waits for a round that begins now or later.
func (f *follower) Sync(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wake.Broadcast()
	})
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due = true
	f.wake.Broadcast()
	for next := f.begun + 1; f.ended < next; f.wake.Wait() {
		switch {
		case f.lost != nil:
			return f.lost
		case f.closed || f.stopped:
			return zodb.ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
	return nil
}

// changesSince is Store.ChangesSince: it asks the medium.
func (f *follower) changesSince(ctx context.Context, after, last zodb.TID) ([]zodb.OID, zodb.TID, error) {
	if after != 0 && !f.store.forgets() {
		t, err := f.store.head(ctx, after)
		if err != nil {
			return nil, 0, err
		}
		if t == nil {
			return nil, 0, zodb.ErrUnknownPosition
		}
	}
	changes, _, err := f.medium.Changes(ctx, after)
	if err != nil {
		return nil, 0, err
	}
	oids := make(map[zodb.OID]bool)
	for _, c := range changes {
		if c.TID > last && !f.store.forgets() {
			break // of a medium that forgets, it stands for one before
		}
		for _, oid := range c.OIDs {
			oids[oid] = true
		}
	}
	return slices.Sorted(maps.Keys(oids)), last, nil
}

// pause waits, and reports whether the store was closed by then.
func (f *follower) pause(d time.Duration) bool {
	over := false
	timer := time.AfterFunc(d, func() {
		f.mu.Lock()
		over = true
		f.wake.Broadcast()
		f.mu.Unlock()
	})
	defer timer.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.closed && !over {
		f.wake.Wait()
	}
	return f.closed
}

func (f *follower) close() {
	timer := time.AfterFunc(closeGrace, f.cancel)
	defer timer.Stop()
	f.mu.Lock()
	f.closed = true
	f.wake.Broadcast()
	f.mu.Unlock()
	f.store.published.happened() // not any more
	f.wg.Wait()
	f.cancel()
}

func (f *follower) settledAtEnd() bool { return false } // there is nothing to give back
