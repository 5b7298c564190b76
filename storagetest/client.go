package storagetest

import (
	"context"
	"errors"

	"github.com/zaridb/zari/zodb"
)

// commit commits the writes to s. A conflict is an error. It is for goroutines
// beside the test's, which must not fail the test themselves.
func commit(ctx context.Context, s zodb.Storage, committed func(zodb.TID), writes ...write) (zodb.TID, error) {
	txn, err := s.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		return 0, err
	}
	defer txn.Abort()
	for _, w := range writes {
		if err := txn.Store(ctx, w.oid, w.serial, w.data); err != nil {
			return 0, err
		}
	}
	votes, err := txn.Vote(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range votes.Conflicts {
		return 0, &zodb.ConflictError{OID: c.OID, Committed: c.Committed, Read: c.Read}
	}
	return txn.Finish(ctx, committed)
}

// allocate returns one new oid.
func allocate(ctx context.Context, s zodb.Storage) (zodb.OID, error) {
	oids, err := s.NewOIDs(ctx, 1)
	if err != nil {
		return 0, err
	}
	return oids[0], nil
}

// isConflict reports whether a commit failed only because of another one.
func isConflict(err error) bool {
	_, ok := errors.AsType[*zodb.ConflictError](err)
	return ok
}

// transactions reads all transactions from start to stop.
func transactions(ctx context.Context, it zodb.Iterator, start, stop zodb.TID) ([]*zodb.Transaction, error) {
	var all []*zodb.Transaction
	for t, err := range it.Transactions(ctx, start, stop) {
		if err != nil {
			return all, err
		}
		all = append(all, t)
	}
	return all, nil
}

// history reads all transactions, failing the test on an error.
func (t *T) history() []*zodb.Transaction {
	t.Helper()
	return t.historyOf(t.S, 0, 0)
}

func (t *T) historyOf(s zodb.Storage, start, stop zodb.TID) []*zodb.Transaction {
	t.Helper()
	all, err := transactions(t.ctx, ability[zodb.Iterator](t, s), start, stop)
	if err != nil {
		t.Fatalf("Transactions(%v, %v): %v", start, stop, err)
	}
	return all
}

func tidsOf(txns []*zodb.Transaction) []zodb.TID {
	tids := make([]zodb.TID, len(txns))
	for i, txn := range txns {
		tids[i] = txn.TID
	}
	return tids
}
