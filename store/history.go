package store

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// scan is Engine.Scan of a store that is open.
func (s *Store) scan(ctx context.Context, from zodb.TID, dir Direction) iter.Seq2[*txnlog.Txn, error] {
	if s.closed.Load() {
		return func(yield func(*txnlog.Txn, error) bool) { yield(nil, zodb.ErrClosed) }
	}
	return s.engine.Scan(ctx, from, dir)
}

// scanHeads is scan for those who do not look at records: they may be missing.
func (s *Store) scanHeads(ctx context.Context, from zodb.TID, dir Direction) iter.Seq2[*txnlog.Txn, error] {
	if h, ok := s.engine.(HeadScanner); ok && !s.closed.Load() {
		return h.ScanHeads(ctx, from, dir)
	}
	return s.scan(ctx, from, dir)
}

// transaction returns a published transaction, nil if there is none of that tid.
func (s *Store) transaction(ctx context.Context, tid zodb.TID) (*txnlog.Txn, error) {
	return s.find(tid, s.scan(ctx, tid, Forward))
}

// head is transaction, but the records may be missing.
func (s *Store) head(ctx context.Context, tid zodb.TID) (*txnlog.Txn, error) {
	return s.find(tid, s.scanHeads(ctx, tid, Forward))
}

// find returns the first transaction of a scan if it is published and has the tid.
func (s *Store) find(tid zodb.TID, scan iter.Seq2[*txnlog.Txn, error]) (*txnlog.Txn, error) {
	if tid > s.shown() {
		return nil, nil
	}
	for t, err := range scan {
		if err != nil {
			return nil, err
		}
		if t.TID == tid {
			return t, nil
		}
		break
	}
	return nil, nil
}

// Transactions implements zodb.Iterator.
func (s *Store) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	if s.forgets() {
		return transactionsOf(s.wholeScan(ctx, start, cmp.Or(stop, zodb.MaxTID), Forward))
	}
	last := s.shown()
	if stop != 0 {
		last = min(stop, last)
	}
	return func(yield func(*zodb.Transaction, error) bool) {
		for t, err := range s.scan(ctx, start, Forward) {
			if err != nil {
				yield(nil, err)
				return
			}
			if t.TID > last || !yield(transactionOf(t), nil) {
				return
			}
		}
	}
}

// Backward implements zodb.Iterator.
func (s *Store) Backward(ctx context.Context, from zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	if s.forgets() {
		from = cmp.Or(from, zodb.MaxTID)
		return transactionsOf(s.wholeScan(ctx, from, from, Backward))
	}
	last := s.shown()
	if from != 0 {
		last = min(from, last)
	}
	return transactionsOf(s.scan(ctx, last, Backward))
}

func transactionsOf(scan iter.Seq2[*txnlog.Txn, error]) iter.Seq2[*zodb.Transaction, error] {
	return func(yield func(*zodb.Transaction, error) bool) {
		for t, err := range scan {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(transactionOf(t), nil) {
				return
			}
		}
	}
}

func transactionOf(t *txnlog.Txn) *zodb.Transaction {
	out := &zodb.Transaction{
		TID: t.TID, Status: t.Status, User: t.User, Description: t.Description,
		Extension: t.Extension, Size: t.Size, Token: t.Token,
		Records: make([]zodb.TxnRecord, len(t.Records)),
	}
	for i := range t.Records {
		r := &t.Records[i]
		out.Records[i] = zodb.TxnRecord{OID: r.OID, Data: r.Data, From: r.From, Blob: r.Blob != ""}
		if r.Kind == txnlog.Delete {
			out.Records[i].Data = nil
		}
	}
	return out
}

// Current implements zodb.RecordIterator.
func (s *Store) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	if s.closed.Load() {
		return func(yield func(zodb.Current, error) bool) { yield(zodb.Current{}, zodb.ErrClosed) }
	}
	last := s.shown()
	if asOf != 0 {
		last = min(asOf, last)
	}
	if s.forgets() {
		return s.wholeCurrent(ctx, last, from, to)
	}
	return s.engine.Current(ctx, last, from, to)
}

// LoadSerial implements zodb.Historian.
func (s *Store) LoadSerial(ctx context.Context, oid zodb.OID, serial zodb.TID) ([]byte, error) {
	rec, err := s.LoadBefore(ctx, oid, serial+1)
	if err != nil {
		return nil, err
	}
	if rec.Serial != serial {
		return nil, &zodb.NoObjectError{OID: oid, Before: serial + 1, Known: true}
	}
	return rec.Data, nil
}

// History implements zodb.Historian by following the revisions back. Of a medium that
// forgets it is the newest.
func (s *Store) History(ctx context.Context, oid zodb.OID, size int) ([]zodb.Revision, error) {
	if s.forgets() {
		size = min(size, 1)
	}
	var revisions []zodb.Revision
	before := zodb.MaxTID
	for len(revisions) < size {
		rec, err := s.LoadBefore(ctx, oid, before)
		missing, ok := errors.AsType[*zodb.NoObjectError](err)
		if ok && missing.DeletedAt != 0 {
			rec = zodb.Record{Serial: missing.DeletedAt}
		} else if ok && len(revisions) > 0 {
			break
		} else if err != nil {
			return nil, err
		}
		t, err := s.head(ctx, rec.Serial)
		if err != nil {
			return nil, err
		}
		if t == nil {
			break
		}
		revisions = append(revisions, zodb.Revision{
			TID: rec.Serial, User: t.User, Description: t.Description,
			Extension: t.Extension, Size: int64(len(rec.Data)),
		})
		before = rec.Serial
	}
	return revisions, nil
}

// UndoLog implements zodb.Undoer.
func (s *Store) UndoLog(ctx context.Context, first, last int, filter func(*zodb.UndoEntry) bool) ([]zodb.UndoEntry, error) {
	var log []zodb.UndoEntry
	n := 0
	for t, err := range s.scanHeads(ctx, s.shown(), Backward) {
		if err != nil {
			return nil, err
		}
		if n >= last || t.Status == 'p' {
			break
		}
		e := zodb.UndoEntry{TID: t.TID, User: t.User, Description: t.Description, Extension: t.Extension, Size: t.Size}
		if filter != nil && !filter(&e) {
			continue
		}
		if n >= first {
			log = append(log, e)
		}
		n++
	}
	return log, nil
}
