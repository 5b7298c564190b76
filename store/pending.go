package store

import (
	"context"

	"github.com/zaridb/zari/zodb"
)

// TxnResolver is a Resolver that can do more if it sees the whole transaction.
type TxnResolver interface {
	// ForTxn returns what merges in one vote, nil if nothing does.
	ForTxn(t Pending) TxnMerger
}

// Pending is a transaction in its vote, as a TxnResolver sees it. The type is an alias,
// as is TxnMerger, so that resolvers need not know this package.
type Pending = interface {
	// Check returns the serial of an object that the transaction wants to be current.
	Check(oid zodb.OID) (serial zodb.TID, ok bool)

	// Written returns the objects that the transaction writes.
	Written() []zodb.OID

	// Write returns what the transaction writes of an object, and from which revision
	// it was made, 0 if the object is new.
	Write(oid zodb.OID) (base zodb.TID, data []byte, ok bool)

	// Revision returns what transaction serial wrote of an object.
	Revision(oid zodb.OID, serial zodb.TID) ([]byte, error)

	// Current returns the newest data of an object, which then stay the newest until
	// the transaction ends. It does not wait for others: it is an error if they are
	// about to change it.
	Current(oid zodb.OID) ([]byte, error)
}

// TxnMerger merges in one vote. It is used by one goroutine.
type TxnMerger = interface {
	// Passes reports whether the transaction may commit although an object that it
	// wants to be current has changed.
	Passes(oid zodb.OID) bool

	// Merge is Resolver.Resolve, which is asked if this returns false.
	Merge(base, committed, wanted []byte) (merged []byte, ok bool)
}

// txnMerger returns what merges in this vote, nil if nothing does. A transaction that
// has voted before may hold merges by now in place of what it saw, and one that undoes
// or lies over another storage is not known in full.
func (t *txn) txnMerger(ctx context.Context, serials map[zodb.OID]zodb.TID) TxnMerger {
	r, ok := t.store.opts.Resolver.(TxnResolver)
	if !ok || t.noMerge || t.phase == conflicted || len(t.undos) > 0 || t.over.base != nil {
		return nil
	}
	return r.ForTxn(&pending{ctx: ctx, txn: t, serials: serials})
}

// pending is a Pending.
type pending struct {
	ctx     context.Context // of the vote, which is over before anybody could keep this
	txn     *txn
	serials map[zodb.OID]zodb.TID // the newest of all objects that are locked
}

func (p *pending) Check(oid zodb.OID) (zodb.TID, bool) {
	serial, ok := p.txn.checks[oid]
	return serial, ok
}

func (p *pending) Written() []zodb.OID { return p.txn.order }

func (p *pending) Write(oid zodb.OID) (base zodb.TID, data []byte, ok bool) {
	w := p.txn.writes[oid]
	if w == nil {
		return 0, nil, false
	}
	data, err := w.Load()
	if err != nil {
		return w.base, nil, true // nobody can read that, which is refused
	}
	return w.base, data, true
}

func (p *pending) Revision(oid zodb.OID, serial zodb.TID) ([]byte, error) {
	data, err := p.txn.revision(p.ctx, oid, serial)
	if err == nil && data == nil {
		err = &zodb.NoObjectError{OID: oid, Before: serial + 1, Known: true}
	}
	return data, err
}

func (p *pending) Current(oid zodb.OID) ([]byte, error) {
	if _, locked := p.serials[oid]; !locked {
		s := p.txn.store
		if _, ok := s.locks.tryExtend(p.txn.locks, map[zodb.OID]lockMode{oid: shared}); !ok {
			return nil, &zodb.ConflictError{OID: oid, Reason: "object is locked by another transaction"}
		}
		serials, err := p.txn.serials(p.ctx, map[zodb.OID]lockMode{oid: shared})
		if err != nil {
			return nil, err
		}
		p.serials[oid] = serials[oid]
	}
	return p.Revision(oid, p.serials[oid])
}
