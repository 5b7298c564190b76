package store

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/zaridb/zari/zodb"
)

// lockMedium locks in the medium what is locked here, and returns the newest serials
// of all that is locked. The transactions that these name are published when it
// returns: so whatever a vote says of them can be looked up, and a client that must try
// again finds them.
func (t *txn) lockMedium(ctx context.Context, modes map[zodb.OID]lockMode) (map[zodb.OID]zodb.TID, error) {
	var written, read []zodb.OID
	for _, oid := range slices.Sorted(maps.Keys(modes)) {
		switch {
		case oid == wholeStorage:
		case modes[oid] == exclusive:
			written = append(written, oid)
		default:
			read = append(read, oid)
		}
	}
	if t.held != nil {
		if err := t.held.Extend(ctx, written, read); err != nil {
			return nil, err
		}
	} else {
		held, err := t.store.locker.Lock(ctx, written, read, t.store.opts.LockWait)
		if err != nil {
			return nil, err
		}
		t.held = held
	}
	serials := maps.Clone(t.held.Serials())
	return serials, t.awaitSerials(ctx, serials)
}

// awaitSerials waits until the transactions are published.
func (t *txn) awaitSerials(ctx context.Context, serials map[zodb.OID]zodb.TID) error {
	oid, newest := zodb.OID(0), zodb.TID(0)
	for o, serial := range serials {
		if serial > newest {
			oid, newest = o, serial
		}
	}
	if newest <= t.store.LastTID() {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, t.store.opts.LockWait)
	defer cancel()
	err := t.store.awaitPublished(bounded, newest)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return &zodb.ConflictError{OID: oid, Committed: newest, Reason: "what another server has committed is not known here yet"}
	}
	return err
}
