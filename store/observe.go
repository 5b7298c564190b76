package store

import (
	"context"
	"slices"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// observers are told of every publication. The mutex is held during one.
type observers struct {
	sync.Mutex
	list []*observer
}

type observer struct{ fn func(zodb.Change) }

// Observe implements zodb.Watcher.
func (s *Store) Observe(fn func(zodb.Change)) (after zodb.TID, stop func()) {
	o := &observer{fn}
	s.observers.Lock()
	defer s.observers.Unlock()
	s.observers.list = append(slices.Clone(s.observers.list), o)
	return s.LastTID(), func() {
		s.observers.Lock()
		defer s.observers.Unlock()
		s.observers.list = slices.DeleteFunc(slices.Clone(s.observers.list), func(x *observer) bool { return x == o })
	}
}

// ChangesSince implements zodb.Watcher by reading the transactions again.
func (s *Store) ChangesSince(ctx context.Context, after zodb.TID) ([]zodb.OID, zodb.TID, error) {
	last := s.LastTID()
	if after == last {
		return nil, last, nil
	}
	if after > last {
		return nil, 0, zodb.ErrUnknownPosition
	}
	if s.follower != nil {
		return s.follower.changesSince(ctx, after, last)
	}
	if s.forgets() {
		return s.recentChanges(ctx, after, last)
	}
	seen := make(map[zodb.OID]bool)
	var oids []zodb.OID
	member := after == 0
	for t, err := range s.scan(ctx, after, Forward) {
		if err != nil {
			return nil, 0, err
		}
		if t.TID == after {
			member = true
			continue
		}
		if !member {
			return nil, 0, zodb.ErrUnknownPosition
		}
		if t.TID > last {
			break
		}
		for i := range t.Records {
			if oid := t.Records[i].OID; !seen[oid] {
				seen[oid] = true
				oids = append(oids, oid)
			}
		}
	}
	return oids, last, nil
}

// outcomes remembers what became of the most recent transactions.
type outcomes struct {
	mu    sync.Mutex
	tids  map[zodb.Token]zodb.TID
	order []zodb.Token // a ring
	next  int
}

// rememberedOutcomes is how many outcomes are kept.
const rememberedOutcomes = 1 << 15

func (o *outcomes) put(token zodb.Token, tid zodb.TID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tids == nil {
		o.tids = make(map[zodb.Token]zodb.TID)
	}
	if len(o.order) < rememberedOutcomes {
		o.order = append(o.order, token)
	} else {
		delete(o.tids, o.order[o.next])
		o.order[o.next] = token
		o.next = (o.next + 1) % rememberedOutcomes
	}
	o.tids[token] = tid
}

// reopen forgets that a transaction was not committed: it is tried once more under
// the same name, and may be from now on.
func (o *outcomes) reopen(token zodb.Token) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if tid, ok := o.tids[token]; ok && tid == 0 {
		delete(o.tids, token)
	}
}

// Outcome implements zodb.Outcomer for the transactions of this process that
// ended most recently.
func (s *Store) Outcome(_ context.Context, token zodb.Token) (zodb.TID, error) {
	s.outcomes.mu.Lock()
	defer s.outcomes.mu.Unlock()
	tid, ok := s.outcomes.tids[token]
	if !ok {
		return 0, zodb.ErrCommitUnknown
	}
	return tid, nil
}
