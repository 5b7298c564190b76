package storagetest

import (
	"errors"

	"github.com/zaridb/zari/zodb"
)

var deleteGroup = group{name: "delete", needs: []Cap{CapDeleter}, tests: []test{
	{name: "Simple", run: testDeleteSimple},
	{name: "Stale", run: testDeleteStale},
	{name: "Absent", run: testDeleteAbsent},
	{name: "Again", run: testDeleteAgain},
	{name: "Revived", run: testDeleteRevived},
	{name: "AmongStores", run: testDeleteAmongStores},
	{name: "Locks", run: testDeleteLocks},
	{name: "Iterated", needs: []Cap{CapIterator}, history: true, run: testDeleteIterated},
}}

func (t *T) deleting(oid zodb.OID, serial zodb.TID) zodb.Txn {
	t.Helper()
	txn := t.begin()
	if err := txnAbility[zodb.DeleteTxn](t, txn).Delete(t.ctx, oid, serial); err != nil {
		t.Fatalf("Delete(%v, %v): %v", oid, serial, err)
	}
	return txn
}

// remove deletes one object.
func (t *T) remove(oid zodb.OID, serial zodb.TID) zodb.TID {
	t.Helper()
	return t.end(t.deleting(oid, serial))
}

func testDeleteSimple(t *T) {
	tids := t.revisions(1, 2)
	other := t.put(2, 0, Object(7))
	deleted := t.remove(1, tids[1])
	t.gone(1, deleted)
	e := t.absent(1, deleted+1)
	equal(t, "DeletedAt just after", e.DeletedAt, deleted)
	t.current(2, other, Object(7))
	rec := t.loadBefore(1, deleted)
	equal(t, "Serial before the deletion", rec.Serial, tids[1])
	equal(t, "Next before the deletion", rec.Next, deleted)
	equal(t, "data before the deletion", rec.Data, Object(2))
}

func testDeleteStale(t *T) {
	tids := t.revisions(1, 2)
	txn := t.deleting(1, tids[0])
	votes, err := txn.Vote(t.ctx)
	if err == nil && len(votes.Conflicts) == 0 {
		t.Fatalf("Vote with a deletion of an old revision: %+v, want a conflict", votes)
	}
	if err != nil {
		isError[*zodb.ConflictError](t, "Vote", err)
	}
	txn.Abort()
	t.current(1, tids[1], Object(2))
}

// An object that is not there may be deleted: collectors of garbage may be told
// twice.
func testDeleteAbsent(t *T) {
	t.put(1, 0, Object(1))
	t.remove(99, 0)
	if _, err := t.S.LoadBefore(t.ctx, 99, zodb.MaxTID); err == nil {
		t.Errorf("an object that was deleted without having been is there")
	}
}

func testDeleteAgain(t *T) {
	first := t.put(1, 0, Object(1))
	deleted := t.remove(1, first)
	again := t.remove(1, deleted)
	e := t.absent(1, zodb.MaxTID)
	if e.DeletedAt != deleted && e.DeletedAt != again {
		t.Errorf("DeletedAt %v, want %v or %v", e.DeletedAt, deleted, again)
	}
}

func testDeleteRevived(t *T) {
	first := t.put(1, 0, Object(1))
	deleted := t.remove(1, first)
	tid := t.put(1, deleted, Object(2))
	t.current(1, tid, Object(2))
	e := t.absent(1, tid)
	equal(t, "DeletedAt between", e.DeletedAt, deleted)
}

func testDeleteAmongStores(t *T) {
	a, b := t.put(1, 0, Object(1)), t.put(2, 0, Object(2))
	txn := t.deleting(1, a)
	t.store(txn, write{2, b, Object(3)}, write{3, 0, Object(4)})
	tid := t.end(txn)
	t.gone(1, tid)
	t.current(2, tid, Object(3))
	t.current(3, tid, Object(4))
}

// A deletion locks its object as a store does.
func testDeleteLocks(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.deleting(1, first)
	t.vote(txn)
	writer := start(t, "commit of an object that is being deleted", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, nil, write{1, first, Object(2)})
	})
	writer.waits()
	deleted := t.finish(txn)
	_, err := writer.result()
	e, ok := errors.AsType[*zodb.ConflictError](err)
	if !ok || e.Committed != deleted {
		t.Errorf("the writer got %v, want a conflict with %v", err, deleted)
	}
	t.gone(1, deleted)
}

func testDeleteIterated(t *T) {
	first := t.put(1, 0, Object(1))
	deleted := t.remove(1, first)
	txns := t.history()
	equal(t, "tids", tidsOf(txns), []zodb.TID{first, deleted})
	equal(t, "records of the deletion", txns[1].Records, []zodb.TxnRecord{{OID: 1}})
}
