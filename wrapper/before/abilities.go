package before

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/zaridb/zari/zodb"
)

// As finds the abilities of the wrapped storage, ended where the view ends. Those
// that transactions go with are there too, though there are no transactions: being
// read-only is a state. What became of a transaction is not the view's affair.
func (s *Storage) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Watcher:
		return zodb.SetAs[zodb.Watcher](p, s)
	case *zodb.Iterator:
		return zodb.SetAs[zodb.Iterator](p, s)
	case *zodb.Historian:
		return zodb.Adapt(s.base, p, func(h zodb.Historian) zodb.Historian { return historian{h, s} })
	case *zodb.RecordIterator:
		return zodb.Adapt(s.base, p, func(r zodb.RecordIterator) zodb.RecordIterator { return records{r, s} })
	case *zodb.Undoer:
		return zodb.Adapt(s.base, p, func(u zodb.Undoer) zodb.Undoer { return undoer{u, s} })
	case *zodb.BlobStore:
		return zodb.Adapt(s.base, p, func(b zodb.BlobStore) zodb.BlobStore { return blobs{b, s} })
	case *zodb.Prefetcher:
		return zodb.Adapt(s.base, p, func(f zodb.Prefetcher) zodb.Prefetcher { return prefetcher{f, s} })
	case *zodb.Packer:
		return zodb.Adapt(s.base, p, func(zodb.Packer) zodb.Packer { return packer{} })
	case *zodb.Syncer, *zodb.Restorer, *zodb.Deleter:
		return zodb.PassOn(s.base, target)
	}
	return false
}

// none is a sequence of nothing.
func none[V any](func(V, error) bool) {}

// Transactions implements zodb.Iterator.
func (s *Storage) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	if stop = s.bound(stop); stop == 0 {
		return none[*zodb.Transaction]
	}
	return s.iter.Transactions(ctx, start, stop)
}

// Backward implements zodb.Iterator.
func (s *Storage) Backward(ctx context.Context, from zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	if from = s.bound(from); from == 0 {
		return none[*zodb.Transaction]
	}
	return s.iter.Backward(ctx, from)
}

type records struct {
	zodb.RecordIterator
	s *Storage
}

func (r records) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	if asOf = r.s.bound(asOf); asOf == 0 {
		return none[zodb.Current]
	}
	return r.RecordIterator.Current(ctx, asOf, from, to)
}

type historian struct {
	zodb.Historian
	s *Storage
}

// LoadSerial implements zodb.Historian.
func (h historian) LoadSerial(ctx context.Context, oid zodb.OID, serial zodb.TID) ([]byte, error) {
	if serial < h.s.before {
		data, err := h.Historian.LoadSerial(ctx, oid, serial)
		if err != nil {
			return nil, h.s.missing(ctx, err, serial+1)
		}
		return data, nil
	}
	if _, err := h.s.LoadBefore(ctx, oid, serial+1); err != nil {
		return nil, err
	}
	return nil, &zodb.NoObjectError{OID: oid, Before: serial + 1, Known: true}
}

// History implements zodb.Historian. How many revisions came later is not known,
// so it asks for more and more.
func (h historian) History(ctx context.Context, oid zodb.OID, size int) ([]zodb.Revision, error) {
	size = max(size, 0)
	for n := size; ; n *= 2 {
		all, err := h.Historian.History(ctx, oid, n)
		if err != nil {
			return nil, h.s.missing(ctx, err, zodb.MaxTID)
		}
		seen := all[h.later(all):]
		if len(seen) < size && len(all) == n {
			continue
		}
		if len(seen) == 0 && size > 0 {
			_, err := h.s.LoadBefore(ctx, oid, zodb.MaxTID)
			return nil, err
		}
		return seen[:min(size, len(seen))], nil
	}
}

// later returns how many of the revisions, newest first, are not seen.
func (h historian) later(all []zodb.Revision) int {
	i := slices.IndexFunc(all, func(r zodb.Revision) bool { return r.TID < h.s.before })
	if i < 0 {
		return len(all)
	}
	return i
}

type undoer struct {
	zodb.Undoer
	s *Storage
}

// UndoLog implements zodb.Undoer. It can be read, though nothing can be undone.
func (u undoer) UndoLog(ctx context.Context, first, last int, filter func(*zodb.UndoEntry) bool) ([]zodb.UndoEntry, error) {
	return u.Undoer.UndoLog(ctx, first, last, func(e *zodb.UndoEntry) bool {
		return e.TID < u.s.before && (filter == nil || filter(e))
	})
}

type blobs struct {
	zodb.BlobStore
	s *Storage
}

// LoadBlob implements zodb.BlobStore.
func (b blobs) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	if serial >= b.s.before {
		return "", &zodb.NoObjectError{OID: oid, Before: serial + 1}
	}
	return b.BlobStore.LoadBlob(ctx, oid, serial)
}

func (blobs) BlobTempDir() (string, error)     { return "", zodb.ErrReadOnly }
func (blobs) BlobDir(zodb.OID) (string, error) { return "", zodb.ErrReadOnly }

type prefetcher struct {
	zodb.Prefetcher
	s *Storage
}

func (f prefetcher) Prefetch(ctx context.Context, oids []zodb.OID, tid zodb.TID) {
	f.Prefetcher.Prefetch(ctx, oids, min(tid, f.s.before))
}

type packer struct{}

// Pack returns ErrReadOnly.
func (packer) Pack(context.Context, time.Time, zodb.PackOptions) error { return zodb.ErrReadOnly }
