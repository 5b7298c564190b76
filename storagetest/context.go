package storagetest

import (
	"context"
	"errors"

	"github.com/zaridb/zari/zodb"
)

var contextGroup = group{name: "context", tests: []test{
	{name: "Load", run: testContextLoad},
	{name: "Vote", run: testContextVote},
	{name: "Operations", run: testContextOperations},
	{name: "FinishBegun", run: testContextFinishBegun},
	{name: "FinishCancelled", run: testContextFinishCancelled},
	{name: "Opening", run: testContextOpening},
}}

// cancelled returns a context that is over.
func (t *T) cancelled() context.Context {
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	return ctx
}

func testContextLoad(t *T) {
	tid := t.put(1, 0, Object(1))
	for _, oid := range []zodb.OID{1, 99} {
		_, err := t.S.LoadBefore(t.cancelled(), oid, zodb.MaxTID)
		matches(t, "LoadBefore with a cancelled context", err, context.Canceled)
	}
	t.current(1, tid, Object(1))
}

// A vote that had not to wait may succeed all the same; one that fails has locked
// nothing.
func testContextVote(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	if _, err := txn.Vote(t.cancelled()); err != nil {
		matches(t, "Vote with a cancelled context", err, context.Canceled)
		tid := t.put(1, 0, Object(2))
		t.current(1, tid, Object(2))
		return
	}
	txn.Abort()
	tid := t.put(1, 0, Object(2))
	t.current(1, tid, Object(2))

	holder := t.writing(write{1, tid, Object(3)})
	t.vote(holder)
	waiter := t.writing(write{1, tid, Object(4)})
	_, err := waiter.Vote(t.cancelled())
	matches(t, "Vote on a locked object with a cancelled context", err, context.Canceled)
}

// Whatever has nothing to wait for may ignore a context; what fails because of it
// must say so.
func testContextOperations(t *T) {
	txn := t.begin()
	ctx := t.cancelled()
	_, beginErr := t.S.Begin(ctx, zodb.TxnMeta{})
	_, oidsErr := t.S.NewOIDs(ctx, 1)
	for what, err := range map[string]error{
		"Begin": beginErr, "NewOIDs": oidsErr,
		"Store":        txn.Store(ctx, 1, 0, Object(1)),
		"CheckCurrent": txn.CheckCurrent(ctx, 1, 0),
	} {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v, want nil or context.Canceled", what, err)
		}
	}
	txn.Abort()
	t.put(2, 0, Object(1))
}

// A Finish that is under way is not stopped.
func testContextFinishBegun(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	t.vote(txn)
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	tid, err := txn.Finish(ctx, func(zodb.TID) { cancel() })
	if err != nil {
		t.Fatalf("Finish whose context is cancelled during publication: %v", err)
	}
	t.current(1, tid, Object(1))
}

// A Finish with a context that was over before either commits or does not, and
// says which.
func testContextFinishCancelled(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	t.vote(txn)
	tid, err := txn.Finish(t.cancelled(), nil)
	if err == nil {
		t.current(1, tid, Object(1))
		return
	}
	matches(t, "Finish with a cancelled context", err, context.Canceled)
	txn.Abort()
	t.absent(1, zodb.MaxTID)
	t.put(1, 0, Object(2))
}

// The context of Begin is for Begin.
func testContextOpening(t *T) {
	ctx, cancel := context.WithCancel(t.ctx)
	txn, err := t.S.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	defer txn.Abort()
	cancel()
	t.store(txn, write{1, 0, Object(1)})
	tid := t.end(txn)
	t.current(1, tid, Object(1))
}
