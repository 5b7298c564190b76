package storagetest

import (
	"context"

	"github.com/zaridb/zari/zodb"
)

// The locks group is about votes: they lock the objects of their transaction,
// not the storage.
var locksGroup = group{name: "locks", tests: []test{
	{name: "Disjoint", run: testLocksDisjoint},
	{name: "Overlapping", run: testLocksOverlapping},
	{name: "AbortReleases", run: testLocksAbortReleases},
	{name: "BufferedHoldsNothing", run: testLocksBuffered},
	{name: "ConflictsKeepLocks", run: testLocksConflictsKeep},
	{name: "ConflictsKeepOnlyTheirs", run: testLocksConflictsKeepOnlyTheirs},
	{name: "ConflictsAborted", run: testLocksConflictsAborted},
	{name: "FailedVoteReleases", run: testLocksFailedVote},
	{name: "Cancelled", run: testLocksCancelled},
	{name: "AddedLater", run: testLocksAddedLater},
	{name: "NoDeadlock", run: testLocksNoDeadlock},
	{name: "ReadsDoNotWait", run: testLocksReads},
	{name: "Undo", needs: []Cap{CapUndoer}, run: testLocksUndo},
}}

// voting runs a vote aside.
func (t *T) voting(what string, txn zodb.Txn) *running[zodb.Votes] {
	t.Helper()
	return start(t, what, func() (zodb.Votes, error) { return txn.Vote(t.ctx) })
}

// While one client sits between vote and finish, others go through whole
// transactions on other objects.
func testLocksDisjoint(t *T) {
	sitting := t.writing(write{1, 0, Object(1)})
	t.vote(sitting)
	var last zodb.TID
	for i := range 5 {
		last = start(t, "commit beside a voted transaction", func() (zodb.TID, error) {
			return commit(t.ctx, t.S, nil, write{zodb.OID(i + 2), 0, Object(i)})
		}).ok()
	}
	if tid := t.finish(sitting); tid <= last {
		t.Errorf("the transaction that finished last got %v, which is not after %v", tid, last)
	}
}

// A vote on a locked object waits, and then gets the conflict.
func testLocksOverlapping(t *T) {
	first := t.put(1, 0, Object(1))
	holder := t.writing(write{1, first, Object(2)})
	t.vote(holder)
	waiter := t.writing(write{1, first, Object(3)}, write{2, 0, Object(4)})
	vote := t.voting("Vote on a locked object", waiter)
	vote.waits()
	second := t.finish(holder)
	equal(t, "conflicts", vote.ok().Conflicts, []zodb.Conflict{{OID: 1, Committed: second, Read: first, Data: Object(3)}})
	t.store(waiter, write{1, second, Object(5)})
	tid := t.end(waiter)
	t.current(1, tid, Object(5))
	t.current(2, tid, Object(4))
}

func testLocksAbortReleases(t *T) {
	first := t.put(1, 0, Object(1))
	holder := t.writing(write{1, first, Object(2)})
	t.vote(holder)
	waiter := t.writing(write{1, first, Object(3)})
	vote := t.voting("Vote on a locked object", waiter)
	vote.waits()
	holder.Abort()
	equal(t, "conflicts with an aborted transaction", vote.ok().Conflicts, nil)
	tid := t.finish(waiter)
	t.current(1, tid, Object(3))
}

// Before the vote nothing is locked.
func testLocksBuffered(t *T) {
	first := t.put(1, 0, Object(1))
	idle := t.writing(write{1, first, Object(2)})
	t.check(idle, 2, 0)
	second := start(t, "commit beside a transaction that has not voted", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, nil, write{1, first, Object(3)}, write{2, 0, Object(4)})
	}).ok()
	idle.Abort()
	t.current(1, second, Object(3))
}

// While a client merges its conflicts nobody overtakes it.
func testLocksConflictsKeep(t *T) {
	tids := t.revisions(1, 2)
	merging := t.writing(write{1, tids[0], Object(9)})
	conflicts(t, merging)
	waiter := t.writing(write{1, tids[1], Object(3)})
	vote := t.voting("Vote on an object whose conflict is being merged", waiter)
	vote.waits()
	t.store(merging, write{1, tids[1], Object(10)})
	third := t.end(merging)
	equal(t, "conflicts", vote.ok().Conflicts, []zodb.Conflict{{OID: 1, Committed: third, Read: tids[1], Data: Object(3)}})
	waiter.Abort()
	t.current(1, third, Object(10))
}

func testLocksConflictsKeepOnlyTheirs(t *T) {
	tids := t.revisions(1, 2)
	merging := t.writing(write{1, tids[0], Object(9)})
	conflicts(t, merging)
	start(t, "commit beside a transaction that merges", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, nil, write{2, 0, Object(1)})
	}).ok()
	merging.Abort()
}

func testLocksConflictsAborted(t *T) {
	tids := t.revisions(1, 2)
	merging := t.writing(write{1, tids[0], Object(9)})
	conflicts(t, merging)
	waiter := t.writing(write{1, tids[1], Object(3)})
	vote := t.voting("Vote on an object whose conflict is being merged", waiter)
	vote.waits()
	merging.Abort()
	equal(t, "conflicts", vote.ok().Conflicts, nil)
	tid := t.finish(waiter)
	t.current(1, tid, Object(3))
}

// A vote that failed holds nothing, even before Abort.
func testLocksFailedVote(t *T) {
	tids := t.revisions(1, 2)
	failed := t.writing(write{2, 0, Object(1)}, write{3, 0, Object(1)})
	t.check(failed, 1, tids[0])
	if _, err := failed.Vote(t.ctx); err == nil {
		t.Fatal("Vote with a stale check succeeds")
	}
	start(t, "commit after a failed vote", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, nil, write{1, tids[1], Object(3)}, write{2, 0, Object(2)}, write{3, 0, Object(2)})
	}).ok()
}

// A vote that waits is given up with its context, and leaves nothing behind.
func testLocksCancelled(t *T) {
	first := t.put(1, 0, Object(1))
	holder := t.writing(write{1, first, Object(2)})
	t.vote(holder)
	ctx, cancel := context.WithCancel(t.ctx)
	waiter := t.writing(write{1, first, Object(3)}, write{2, 0, Object(3)})
	vote := start(t, "Vote that is cancelled", func() (zodb.Votes, error) { return waiter.Vote(ctx) })
	vote.waits()
	cancel()
	_, err := vote.result()
	matches(t, "Vote whose context is cancelled", err, context.Canceled)
	start(t, "commit of what the cancelled vote wanted too", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, nil, write{2, 0, Object(4)})
	}).ok()
	second := t.finish(holder)
	t.put(1, second, Object(5))
}

// An object that turns up between two votes is locked too, or is a conflict.
func testLocksAddedLater(t *T) {
	tids := t.revisions(1, 2)
	two := t.put(2, 0, Object(1))
	merging := t.writing(write{1, tids[0], Object(9)})
	conflicts(t, merging)
	t.store(merging, write{1, tids[1], Object(10)}, write{2, two, Object(11)})
	t.vote(merging)
	waiter := t.writing(write{2, two, Object(12)})
	vote := t.voting("Vote on an object that was added between two votes", waiter)
	vote.waits()
	tid := t.finish(merging)
	equal(t, "Committed", vote.ok().Conflicts[0].Committed, tid)
	waiter.Abort()
	t.current(2, tid, Object(11))
}

// Transactions that name the same objects in every order do not block each other
// for good.
func testLocksNoDeadlock(t *T) {
	const clients, each, objects = 4, 25, 3
	for oid := range zodb.OID(objects) {
		t.put(oid+1, 0, Object(0))
	}
	t.together(clients, func(i int) error {
		for n := range each {
			var writes []write
			for k := range objects {
				oid := zodb.OID((i+n+k*(1+i%2))%objects + 1)
				rec, err := t.S.LoadBefore(t.ctx, oid, zodb.MaxTID)
				if err != nil {
					return err
				}
				writes = append(writes, write{oid, rec.Serial, Object(n)})
			}
			if _, err := commit(t.ctx, t.S, nil, writes...); err != nil && !isConflict(err) {
				return err
			}
		}
		return nil
	})
}

// Loads see the old state, at once, while an object is locked.
func testLocksReads(t *T) {
	first := t.put(1, 0, Object(1))
	holder := t.writing(write{1, first, Object(2)})
	t.vote(holder)
	rec := start(t, "load of a locked object", func() (zodb.Record, error) {
		return t.S.LoadBefore(t.ctx, 1, zodb.MaxTID)
	}).ok()
	equal(t, "Serial of a locked object", rec.Serial, first)
	start(t, "NewOIDs beside a voted transaction", func() ([]zodb.OID, error) { return t.S.NewOIDs(t.ctx, 1) }).ok()
	holder.Abort()
}

// An undo locks the objects that it changes.
func testLocksUndo(t *T) {
	tids := t.revisions(1, 2)
	undo := t.undoing(tids[1])
	t.vote(undo)
	waiter := t.writing(write{1, tids[1], Object(9)})
	vote := t.voting("Vote on an object that is being undone", waiter)
	vote.waits()
	tid := t.finish(undo)
	equal(t, "Committed", vote.ok().Conflicts[0].Committed, tid)
	waiter.Abort()
}
