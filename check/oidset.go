package check

import (
	"iter"
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
	return true
}

func (s *oidSet) has(oid zodb.OID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.pages[uint64(oid)/setPage]
	return p != nil && p[oid%setPage/64]&(1<<(oid%64)) != 0
}

// all yields the oids in order, those that there are when it comes to their page.
func (s *oidSet) all() iter.Seq[zodb.OID] {
	return func(yield func(zodb.OID) bool) {
		s.mu.RLock()
		keys := slices.Sorted(maps.Keys(s.pages))
		s.mu.RUnlock()
		for _, k := range keys {
			s.mu.RLock()
			page := *s.pages[k]
			s.mu.RUnlock()
			for i := range uint64(setPage) {
				if page[i/64]&(1<<(i%64)) != 0 && !yield(zodb.OID(k*setPage+i)) {
					return
				}
			}
		}
	}
}
