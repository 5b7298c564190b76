package storagetest

import (
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

var closeGroup = group{name: "close", tests: []test{
	{name: "Twice", run: testCloseTwice},
	{name: "Operations", run: testCloseOperations},
	{name: "OpenTransaction", run: testCloseOpenTransaction},
	{name: "VotedTransaction", run: testCloseVotedTransaction},
	{name: "Waiting", run: testCloseWaiting},
	{name: "Busy", run: testCloseBusy},
	{name: "Observed", needs: []Cap{CapWatcher}, run: testCloseObserved},
}}

// close closes the storage under test, which must not take long.
func (t *T) close() {
	t.Helper()
	s := t.S
	t.closed = true
	start(t, "Close", func() (struct{}, error) { return struct{}{}, s.Close() }).ok()
}

func testCloseTwice(t *T) {
	t.put(1, 0, Object(1))
	t.close()
	t.close()
}

func testCloseOperations(t *T) {
	t.put(1, 0, Object(1))
	t.close()
	_, err := t.S.LoadBefore(t.ctx, 1, zodb.MaxTID)
	matches(t, "LoadBefore after Close", err, zodb.ErrClosed)
	_, err = t.S.NewOIDs(t.ctx, 1)
	matches(t, "NewOIDs after Close", err, zodb.ErrClosed)
	_, err = t.S.Begin(t.ctx, zodb.TxnMeta{})
	matches(t, "Begin after Close", err, zodb.ErrClosed)
	t.S.LastTID()
	t.S.Info()
	if it, ok := zodb.As[zodb.Iterator](t.S); ok {
		_, err := transactions(t.ctx, it, 0, 0)
		matches(t, "Transactions after Close", err, zodb.ErrClosed)
	}
}

// A transaction that outlives its storage fails, quietly.
func testCloseOpenTransaction(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	t.close()
	_, err := txn.Vote(t.ctx)
	matches(t, "Vote after Close", err, zodb.ErrClosed)
	txn.Abort()
}

func testCloseVotedTransaction(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	t.vote(txn)
	t.close()
	tid, err := txn.Finish(t.ctx, nil)
	if err == nil {
		t.Errorf("Finish after Close: committed as %v", tid)
	}
	txn.Abort()
}

// Who waits for a lock does not wait for ever.
func testCloseWaiting(t *T) {
	holder := t.writing(write{1, 0, Object(1)})
	t.vote(holder)
	waiter := t.writing(write{1, 0, Object(2)})
	vote := start(t, "Vote that waits while the storage is closed", func() (zodb.Votes, error) { return waiter.Vote(t.ctx) })
	vote.waits()
	t.close()
	holder.Abort()
	if votes, err := vote.result(); err == nil {
		// It got the lock from the holder; but it can go no further.
		if tid, err := waiter.Finish(t.ctx, nil); err == nil {
			t.Errorf("a transaction that waited during Close (%+v) is committed as %v", votes, tid)
		}
	}
	waiter.Abort()
}

// Commits that are under way when the storage is closed are acknowledged and kept,
// or fail.
func testCloseBusy(t *T) {
	if t.H.Reopen == nil {
		t.Skip("the harness has no Reopen")
	}
	during(t, newCrashWriters(), func() {
		t.close()
		t.reopen()
	})
}

// Observers need not stop before the storage does.
func testCloseObserved(t *T) {
	var n atomic.Int64
	_, stop := ability[zodb.Watcher](t, t.S).Observe(func(zodb.Change) { n.Add(1) })
	t.put(1, 0, Object(1))
	equal(t, "changes observed", n.Load(), 1)
	t.close()
	stop()
}
