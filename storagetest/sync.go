package storagetest

import (
	"github.com/zaridb/zari/zodb"
)

// The sync group is about the phases of a transaction: what is called in the
// wrong one is a *zodb.TxnError and changes nothing.
var syncGroup = group{name: "sync", tests: []test{
	{name: "FinishBeforeVote", run: testFinishBeforeVote},
	{name: "AfterVote", run: testAfterVote},
	{name: "AfterFinish", run: testAfterFinish},
	{name: "AfterAbort", run: testAfterAbort},
	{name: "AfterFailedVote", run: testAfterFailedVote},
	{name: "FinishWithConflicts", run: testFinishWithConflicts},
	{name: "AbortIsRepeatable", run: testAbortIsRepeatable},
	{name: "AbortAfterFinish", run: testAbortAfterFinish},
	{name: "Interleaved", run: testInterleaved},
}}

// wrongPhase checks that none of the operations is taken by txn.
func wrongPhase(t *T, txn zodb.Txn, when string, ops ...string) {
	t.Helper()
	calls := map[string]func() error{
		"Store":        func() error { return txn.Store(t.ctx, 1, 0, Object(9)) },
		"CheckCurrent": func() error { return txn.CheckCurrent(t.ctx, 1, 0) },
		"Vote":         func() error { _, err := txn.Vote(t.ctx); return err },
		"Finish":       func() error { _, err := txn.Finish(t.ctx, nil); return err },
	}
	for _, op := range ops {
		isError[*zodb.TxnError](t, op+" "+when, calls[op]())
	}
}

func testFinishBeforeVote(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	wrongPhase(t, txn, "before Vote", "Finish")
	t.absent(1, zodb.MaxTID)
}

func testAfterVote(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	t.vote(txn)
	wrongPhase(t, txn, "after Vote", "Store", "CheckCurrent")
	tid := t.finish(txn)
	t.current(1, tid, Object(1))
}

func testAfterFinish(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	tid := t.end(txn)
	wrongPhase(t, txn, "after Finish", "Store", "CheckCurrent", "Vote", "Finish")
	t.current(1, tid, Object(1))
	equal(t, "LastTID", t.S.LastTID(), tid)
}

func testAfterAbort(t *T) {
	for _, voted := range []bool{false, true} {
		txn := t.writing(write{1, 0, Object(1)})
		if voted {
			t.vote(txn)
		}
		txn.Abort()
		wrongPhase(t, txn, "after Abort", "Store", "CheckCurrent", "Vote", "Finish")
		t.absent(1, zodb.MaxTID)
	}
}

func testAfterFailedVote(t *T) {
	tids := t.revisions(1, 2)
	txn := t.writing(write{2, 0, Object(1)})
	t.check(txn, 1, tids[0])
	if votes, err := txn.Vote(t.ctx); err == nil {
		t.Fatalf("Vote with a stale CheckCurrent: %+v, want an error", votes)
	}
	wrongPhase(t, txn, "after a failed Vote", "Store", "CheckCurrent", "Vote", "Finish")
	txn.Abort()
	t.absent(2, zodb.MaxTID)
}

func testFinishWithConflicts(t *T) {
	tids := t.revisions(1, 2)
	txn := t.writing(write{1, tids[0], Object(9)})
	conflicts(t, txn)
	wrongPhase(t, txn, "with conflicts", "Finish")
	t.current(1, tids[1], Object(2))
}

func testAbortIsRepeatable(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	t.vote(txn)
	txn.Abort()
	txn.Abort()
	other := t.writing(write{1, 0, Object(2)})
	t.vote(other)
	txn.Abort() // must not free the other's locks
	third := t.writing(write{1, 0, Object(3)})
	r := start(t, "Vote on an object that is locked", func() (zodb.Votes, error) { return third.Vote(t.ctx) })
	r.waits()
	tid := t.finish(other)
	if votes := r.ok(); len(votes.Conflicts) != 1 {
		t.Errorf("Vote: %+v, want a conflict with %v", votes, tid)
	}
	third.Abort()
}

func testAbortAfterFinish(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	tid := t.end(txn)
	txn.Abort()
	txn.Abort()
	t.current(1, tid, Object(1))
	t.put(1, tid, Object(2))
}

// Any number of transactions may be open at a time.
func testInterleaved(t *T) {
	const n = 10
	var txns []zodb.Txn
	for i := range n {
		txns = append(txns, t.writing(write{zodb.OID(i + 1), 0, Object(i)}))
	}
	for _, txn := range txns {
		t.vote(txn)
	}
	var last zodb.TID
	for i := range n {
		j := n - 1 - i
		tid := t.finish(txns[j])
		if tid <= last {
			t.Errorf("transaction %v finished after %v", tid, last)
		}
		last = tid
		t.current(zodb.OID(j+1), tid, Object(j))
	}
}
