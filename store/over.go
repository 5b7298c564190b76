package store

import (
	"context"
	"errors"

	"github.com/zaridb/zari/zodb"
)

// overlay is what lies below a transaction, if something does.
type overlay struct {
	base  zodb.Storage
	found map[zodb.OID]bool // objects whose newest revision, at the vote, is there
}

// Over implements zodb.OverTxn.
func (t *txn) Over(base zodb.Storage) { t.over.base = base }

// serials fills in the objects that have no revision here.
//
// The locks of all of them are held, and the base does not change: so this cannot
// be out of date before the transaction ends.
func (o *overlay) serials(ctx context.Context, serials map[zodb.OID]zodb.TID) error {
	if o.base == nil {
		return nil
	}
	o.found = make(map[zodb.OID]bool)
	for oid, serial := range serials {
		if serial != 0 {
			continue
		}
		rec, err := o.base.LoadBefore(ctx, oid, zodb.MaxTID)
		if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
			rec.Serial, err = missing.DeletedAt, nil
		}
		if err != nil {
			return err
		}
		serials[oid] = rec.Serial
		o.found[oid] = true
	}
	return nil
}

// loadBefore is Store.revisionBefore. Where there is no revision here before tid, it
// is the one below.
func (t *txn) loadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (rec zodb.Record, below bool, err error) {
	rec, err = t.store.revisionBefore(ctx, oid, tid)
	missing, ok := errors.AsType[*zodb.NoObjectError](err)
	if t.over.base == nil || !ok || missing.DeletedAt != 0 {
		return rec, false, err
	}
	rec, err = t.over.base.LoadBefore(ctx, oid, tid)
	return rec, true, err
}
