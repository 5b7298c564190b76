package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

// Append implements zodb.Appender. It commits in pieces of at most BatchBytes,
// each of which is one Engine.Append and excludes all other votes.
func (s *Store) Append(ctx context.Context, txns []zodb.Txn) (n int, err error) {
	list := make([]*txn, 0, len(txns))
	defer func() {
		for _, t := range txns {
			t.Abort() // does nothing to what is committed
		}
	}()
	for _, x := range txns {
		t, err := s.restored(x)
		if err != nil {
			return 0, err
		}
		list = append(list, t)
	}
	for n < len(list) && err == nil {
		k := batchLen(s.opts.BatchBytes, list[n:], (*txn).bytes)
		k, err = s.appendPiece(ctx, list[n:n+k])
		n += k
	}
	return n, err
}

// batchLen returns how many of the list, from the first, make a good append.
func batchLen[E any](limit int64, list []E, bytes func(E) int64) int {
	n, size := 0, int64(0)
	for n < len(list) {
		size += bytes(list[n])
		if n > 0 && size > limit {
			break
		}
		n++
	}
	return n
}

// restored returns the transaction if Append can take it.
func (s *Store) restored(x zodb.Txn) (*txn, error) {
	t, ok := x.(*txn)
	switch {
	case !ok || t.store != s:
		return nil, errors.New("append: a transaction of another storage")
	case t.phase != open:
		return nil, &zodb.TxnError{Op: "append", State: t.phase.String()}
	case t.meta.TID == 0:
		return nil, &zodb.TxnError{Op: "append", State: "begun without a tid"}
	case len(t.checks) > 0 || len(t.undos) > 0:
		return nil, &zodb.TxnError{Op: "append", State: "not one of restored records only"}
	}
	for _, w := range t.writes {
		if !w.restored {
			return nil, &zodb.TxnError{Op: "append", State: "not one of restored records only"}
		}
	}
	return t, nil
}

// appendPiece votes and finishes the transactions together. With an error it has
// committed those before the one that failed.
func (s *Store) appendPiece(ctx context.Context, list []*txn) (int, error) {
	if err := s.committer.ready(); err != nil {
		return 0, err
	}
	lock, waited, err := s.locks.lock(ctx, map[zodb.OID]lockMode{wholeStorage: exclusive}, s.opts.LockWait)
	if waited {
		s.stats.waits.Add(1)
	}
	if err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	n, unfit := s.voteTogether(ctx, list)
	if n == 0 {
		s.locks.release(lock)
		return 0, unfit
	}
	s.share(lock, list[:n])
	done, err := s.finishTogether(list[:n])
	if err != nil {
		return done, err
	}
	return n, unfit
}

// share makes the last of the transactions that is over release the lock. (One
// that failed may be over before one that is still to be published.)
func (s *Store) share(lock *lockRequest, list []*txn) {
	left := new(atomic.Int64)
	left.Store(int64(len(list)))
	for _, t := range list {
		space := t.release
		t.release = func() {
			if space != nil {
				space()
			}
			if left.Add(-1) == 0 {
				s.locks.release(lock)
			}
		}
	}
}

// voteTogether is the vote of restored transactions: under the lock of the whole
// storage there is nothing to check but that the medium can hold them. It returns
// how many, from the first, may be finished, and why not all.
func (s *Store) voteTogether(ctx context.Context, list []*txn) (int, error) {
	serials, err := s.serialsBefore(ctx, list)
	if err != nil {
		return 0, err
	}
	last := s.lastKept()
	earlier := make(map[zodb.OID]*write)
	for i, t := range list {
		if t.meta.TID <= last {
			return i, errNotAfter(t.meta.TID, last)
		}
		last = t.meta.TID
		for _, oid := range t.order {
			t.writes[oid].Prev = serials[oid]
			serials[oid] = last
		}
		if err := t.keepReplaced(ctx, earlier); err != nil {
			return i, err
		}
		if s.forgets() {
			maps.Copy(earlier, t.writes)
		}
		if err := s.oids.raise(ctx, t.order); err != nil {
			return i, err
		}
		if err := t.reserve(); err != nil {
			return i, fmt.Errorf("transaction %v: %w", t.meta.TID, err)
		}
	}
	return len(list), nil
}

// serialsBefore returns the newest serial of every object that the transactions
// write.
func (s *Store) serialsBefore(ctx context.Context, list []*txn) (map[zodb.OID]zodb.TID, error) {
	n := 0
	for _, t := range list {
		n += len(t.order)
	}
	serials := make(map[zodb.OID]zodb.TID, n)
	oids := make([]zodb.OID, 0, n)
	for _, t := range list {
		for _, oid := range t.order {
			if _, ok := serials[oid]; !ok {
				serials[oid] = 0
				oids = append(oids, oid)
			}
		}
	}
	if s.locker != nil {
		modes := make(map[zodb.OID]lockMode, len(oids))
		for _, oid := range oids {
			modes[oid] = exclusive
		}
		return list[0].lockMedium(ctx, modes)
	}
	tids, err := s.engine.Serials(ctx, oids)
	if err != nil {
		return nil, err
	}
	for i, oid := range oids {
		serials[oid] = tids[i]
	}
	return serials, nil
}

// finishTogether commits voted transactions in one append, and returns how many
// are published.
func (s *Store) finishTogether(list []*txn) (int, error) {
	commits := make([]*commit, len(list))
	for i, t := range list {
		commits[i] = &commit{txn: t, rec: t.rec, done: make(chan error, 1)}
		t.phase = ended // from here on only the committer may touch it
	}
	if err := s.committer.addTogether(commits); err != nil {
		for _, t := range list {
			t.giveUp()
		}
		return 0, err
	}
	for i, c := range commits {
		if err := <-c.done; err != nil {
			return i, fmt.Errorf("commit: %w", err)
		}
	}
	return len(list), nil
}
