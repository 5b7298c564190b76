package compress

import (
	"context"

	"github.com/zaridb/zari/zodb"
)

// txn compresses what it is given.
type txn struct {
	zodb.Txn
	form form
}

var (
	_ zodb.Txn   = (*txn)(nil)
	_ zodb.Asser = (*txn)(nil)
)

func (t *txn) Store(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte) error {
	kept, err := t.form.write(oid, data)
	if err != nil {
		return err
	}
	return t.Txn.Store(ctx, oid, serial, kept)
}

// Vote gives conflicts back as plain records.
func (t *txn) Vote(ctx context.Context) (zodb.Votes, error) {
	votes, err := t.Txn.Vote(ctx)
	if err != nil {
		return zodb.Votes{}, err
	}
	plain := zodb.Votes{Resolved: votes.Resolved}
	for _, c := range votes.Conflicts {
		if c.Data, err = t.form.read(c.OID, c.Read, c.Data); err != nil {
			t.Abort()
			return zodb.Votes{}, err
		}
		plain.Conflicts = append(plain.Conflicts, c)
	}
	return plain, nil
}

// As passes on what is not about records, and adapts what is.
func (t *txn) As(target any) bool {
	switch p := target.(type) {
	case *zodb.UndoTxn, *zodb.DeleteTxn, *zodb.NoMergeTxn, *zodb.OverTxn:
		return zodb.PassOn(t.Txn, target)
	case *zodb.RestoreTxn:
		return zodb.Adapt(t.Txn, p, func(r zodb.RestoreTxn) zodb.RestoreTxn { return restoreTxn{r, t.form} })
	case *zodb.BlobTxn:
		return zodb.Adapt(t.Txn, p, func(b zodb.BlobTxn) zodb.BlobTxn { return blobTxn{b, t.form} })
	}
	return false
}

type restoreTxn struct {
	zodb.RestoreTxn
	form form
}

func (r restoreTxn) Restore(ctx context.Context, oid zodb.OID, data []byte, from zodb.TID) error {
	kept, err := r.form.write(oid, data)
	if err != nil {
		return err
	}
	return r.RestoreTxn.Restore(ctx, oid, kept, from)
}

type blobTxn struct {
	zodb.BlobTxn
	form form
}

func (b blobTxn) StoreBlob(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte, path string) error {
	kept, err := b.form.write(oid, data)
	if err != nil {
		return err
	}
	return b.BlobTxn.StoreBlob(ctx, oid, serial, kept, path)
}

func (b blobTxn) RestoreBlob(ctx context.Context, oid zodb.OID, data []byte, from zodb.TID, path string) error {
	kept, err := b.form.write(oid, data)
	if err != nil {
		return err
	}
	return b.BlobTxn.RestoreBlob(ctx, oid, kept, from, path)
}
