package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// LoadBefore implements zodb.Storage. What is in memory is answered from there,
// also while there is no connection.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if err := ctx.Err(); err != nil {
		return zodb.Record{}, err
	}
	if s.ctx.Err() != nil {
		return zodb.Record{}, zodb.ErrClosed
	}
	if s.LastTID() == 0 { // nothing is there, or the position is not known yet
		if _, err := s.connected(ctx); err != nil {
			return zodb.Record{}, err
		}
	}
	return s.cache.Load(ctx, oid, tid, (*source)(s))
}

// Recall implements zodb.Recaller.
func (s *Storage) Recall(oid zodb.OID, tid zodb.TID) (zodb.Record, bool) {
	if s.ctx.Err() != nil {
		return zodb.Record{}, false
	}
	return s.cache.Recall(oid, tid)
}

// source is the storage as its cache sees it: without one.
type source Storage

// LoadBefore asks the server for a revision. The question is bounded by what was told
// here, so that the answer is not ahead of it; what it says of later times is in Next.
func (x *source) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (rec zodb.Record, err error) {
	s := (*Storage)(x)
	asOf := s.cache.Position()
	bound := min(tid, asOf+1)
	var found bool
	err = s.retry(ctx, func(x *session) error {
		k := x.main.startEncoded("loadBefore", func(m *wire.Message) (err error) {
			if rec, found, err = m.ParseLoad(); err != nil || !found {
				return err
			}
			rec.Data = bytes.Clone(rec.Data)
			if rec.Serial >= bound || rec.Next != 0 && (rec.Next < bound || rec.Next <= rec.Serial) {
				return fmt.Errorf("a revision from %v to %v of object %v, asked for before %v", rec.Serial, rec.Next, oid, bound)
			}
			return nil
		}, func(dst []byte, n int64) ([]byte, error) {
			return x.main.codec.AppendLoadBefore(dst, n, oid, bound), nil
		})
		return x.main.wait(ctx, k)
	})
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		missing.OID, missing.Before = oid, bound
		if missing.DeletedAt == 0 && !s.can().tokens {
			missing.DeletedAt = s.deletion(ctx, oid, bound)
		}
		return zodb.Record{}, missing
	}
	if err != nil {
		return zodb.Record{}, err
	}
	if !found {
		return zodb.Record{}, &zodb.NoObjectError{OID: oid, Before: bound, Known: true}
	}
	rec.AsOf = asOf
	return rec, nil
}

// historySize is how many revisions are looked through for a deletion.
const historySize = 1000

// deletion returns when an object was deleted, where the server does not say that
// there is one: of Python's, a revision without data ends what is loaded before it.
// It returns 0 for an object that is unknown.
func (s *Storage) deletion(ctx context.Context, oid zodb.OID, bound zodb.TID) zodb.TID {
	revisions, err := s.History(ctx, oid, historySize)
	if err != nil {
		return 0
	}
	for _, r := range revisions {
		if r.TID < bound && r.Size == 0 {
			return r.TID
		}
		if r.TID < bound {
			return 0
		}
	}
	return 0
}

// NewOIDs implements zodb.Storage.
func (s *Storage) NewOIDs(ctx context.Context, n int) (oids []zodb.OID, err error) {
	err = s.retry(ctx, func(x *session) error {
		if x.readOnly {
			return zodb.ErrReadOnly
		}
		oids = nil
		return x.main.call(ctx, "new_oids", func(m *wire.Message) (err error) {
			if oids, err = m.ResultOIDs(); err == nil && len(oids) == 0 {
				err = errors.New("no oids")
			}
			return err
		}, int64(max(n, 1)))
	})
	return oids, err
}
