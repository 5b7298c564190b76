package sqlstorage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Append implements store.Engine: one transaction of SQL for the whole batch.
func (e *Engine) Append(ctx context.Context, batch []*txnlog.Txn, meta *store.Meta) (int, error) {
	b := &Batch{Form: e.form, Txns: batch, Meta: meta, Epoch: e.epoch.Load(), Last: zodb.TID(e.head.Load())}
	if err := e.oids.raise(ctx, largest(batch)); err != nil {
		return 0, err
	}
	if err := e.placeBlobs(b); err != nil {
		return 0, err
	}
	err := e.db.Append(ctx, b)
	if errors.Is(err, zodb.ErrCommitUnknown) {
		e.tried = batch
		return 0, err
	}
	if err != nil {
		e.unplaceBlobs(b)
		return 0, err
	}
	e.appended(batch)
	return len(batch), nil
}

// largest returns the largest oid that a batch writes: other users of the database
// must not make it again.
func largest(batch []*txnlog.Txn) (oid zodb.OID) {
	for _, t := range batch {
		for i := range t.Records {
			oid = max(oid, t.Records[i].OID)
		}
	}
	return oid
}

// appended brings what is kept in memory up to date with a batch that is durable.
func (e *Engine) appended(batch []*txnlog.Txn) {
	for _, t := range batch {
		raise(&e.head, uint64(t.TID))
		for i := range t.Records {
			r := &t.Records[i]
			raise(&e.max, uint64(r.OID))
			e.stat.add(r)
		}
	}
	e.keepBlobs(batch)
}

// raise makes v at least n. (In a shared database several goroutines do.)
func raise(v *atomic.Uint64, n uint64) {
	for old := v.Load(); old < n && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}

// Settle implements store.Settler. Raising the epoch waits for what the last Append
// may still be doing in the database, and keeps it from beginning; then the last tid
// tells what became of it. (It is one transaction or none: no tid in between can be
// the last.)
func (e *Engine) Settle(ctx context.Context) (zodb.TID, error) {
	if e.epoch.Load() != 0 {
		if err := e.retakeEpoch(ctx); err != nil {
			return 0, err
		}
	}
	var last int64
	err := e.db.Read(ctx, func(s Session) (err error) {
		last, err = number(ctx, s, e.form.SelectLast())
		return err
	})
	if err != nil {
		return 0, err
	}
	tried := e.tried
	switch head := zodb.TID(e.head.Load()); {
	case len(tried) > 0 && zodb.TID(last) == tried[len(tried)-1].TID:
		e.appended(tried)
	case zodb.TID(last) > head, zodb.TID(last) < head && e.form == Preserving:
		return 0, &ForeignWriteError{Want: head, Found: zodb.TID(last)}
	default:
		e.unplaceBlobs(&Batch{Form: e.form, Txns: tried})
	}
	e.tried = nil
	return zodb.TID(e.head.Load()), nil
}

// retakeEpoch raises the epoch if it is still ours. What came of an earlier attempt may
// not be known: then it may have been raised by that. (If it was somebody else after all,
// he is locked out now, and had not written, or the last tid tells.)
func (e *Engine) retakeEpoch(ctx context.Context) error {
	var next int64
	e.raises++
	err := e.db.Write(ctx, func(s Session) error {
		if _, err := s.Exec(ctx, nextEpoch); err != nil {
			return err
		}
		var err error
		next, err = number(ctx, s, selectEpoch)
		if err == nil && (uint64(next) <= e.epoch.Load() || uint64(next) > e.epoch.Load()+e.raises) {
			err = fmt.Errorf("%s: another server has taken over: %w", e.db.Name(), zodb.ErrNotPrimary)
		}
		return err
	})
	switch {
	case err == nil:
		e.epoch.Store(uint64(next))
		e.raises = 0
	case !errors.Is(err, zodb.ErrCommitUnknown):
		e.raises--
	}
	return err
}

// Check implements store.Checker: the database has signed numbers, and perhaps a
// limit for values.
func (e *Engine) Check(t *txnlog.Txn) error {
	state, blob := int64(math.MaxInt64), int64(math.MaxInt64)
	if l, ok := e.db.(Limiter); ok {
		state, blob = l.MaxState(), l.MaxBlob()
	}
	if err := e.checkText(t); err != nil {
		return err
	}
	for i := range t.Records {
		r := &t.Records[i]
		if r.OID > math.MaxInt64 {
			return fmt.Errorf("object %v: an oid in %s is less than 2**63", r.OID, e.db.Name())
		}
		if n := int64(r.Len()); n > state {
			return fmt.Errorf("object %v has %d bytes, and %s can hold %d", r.OID, n, e.db.Name(), state)
		}
		if err := e.checkBlob(r, blob); err != nil {
			return err
		}
	}
	return nil
}

// checkText bounds what the transaction says of itself.
func (e *Engine) checkText(t *txnlog.Txn) error {
	l, ok := e.db.(TextLimiter)
	if n := int64(max(len(t.User), len(t.Description), len(t.Extension))); ok && n > l.MaxText() {
		return fmt.Errorf("the transaction's user, description or extension has %d bytes, and %s can hold %d", n, e.db.Name(), l.MaxText())
	}
	return nil
}
