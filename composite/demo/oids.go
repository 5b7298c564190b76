package demo

import (
	"context"
	"math/rand/v2"

	"github.com/zaridb/zari/zodb"
)

// maxFirstOID bounds where new oids begin, as in ZODB's DemoStorage.
const maxFirstOID = 1 << 62

// NewOIDs implements zodb.Storage.
//
// Oids are handed out one by one from a place chosen at random among 2^62, each
// time the storage is opened, and those that base or changes know are left out.
// So they are far from what the base's own server hands out, and from those that
// were handed out before the storage was closed and may still be stored.
func (s *Storage) NewOIDs(ctx context.Context, n int) ([]zodb.OID, error) {
	if s.changes.Info().ReadOnly {
		return nil, zodb.ErrReadOnly
	}
	for {
		first, n := s.takeOIDs(n)
		free, err := zodb.UnusedOIDs(ctx, s, first, n)
		if err != nil || len(free) > 0 {
			return free, err
		}
		s.oidMu.Lock()
		s.nextOID = 0
		s.oidMu.Unlock()
	}
}

// takeOIDs takes the next n oids that nobody has got yet, whether they are used
// or not.
func (s *Storage) takeOIDs(n int) (first zodb.OID, taken int) {
	n = min(max(n, 1), 1000)
	s.oidMu.Lock()
	defer s.oidMu.Unlock()
	if s.nextOID == 0 {
		s.nextOID = zodb.OID(rand.Uint64N(maxFirstOID) + 1)
	}
	first = s.nextOID
	s.nextOID += zodb.OID(n)
	return first, n
}
