package faulty

import (
	"context"

	"github.com/zaridb/zari/zodb"
)

// txn is a transaction whose calls may meet faults. A Vote or Finish that does is
// the transaction's end, as the contract has it.
type txn struct {
	zodb.Txn
	faults *Faults
}

var (
	_ zodb.Txn   = (*txn)(nil)
	_ zodb.Asser = (*txn)(nil)
)

func (t *txn) Store(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte) error {
	return t.faults.do(ctx, Call{Op: "Txn.Store", OID: oid, TID: serial}, func() error {
		return t.Txn.Store(ctx, oid, serial, data)
	}, nil)
}

func (t *txn) CheckCurrent(ctx context.Context, oid zodb.OID, serial zodb.TID) error {
	return t.faults.do(ctx, Call{Op: "Txn.CheckCurrent", OID: oid, TID: serial}, func() error {
		return t.Txn.CheckCurrent(ctx, oid, serial)
	}, nil)
}

func (t *txn) Vote(ctx context.Context) (votes zodb.Votes, err error) {
	err = t.faults.do(ctx, Call{Op: "Txn.Vote"}, func() (err error) {
		votes, err = t.Txn.Vote(ctx)
		return err
	}, func() {
		votes = zodb.Votes{}
		t.Txn.Abort()
	})
	return votes, err
}

// Finish with a lost answer commits, and does not call committed either.
func (t *txn) Finish(ctx context.Context, committed func(zodb.TID)) (tid zodb.TID, err error) {
	fault := t.faults.of(Call{Op: "Txn.Finish"})
	if fault.Delay != nil {
		if err := fault.Delay(ctx); err != nil {
			fault.Err = err
		}
	}
	switch {
	case fault.Err == nil:
		return t.Txn.Finish(ctx, committed)
	case fault.Lost:
		_, _ = t.Txn.Finish(ctx, nil)
	default:
		t.Abort()
	}
	return 0, fault.Err
}

// As finds the abilities of the inner transaction, with the faults in between.
func (t *txn) As(target any) bool {
	switch p := target.(type) {
	case *zodb.UndoTxn:
		return zodb.Adapt(t.Txn, p, func(u zodb.UndoTxn) zodb.UndoTxn { return undoTxn{t, u} })
	case *zodb.DeleteTxn:
		return zodb.Adapt(t.Txn, p, func(d zodb.DeleteTxn) zodb.DeleteTxn { return deleteTxn{t, d} })
	case *zodb.RestoreTxn:
		return zodb.Adapt(t.Txn, p, func(r zodb.RestoreTxn) zodb.RestoreTxn { return restoreTxn{t, r} })
	case *zodb.BlobTxn:
		return zodb.Adapt(t.Txn, p, func(b zodb.BlobTxn) zodb.BlobTxn { return blobTxn{t, b} })
	case *zodb.NoMergeTxn, *zodb.OverTxn:
		return zodb.PassOn(t.Txn, target)
	}
	return false
}

// The abilities of a transaction, each with the faults in between.
type (
	undoTxn struct {
		t *txn
		zodb.UndoTxn
	}
	deleteTxn struct {
		t *txn
		zodb.DeleteTxn
	}
	restoreTxn struct {
		t *txn
		zodb.RestoreTxn
	}
	blobTxn struct {
		t *txn
		zodb.BlobTxn
	}
)

func (u undoTxn) Undo(ctx context.Context, tid zodb.TID) error {
	return u.t.faults.do(ctx, Call{Op: "Txn.Undo", TID: tid}, func() error { return u.UndoTxn.Undo(ctx, tid) }, nil)
}

func (d deleteTxn) Delete(ctx context.Context, oid zodb.OID, serial zodb.TID) error {
	return d.t.faults.do(ctx, Call{Op: "Txn.Delete", OID: oid, TID: serial}, func() error {
		return d.DeleteTxn.Delete(ctx, oid, serial)
	}, nil)
}

func (r restoreTxn) Restore(ctx context.Context, oid zodb.OID, data []byte, from zodb.TID) error {
	return r.t.faults.do(ctx, Call{Op: "Txn.Restore", OID: oid, TID: from}, func() error {
		return r.RestoreTxn.Restore(ctx, oid, data, from)
	}, nil)
}

func (b blobTxn) StoreBlob(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte, path string) error {
	return b.t.faults.do(ctx, Call{Op: "Txn.StoreBlob", OID: oid, TID: serial}, func() error {
		return b.BlobTxn.StoreBlob(ctx, oid, serial, data, path)
	}, nil)
}

func (b blobTxn) RestoreBlob(ctx context.Context, oid zodb.OID, data []byte, from zodb.TID, path string) error {
	return b.t.faults.do(ctx, Call{Op: "Txn.RestoreBlob", OID: oid, TID: from}, func() error {
		return b.BlobTxn.RestoreBlob(ctx, oid, data, from, path)
	}, nil)
}
