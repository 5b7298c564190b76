package check

import (
	"maps"
	"slices"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// setPage is how many neighbouring oids share a page of a set.
const setPage = 1024

// oidSet is a set of oids, a bit for each where they are dense. It may be used by
// several goroutines.
type oidSet struct {
	mu    sync.RWMutex
	pages map[uint64]*[setPage / 64]uint64
	n     int
}

func newOIDSet() *oidSet { return &oidSet{pages: make(map[uint64]*[setPage / 64]uint64)} }

// add reports whether oid was not there.
func (s *oidSet) add(oid zodb.OID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := uint64(oid) / setPage
	p := s.pages[key]
	if p == nil {
		p = new([setPage / 64]uint64)
		s.pages[key] = p
	}
	bit := uint64(1) << (oid % 64)
	word := &p[oid%setPage/64]
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	s.n++
	return true
}

func (s *oidSet) has(oid zodb.OID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.pages[uint64(oid)/setPage]
	return p != nil && p[oid%setPage/64]&(1<<(oid%64)) != 0
}

func sortedKeys[V any](m map[zodb.OID]V) []zodb.OID { return slices.Sorted(maps.Keys(m)) }
