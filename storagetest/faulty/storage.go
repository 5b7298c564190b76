package faulty

import (
	"context"

	"github.com/zaridb/zari/zodb"
)

// Storage is a storage whose calls may meet faults.
type Storage struct {
	inner  zodb.Storage
	faults *Faults
}

var (
	_ zodb.Storage = (*Storage)(nil)
	_ zodb.Asser   = (*Storage)(nil)
)

// Wrap returns s with the faults in between. Closing it closes s.
func (f *Faults) Wrap(s zodb.Storage) *Storage { return &Storage{inner: s, faults: f} }

// Info and LastTID do no I/O, and meet no faults.
func (s *Storage) Info() zodb.Info { return s.inner.Info() }

// LastTID is the inner storage's.
func (s *Storage) LastTID() zodb.TID { return s.inner.LastTID() }

// LoadBefore loads from the inner storage.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (rec zodb.Record, err error) {
	err = s.faults.do(ctx, Call{Op: "LoadBefore", OID: oid, TID: tid}, func() (err error) {
		rec, err = s.inner.LoadBefore(ctx, oid, tid)
		return err
	}, func() { rec = zodb.Record{} })
	return rec, err
}

// NewOIDs asks the inner storage.
func (s *Storage) NewOIDs(ctx context.Context, n int) (oids []zodb.OID, err error) {
	err = s.faults.do(ctx, Call{Op: "NewOIDs"}, func() (err error) {
		oids, err = s.inner.NewOIDs(ctx, n)
		return err
	}, func() { oids = nil })
	return oids, err
}

// Begin begins a transaction, whose calls may meet faults as well.
func (s *Storage) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	var inner zodb.Txn
	err := s.faults.do(ctx, Call{Op: "Begin", TID: meta.TID}, func() (err error) {
		inner, err = s.inner.Begin(ctx, meta)
		return err
	}, func() {
		if inner != nil {
			inner.Abort()
		}
	})
	if err != nil {
		return nil, err
	}
	return &txn{Txn: inner, faults: s.faults}, nil
}

// Close closes the inner storage. It meets no faults.
func (s *Storage) Close() error { return s.inner.Close() }

// As finds the abilities of the inner storage, with the faults in between.
func (s *Storage) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Watcher:
		return zodb.Adapt(s.inner, p, func(w zodb.Watcher) zodb.Watcher { return watcher{s, w} })
	case *zodb.Syncer:
		return zodb.Adapt(s.inner, p, func(y zodb.Syncer) zodb.Syncer { return syncer{s, y} })
	case *zodb.Iterator:
		return zodb.Adapt(s.inner, p, func(i zodb.Iterator) zodb.Iterator { return iterator{s, i} })
	case *zodb.RecordIterator:
		return zodb.Adapt(s.inner, p, func(r zodb.RecordIterator) zodb.RecordIterator { return records{s, r} })
	case *zodb.Historian:
		return zodb.Adapt(s.inner, p, func(h zodb.Historian) zodb.Historian { return historian{s, h} })
	case *zodb.Undoer:
		return zodb.Adapt(s.inner, p, func(u zodb.Undoer) zodb.Undoer { return undoer{s, u} })
	case *zodb.Packer:
		return zodb.Adapt(s.inner, p, func(k zodb.Packer) zodb.Packer { return packer{s, k} })
	case *zodb.BlobStore:
		return zodb.Adapt(s.inner, p, func(b zodb.BlobStore) zodb.BlobStore { return blobs{s, b} })
	case *zodb.Outcomer:
		return zodb.Adapt(s.inner, p, func(o zodb.Outcomer) zodb.Outcomer { return outcomer{s, o} })
	case *zodb.Appender:
		return zodb.Adapt(s.inner, p, func(a zodb.Appender) zodb.Appender { return appender{s, a} })
	case *zodb.Restorer, *zodb.Deleter, *zodb.Prefetcher:
		return zodb.PassOn(s.inner, target)
	}
	return false
}
