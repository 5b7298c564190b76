package storagetest

import (
	"context"

	"github.com/zaridb/zari/zodb"
)

// hooked is a storage with some methods replaced, and all abilities passed on but
// those that ability answers for.
type hooked struct {
	zodb.Storage
	load    func(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error)
	newOIDs func(ctx context.Context, n int) ([]zodb.OID, error)
	begin   func(txn zodb.Txn) zodb.Txn
	closing func() error
	lastTID func() zodb.TID
	ability func(target any) (found, answered bool)
}

func (s *hooked) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if s.load == nil {
		return s.Storage.LoadBefore(ctx, oid, tid)
	}
	return s.load(ctx, oid, tid)
}

func (s *hooked) NewOIDs(ctx context.Context, n int) ([]zodb.OID, error) {
	if s.newOIDs == nil {
		return s.Storage.NewOIDs(ctx, n)
	}
	return s.newOIDs(ctx, n)
}

func (s *hooked) LastTID() zodb.TID {
	if s.lastTID == nil {
		return s.Storage.LastTID()
	}
	return s.lastTID()
}

func (s *hooked) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	txn, err := s.Storage.Begin(ctx, meta)
	if err != nil || s.begin == nil {
		return txn, err
	}
	return s.begin(txn), nil
}

func (s *hooked) Close() error {
	if s.closing == nil {
		return s.Storage.Close()
	}
	return s.closing()
}

func (s *hooked) As(target any) bool {
	if s.ability != nil {
		if found, answered := s.ability(target); answered {
			return found
		}
	}
	return s.Storage.(zodb.Asser).As(target)
}

// hookedTxn is a transaction with some methods replaced.
type hookedTxn struct {
	zodb.Txn
	store  func(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte) error
	check  func(ctx context.Context, oid zodb.OID, serial zodb.TID) error
	vote   func(ctx context.Context) (zodb.Votes, error)
	finish func(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error)
	abort  func()
}

func (t *hookedTxn) Store(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte) error {
	if t.store == nil {
		return t.Txn.Store(ctx, oid, serial, data)
	}
	return t.store(ctx, oid, serial, data)
}

func (t *hookedTxn) CheckCurrent(ctx context.Context, oid zodb.OID, serial zodb.TID) error {
	if t.check == nil {
		return t.Txn.CheckCurrent(ctx, oid, serial)
	}
	return t.check(ctx, oid, serial)
}

func (t *hookedTxn) Vote(ctx context.Context) (zodb.Votes, error) {
	if t.vote == nil {
		return t.Txn.Vote(ctx)
	}
	return t.vote(ctx)
}

func (t *hookedTxn) Finish(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
	if t.finish == nil {
		return t.Txn.Finish(ctx, committed)
	}
	return t.finish(ctx, committed)
}

func (t *hookedTxn) Abort() {
	if t.abort == nil {
		t.Txn.Abort()
		return
	}
	t.abort()
}

func (t *hookedTxn) As(target any) bool { return t.Txn.(zodb.Asser).As(target) }

// txns breaks every transaction of a storage.
func txns(breakTxn func(s zodb.Storage, txn *hookedTxn)) func(zodb.Storage) zodb.Storage {
	return func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, begin: func(txn zodb.Txn) zodb.Txn {
			h := &hookedTxn{Txn: txn}
			breakTxn(s, h)
			return h
		}}
	}
}

// loads breaks what loads return.
func loads(breakRecord func(s zodb.Storage, oid zodb.OID, tid zodb.TID, rec zodb.Record) zodb.Record) func(zodb.Storage) zodb.Storage {
	return func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, load: func(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
			rec, err := s.LoadBefore(ctx, oid, tid)
			if err == nil {
				rec = breakRecord(s, oid, tid, rec)
			}
			return rec, err
		}}
	}
}

// abilities breaks one ability of a storage.
func abilities[A any](breakAbility func(A) A) func(zodb.Storage) zodb.Storage {
	return func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, ability: func(target any) (found, answered bool) {
			p, ok := target.(*A)
			if !ok {
				return false, false
			}
			inner, found := zodb.As[A](s)
			if found {
				*p = breakAbility(inner)
			}
			return found, true
		}}
	}
}
