package store

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// mediumOIDs hands out the oids of an OIDAllocator.
type mediumOIDs struct {
	medium OIDAllocator

	mu      sync.Mutex // never held while the medium is asked
	rest    []zodb.OID // what the medium gave beyond what was asked for, ascending
	largest zodb.OID   // the medium has passed it, for all that is known here
}

func (m *mediumOIDs) take(ctx context.Context, n int) ([]zodb.OID, error) {
	if list := m.takeRest(n); len(list) > 0 {
		return list, nil
	}
	list, err := m.medium.NewOIDs(ctx, n)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errNoOIDs
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.largest = max(m.largest, list[len(list)-1])
	n = min(n, len(list))
	if len(list) > n {
		m.rest = append(m.rest, list[n:]...)
		slices.Sort(m.rest)
	}
	return list[:n:n], nil
}

func (m *mediumOIDs) takeRest(n int) []zodb.OID {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, len(m.rest))
	list := slices.Clone(m.rest[:n])
	m.rest = slices.Delete(m.rest, 0, n)
	return list
}

// raise sees to it that none of the oids is handed out, here or elsewhere.
func (m *mediumOIDs) raise(ctx context.Context, used []zodb.OID) error {
	if len(used) == 0 {
		return nil
	}
	m.mu.Lock()
	for _, oid := range used {
		if i, found := slices.BinarySearch(m.rest, oid); found {
			m.rest = slices.Delete(m.rest, i, i+1)
		}
	}
	largest := m.largest
	m.mu.Unlock()
	most := slices.Max(used)
	if most <= largest {
		return nil
	}
	if err := m.medium.RaiseOIDs(ctx, most); err != nil {
		return fmt.Errorf("taking oid %v, which a client chose itself, from those to be handed out: %w", most, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.largest = max(m.largest, most)
	return nil
}
