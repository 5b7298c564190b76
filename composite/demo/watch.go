package demo

import (
	"context"
	"errors"

	"github.com/zaridb/zari/zodb"
)

// Observe implements zodb.Watcher. Only the changes change.
func (s *Storage) Observe(fn func(zodb.Change)) (after zodb.TID, stop func()) {
	w, ok := zodb.As[zodb.Watcher](s.changes)
	if !ok {
		return s.LastTID(), func() {}
	}
	after, stop = w.Observe(fn)
	return max(after, s.base.cut), stop
}

// ChangesSince implements zodb.Watcher.
func (s *Storage) ChangesSince(ctx context.Context, after zodb.TID) ([]zodb.OID, zodb.TID, error) {
	if s.closed.Load() {
		return nil, 0, zodb.ErrClosed
	}
	w, ok := zodb.As[zodb.Watcher](s.changes)
	if !ok {
		return nil, 0, errors.ErrUnsupported
	}
	if after > s.base.cut {
		return w.ChangesSince(ctx, after)
	}
	oids, err := s.changedBelow(ctx, after)
	if err != nil {
		return nil, 0, err
	}
	more, upTo, err := w.ChangesSince(ctx, 0)
	if err != nil {
		return nil, 0, err
	}
	seen := make(map[zodb.OID]bool, len(oids))
	for _, oid := range oids {
		seen[oid] = true
	}
	for _, oid := range more {
		if !seen[oid] {
			oids = append(oids, oid)
		}
	}
	return oids, max(upTo, s.base.cut), nil
}

// changedBelow returns what changed in the base after a transaction up to the cut.
// A base that is alive may name objects that changed later: to forget them costs a
// load, no more.
func (s *Storage) changedBelow(ctx context.Context, after zodb.TID) ([]zodb.OID, error) {
	if after == s.base.cut && (after == 0 || after == s.base.LastTID()) {
		return nil, nil
	}
	w, ok := zodb.As[zodb.Watcher](s.base.Storage)
	if !ok {
		return nil, zodb.ErrUnknownPosition
	}
	oids, _, err := w.ChangesSince(ctx, after)
	return oids, err
}
