package demo

import (
	"context"
	"errors"

	"github.com/zaridb/zari/zodb"
)

// below is the base as it was just after the cut.
type below struct {
	zodb.Storage
	cut zodb.TID
}

var (
	_ zodb.Storage = (*below)(nil)
	_ zodb.Asser   = (*below)(nil)
)

// As finds the one ability that transactions of the changes use.
func (b *below) As(target any) bool {
	_, ok := target.(*zodb.BlobStore)
	return ok && zodb.PassOn(b.Storage, target)
}

// LoadBefore implements zodb.Storage. A *zodb.NoObjectError is the caller's own.
func (b *below) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if b.cut == 0 {
		return zodb.Record{}, &zodb.NoObjectError{OID: oid, Before: tid}
	}
	rec, err := b.Storage.LoadBefore(ctx, oid, min(tid, b.cut+1))
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		mine := *missing
		mine.Before = tid
		if mine.DeletedAt == 0 && tid > b.cut {
			mine.Known = false // if the base knows it, it was made after the cut
		}
		return zodb.Record{}, &mine
	}
	if rec.Next > b.cut {
		rec.Next = 0
	}
	rec.AsOf = b.cut
	return rec, err
}

// LoadBefore implements zodb.Storage.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if s.closed.Load() {
		return zodb.Record{}, zodb.ErrClosed
	}
	asOf := s.LastTID() // before the changes are asked: no revision <= asOf escapes them
	rec, err := s.changes.LoadBefore(ctx, oid, tid)
	changed, ok := errors.AsType[*zodb.NoObjectError](err)
	if !ok || changed.DeletedAt != 0 {
		return rec, err
	}
	rec, err = s.base.LoadBefore(ctx, oid, tid)
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		missing.Known = missing.Known || changed.Known
	}
	if err != nil || rec.Next != 0 {
		return rec, err
	}
	rec.AsOf = asOf
	if changed.Known {
		rec.Next, err = s.firstChange(ctx, oid, tid)
	}
	if err == nil && rec.Next != 0 && s.packed.Load() {
		err = s.firstEver(ctx, oid, tid, rec.Next)
	}
	if err != nil {
		return zodb.Record{}, err
	}
	return rec, nil
}

// firstChange returns the first revision of oid in the changes, of which it is
// known that none is before from; 0 if none is to be seen yet.
func (s *Storage) firstChange(ctx context.Context, oid zodb.OID, from zodb.TID) (zodb.TID, error) {
	first, err := s.changedBefore(ctx, oid, zodb.MaxTID)
	if first == 0 || err != nil {
		return 0, err
	}
	for probe := first; from < first; {
		earlier, err := s.changedBefore(ctx, oid, probe)
		if err != nil {
			return 0, err
		}
		switch {
		case earlier != 0:
			first = earlier
		case probe == first: // most objects have one change, and are done here
			return first, nil
		default:
			from = probe
		}
		probe = from + (first-from+1)/2
	}
	return first, nil
}

// changedBefore returns the newest revision < tid of oid in the changes, deletions
// included, 0 if there is none.
func (s *Storage) changedBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.TID, error) {
	rec, err := s.changes.LoadBefore(ctx, oid, tid)
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return missing.DeletedAt, nil
	}
	return rec.Serial, err
}

// firstEver makes sure that first, the first revision of oid in changes that were
// packed, is the first there ever was. Otherwise it is not known what the object
// was before it: not what the base has.
func (s *Storage) firstEver(ctx context.Context, oid zodb.OID, tid, first zodb.TID) error {
	it, ok := zodb.As[zodb.Iterator](s.changes)
	if !ok {
		return nil
	}
	for t, err := range it.Transactions(ctx, first, first) {
		if err == nil && t.Status == 'p' {
			err = &zodb.NoObjectError{OID: oid, Before: tid, Known: true}
		}
		return err
	}
	return nil
}

// LoadBlob implements zodb.BlobStore.
func (s *Storage) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	from := s.changes
	if serial <= s.base.cut {
		from = s.base.Storage
	}
	b, ok := zodb.As[zodb.BlobStore](from)
	if !ok { // a base without blobs
		return "", &zodb.NoObjectError{OID: oid, Before: serial + 1}
	}
	return b.LoadBlob(ctx, oid, serial)
}

// BlobTempDir implements zodb.BlobStore.
func (s *Storage) BlobTempDir() (string, error) {
	b, ok := zodb.As[zodb.BlobStore](s.changes)
	if !ok {
		return "", errors.ErrUnsupported
	}
	return b.BlobTempDir()
}

// BlobDir implements zodb.BlobStore: the directory of the blobs of the changes.
func (s *Storage) BlobDir(oid zodb.OID) (string, error) {
	b, ok := zodb.As[zodb.BlobStore](s.changes)
	if !ok {
		return "", errors.ErrUnsupported
	}
	return b.BlobDir(oid)
}
