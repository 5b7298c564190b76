package faulty

import (
	"context"
	"iter"
	"time"

	"github.com/zaridb/zari/zodb"
)

// The abilities of a storage, each with the faults in between.
type (
	watcher struct {
		s *Storage
		zodb.Watcher
	}
	syncer struct {
		s *Storage
		zodb.Syncer
	}
	iterator struct {
		s *Storage
		zodb.Iterator
	}
	records struct {
		s *Storage
		zodb.RecordIterator
	}
	historian struct {
		s *Storage
		zodb.Historian
	}
	undoer struct {
		s *Storage
		zodb.Undoer
	}
	packer struct {
		s *Storage
		zodb.Packer
	}
	blobs struct {
		s *Storage
		zodb.BlobStore
	}
	outcomer struct {
		s *Storage
		zodb.Outcomer
	}
	appender struct {
		s *Storage
		zodb.Appender
	}
)

// answer runs a call that has one answer besides its error.
func answer[V any](ctx context.Context, s *Storage, c Call, call func() (V, error)) (v V, err error) {
	err = s.faults.do(ctx, c, func() (err error) {
		v, err = call()
		return err
	}, func() {
		var none V
		v = none
	})
	return v, err
}

// stream lets each item of a stream meet a fault, which ends it.
func stream[V any](ctx context.Context, s *Storage, c Call, seq iter.Seq2[V, error]) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		for v, err := range seq {
			if err == nil {
				err = s.faults.do(ctx, c, func() error { return nil }, nil)
			}
			if err != nil {
				var none V
				yield(none, err)
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

func (w watcher) ChangesSince(ctx context.Context, after zodb.TID) (oids []zodb.OID, upTo zodb.TID, err error) {
	err = w.s.faults.do(ctx, Call{Op: "ChangesSince", TID: after}, func() (err error) {
		oids, upTo, err = w.Watcher.ChangesSince(ctx, after)
		return err
	}, func() { oids, upTo = nil, 0 })
	return oids, upTo, err
}

func (y syncer) Sync(ctx context.Context) error {
	return y.s.faults.do(ctx, Call{Op: "Sync"}, func() error { return y.Syncer.Sync(ctx) }, nil)
}

func (i iterator) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	return stream(ctx, i.s, Call{Op: "Transactions", TID: start}, i.Iterator.Transactions(ctx, start, stop))
}

func (i iterator) Backward(ctx context.Context, from zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	return stream(ctx, i.s, Call{Op: "Backward", TID: from}, i.Iterator.Backward(ctx, from))
}

func (r records) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return stream(ctx, r.s, Call{Op: "Current", OID: from, TID: asOf}, r.RecordIterator.Current(ctx, asOf, from, to))
}

func (h historian) History(ctx context.Context, oid zodb.OID, size int) ([]zodb.Revision, error) {
	return answer(ctx, h.s, Call{Op: "History", OID: oid}, func() ([]zodb.Revision, error) {
		return h.Historian.History(ctx, oid, size)
	})
}

func (h historian) LoadSerial(ctx context.Context, oid zodb.OID, serial zodb.TID) ([]byte, error) {
	return answer(ctx, h.s, Call{Op: "LoadSerial", OID: oid, TID: serial}, func() ([]byte, error) {
		return h.Historian.LoadSerial(ctx, oid, serial)
	})
}

func (u undoer) UndoLog(ctx context.Context, first, last int, filter func(*zodb.UndoEntry) bool) ([]zodb.UndoEntry, error) {
	return answer(ctx, u.s, Call{Op: "UndoLog"}, func() ([]zodb.UndoEntry, error) {
		return u.Undoer.UndoLog(ctx, first, last, filter)
	})
}

func (k packer) Pack(ctx context.Context, at time.Time, opts zodb.PackOptions) error {
	return k.s.faults.do(ctx, Call{Op: "Pack"}, func() error { return k.Packer.Pack(ctx, at, opts) }, nil)
}

func (b blobs) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	return answer(ctx, b.s, Call{Op: "LoadBlob", OID: oid, TID: serial}, func() (string, error) {
		return b.BlobStore.LoadBlob(ctx, oid, serial)
	})
}

// Append with a lost answer commits. However it ends, the transactions are over.
func (a appender) Append(ctx context.Context, txns []zodb.Txn) (n int, err error) {
	inner := make([]zodb.Txn, len(txns))
	for i, t := range txns {
		inner[i] = t
		if t, ok := t.(*txn); ok {
			inner[i] = t.Txn
		}
	}
	err = a.s.faults.do(ctx, Call{Op: "Append"}, func() (err error) {
		n, err = a.Appender.Append(ctx, inner)
		return err
	}, func() {
		n = 0
		for _, t := range txns {
			t.Abort()
		}
	})
	return n, err
}

func (o outcomer) Outcome(ctx context.Context, token zodb.Token) (zodb.TID, error) {
	return answer(ctx, o.s, Call{Op: "Outcome"}, func() (zodb.TID, error) { return o.Outcomer.Outcome(ctx, token) })
}
