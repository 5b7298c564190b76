package storagetest

import (
	"slices"

	"github.com/zaridb/zari/zodb"
)

var conflictGroup = group{name: "conflict", tests: []test{
	{name: "Reported", run: testConflictReported},
	{name: "Merged", run: testConflictMergedByClient},
	{name: "MergedWrongly", run: testConflictMergedWrongly},
	{name: "NotMerged", run: testConflictNotMerged},
	{name: "Abandoned", run: testConflictAbandoned},
	{name: "Several", run: testConflictsSeveral},
	{name: "NewObjects", run: testConflictNewObjects},
	{name: "CommittedMeanwhile", run: testConflictCommittedMeanwhile},
	{name: "Resolved", run: testConflictResolved},
	{name: "ResolvedBesideConflict", run: testConflictResolvedBesideConflict},
	{name: "NoMerge", needs: []Cap{CapNoMerge}, run: testConflictNoMerge},
}}

// conflicts votes, and returns the conflicts that there must be.
func conflicts(t *T, txn zodb.Txn) []zodb.Conflict {
	t.Helper()
	votes, err := txn.Vote(t.ctx)
	if err != nil {
		t.Fatalf("Vote: %v, want conflicts", err)
	}
	if len(votes.Conflicts) == 0 {
		t.Fatalf("Vote: %+v, want conflicts", votes)
	}
	return votes.Conflicts
}

func testConflictReported(t *T) {
	tids := t.revisions(1, 3)
	txn := t.writing(write{1, tids[0], Object(9)})
	want := []zodb.Conflict{{OID: 1, Committed: tids[2], Read: tids[0], Data: Object(9)}}
	equal(t, "conflicts", conflicts(t, txn), want)
	t.current(1, tids[2], Object(3))
}

func testConflictMergedByClient(t *T) {
	tids := t.revisions(1, 2)
	txn := t.writing(write{1, tids[0], Object(9)}, write{2, 0, Object(7)})
	conflicts(t, txn)
	t.store(txn, write{1, tids[1], Object(11)})
	tid := t.end(txn)
	t.current(1, tid, Object(11))
	t.current(2, tid, Object(7))
}

// A merge with the wrong serial is a conflict again.
func testConflictMergedWrongly(t *T) {
	tids := t.revisions(1, 3)
	txn := t.writing(write{1, tids[0], Object(9)})
	conflicts(t, txn)
	t.store(txn, write{1, tids[1], Object(11)})
	got := conflicts(t, txn)
	equal(t, "conflicts", got, []zodb.Conflict{{OID: 1, Committed: tids[2], Read: tids[1], Data: Object(11)}})
	t.store(txn, write{1, tids[2], Object(12)})
	tid := t.end(txn)
	t.current(1, tid, Object(12))
}

// Who votes again without having merged gets the conflict again.
func testConflictNotMerged(t *T) {
	tids := t.revisions(1, 2)
	txn := t.writing(write{1, tids[0], Object(9)})
	conflicts(t, txn)
	if votes, err := txn.Vote(t.ctx); err == nil && len(votes.Conflicts) == 0 {
		t.Errorf("second Vote without a merge: %+v, want the conflict again, or an error", votes)
	}
	txn.Abort()
	t.current(1, tids[1], Object(2))
}

func testConflictAbandoned(t *T) {
	tids := t.revisions(1, 2)
	txn := t.writing(write{1, tids[0], Object(9)}, write{2, 0, Object(7)})
	conflicts(t, txn)
	txn.Abort()
	t.current(1, tids[1], Object(2))
	t.absent(2, zodb.MaxTID)
	tid := t.commit(write{1, tids[1], Object(3)}, write{2, 0, Object(8)})
	t.current(1, tid, Object(3))
}

func testConflictsSeveral(t *T) {
	a, b := t.revisions(1, 2), t.revisions(2, 2)
	c := t.put(3, 0, Object(1))
	txn := t.writing(write{1, a[0], Object(7)}, write{2, b[0], Object(8)}, write{3, c, Object(9)})
	got := conflicts(t, txn)
	slices.SortFunc(got, func(x, y zodb.Conflict) int { return int(x.OID) - int(y.OID) })
	equal(t, "conflicts", got, []zodb.Conflict{
		{OID: 1, Committed: a[1], Read: a[0], Data: Object(7)},
		{OID: 2, Committed: b[1], Read: b[0], Data: Object(8)},
	})
	t.store(txn, write{1, a[1], Object(17)}, write{2, b[1], Object(18)})
	tid := t.end(txn)
	t.current(1, tid, Object(17))
	t.current(2, tid, Object(18))
	t.current(3, tid, Object(9))
}

// Two transactions that make the same object conflict, as those do that change
// it.
func testConflictNewObjects(t *T) {
	one := t.writing(write{1, 0, Object(1)})
	two := t.writing(write{1, 0, Object(2)})
	tid := t.end(one)
	equal(t, "conflicts", conflicts(t, two), []zodb.Conflict{{OID: 1, Committed: tid, Read: 0, Data: Object(2)}})
	t.current(1, tid, Object(1))
}

// What counts is the revision that is current at the vote, not at the store.
func testConflictCommittedMeanwhile(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.writing(write{1, first, Object(9)})
	second := t.put(1, first, Object(2))
	got := conflicts(t, txn)
	equal(t, "Committed", got[0].Committed, second)
	equal(t, "Read", got[0].Read, first)
}

// mergeable commits the base and one side of the harness's conflict, and returns
// a transaction with the other side.
func mergeable(t *T) (txn zodb.Txn, committed zodb.TID) {
	t.Helper()
	m := t.H.Merge
	if m == nil {
		t.Skip("the storage merges no conflicts: Harness.Merge is nil")
	}
	base := t.put(1, 0, m.Base)
	txn = t.writing(write{1, base, m.B})
	return txn, t.put(1, base, m.A)
}

func testConflictResolved(t *T) {
	txn, _ := mergeable(t)
	votes := t.vote(txn)
	equal(t, "Resolved", votes.Resolved, []zodb.OID{1})
	tid := t.finish(txn)
	t.current(1, tid, t.H.Merge.Merged)
}

// What the storage has merged in a vote that ends in conflicts is told again in the
// vote that succeeds: it is the only one whose answer a client takes for the end.
func testConflictResolvedBesideConflict(t *T) {
	tids := t.revisions(2, 2)
	txn, _ := mergeable(t)
	if err := txn.Store(t.ctx, 2, tids[0], Object(9)); err != nil {
		t.Fatalf("Store: %v", err)
	}
	equal(t, "Conflicts", len(conflicts(t, txn)), 1)
	if err := txn.Store(t.ctx, 2, tids[1], Object(9)); err != nil {
		t.Fatalf("Store: %v", err)
	}
	equal(t, "Resolved", t.vote(txn).Resolved, []zodb.OID{1})
	tid := t.finish(txn)
	t.current(1, tid, t.H.Merge.Merged)
	t.current(2, tid, Object(9))
}

func testConflictNoMerge(t *T) {
	tids := t.revisions(2, 2)
	want := []zodb.Conflict{{OID: 2, Committed: tids[1], Read: tids[0], Data: Object(9)}}
	txn := t.writing(write{2, tids[0], Object(9)})
	txnAbility[zodb.NoMergeTxn](t, txn).NoMerge()
	equal(t, "conflicts", conflicts(t, txn), want)
	txn.Abort()
	if t.H.Merge == nil {
		return
	}
	txn, committed := mergeable(t)
	txnAbility[zodb.NoMergeTxn](t, txn).NoMerge()
	equal(t, "Committed of what could be merged", conflicts(t, txn)[0].Committed, committed)
}
