package storagetest

import (
	"github.com/zaridb/zari/zodb"
)

var checkCurrentGroup = group{name: "check_current", tests: []test{
	{name: "Stale", run: testCheckStale},
	{name: "Fresh", run: testCheckFresh},
	{name: "BecomesStale", run: testCheckBecomesStale},
	{name: "Alone", run: testCheckAlone},
	{name: "Unknown", run: testCheckUnknown},
	{name: "WriterWaits", run: testCheckWriterWaits},
	{name: "WaitsForWriter", run: testCheckWaitsForWriter},
	{name: "Shared", run: testCheckShared},
	{name: "AndStore", run: testCheckAndStore},
	{name: "AfterConflict", run: testCheckAfterConflict},
}}

// readConflict votes, and checks the read conflict that there must be.
func readConflict(t *T, txn zodb.Txn, oid zodb.OID, committed, read zodb.TID) {
	t.Helper()
	votes, err := txn.Vote(t.ctx)
	if err == nil {
		t.Fatalf("Vote: %+v, want a read conflict", votes)
	}
	e := *isError[*zodb.ConflictError](t, "Vote", err)
	e.Reason = ""
	equal(t, "the read conflict", e, zodb.ConflictError{OID: oid, Committed: committed, Read: read, Check: true})
}

func testCheckStale(t *T) {
	tids := t.revisions(1, 2)
	txn := t.writing(write{2, 0, Object(1)})
	t.check(txn, 1, tids[0])
	readConflict(t, txn, 1, tids[1], tids[0])
	txn.Abort()
	t.absent(2, zodb.MaxTID)
}

func testCheckFresh(t *T) {
	tids := t.revisions(1, 2)
	txn := t.writing(write{2, 0, Object(1)})
	t.check(txn, 1, tids[1])
	tid := t.end(txn)
	t.current(2, tid, Object(1))
	t.current(1, tids[1], Object(2))
}

func testCheckBecomesStale(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.writing(write{2, 0, Object(1)})
	t.check(txn, 1, first)
	second := t.put(1, first, Object(2))
	readConflict(t, txn, 1, second, first)
}

func testCheckAlone(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.begin()
	t.check(txn, 1, first)
	t.end(txn)
	txn = t.begin()
	t.check(txn, 1, first+1)
	readConflict(t, txn, 1, first, first+1)
}

func testCheckUnknown(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.writing(write{2, 0, Object(1)})
	t.check(txn, 99, first)
	if votes, err := txn.Vote(t.ctx); err == nil {
		t.Errorf("Vote with a CheckCurrent of an object that never was: %+v, want an error", votes)
	}
}

// What was checked at Vote holds until Finish: a competing writer comes after.
func testCheckWriterWaits(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.writing(write{2, 0, Object(1)})
	t.check(txn, 1, first)
	t.vote(txn)
	writer := start(t, "commit of an object that is checked", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, nil, write{1, first, Object(2)})
	})
	writer.waits()
	tid := t.finish(txn)
	if later := writer.ok(); later <= tid {
		t.Errorf("the writer got %v, which is not after %v of the transaction that had read the old state", later, tid)
	}
}

// A check waits for a voted writer of its object, and then fails.
func testCheckWaitsForWriter(t *T) {
	first := t.put(1, 0, Object(1))
	writer := t.writing(write{1, first, Object(2)})
	t.vote(writer)
	txn := t.writing(write{2, 0, Object(1)})
	t.check(txn, 1, first)
	vote := start(t, "Vote with a check of an object that is being written", func() (zodb.Votes, error) { return txn.Vote(t.ctx) })
	vote.waits()
	second := t.finish(writer)
	_, err := vote.result()
	e := isError[*zodb.ConflictError](t, "Vote", err)
	equal(t, "Check", e.Check, true)
	equal(t, "Committed", e.Committed, second)
}

// Any number of transactions may check the same object at a time.
func testCheckShared(t *T) {
	first := t.put(1, 0, Object(1))
	var txns []zodb.Txn
	for i := range 5 {
		txn := t.writing(write{zodb.OID(10 + i), 0, Object(i)})
		t.check(txn, 1, first)
		t.vote(txn)
		txns = append(txns, txn)
	}
	for _, txn := range txns {
		t.finish(txn)
	}
}

func testCheckAndStore(t *T) {
	tids := t.revisions(1, 2)
	txn := t.writing(write{1, tids[1], Object(3)})
	t.check(txn, 1, tids[1])
	tid := t.end(txn)
	t.current(1, tid, Object(3))

	txn = t.writing(write{1, tid, Object(4)})
	t.check(txn, 1, tids[0])
	readConflict(t, txn, 1, tid, tids[0])
	txn.Abort()
	t.current(1, tid, Object(3))
}

// A check that is added while conflicts are merged counts too.
func testCheckAfterConflict(t *T) {
	tids := t.revisions(1, 2)
	other := t.revisions(2, 2)
	txn := t.writing(write{1, tids[0], Object(9)})
	conflicts(t, txn)
	t.store(txn, write{1, tids[1], Object(10)})
	t.check(txn, 2, other[0])
	if votes, err := txn.Vote(t.ctx); err == nil {
		t.Errorf("Vote with a stale check: %+v, want an error", votes)
	}
	txn.Abort()
	t.current(1, tids[1], Object(2))
}
