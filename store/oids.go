package store

import (
	"context"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// oids hands out object ids. They are reserved durably in blocks before the
// first of a block is handed out, so that none is handed out twice even after a
// crash.
type oids struct {
	store *Store

	mu       sync.Mutex
	next     zodb.OID
	reserved zodb.OID // oids below it are reserved durably
}

// NewOIDs implements zodb.Storage.
func (s *Store) NewOIDs(ctx context.Context, n int) ([]zodb.OID, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	return s.oids.take(max(n, 1))
}

func (o *oids) take(n int) ([]zodb.OID, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next+zodb.OID(n) > o.reserved {
		if err := o.reserve(o.next + zodb.OID(n) + oidBlock); err != nil {
			return nil, err
		}
	}
	list := make([]zodb.OID, n)
	for i := range list {
		list[i] = o.next
		o.next++
	}
	return list, nil
}

// raise makes sure that oids that clients chose themselves are not handed out.
func (o *oids) raise(used []zodb.OID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, oid := range used {
		o.next = max(o.next, oid+1)
	}
}

// reserve makes it durable that oids below limit may be in use. o.mu is held.
func (o *oids) reserve(limit zodb.OID) error {
	meta := o.store.meta
	meta.NextOID = limit
	c := &commit{meta: &meta, done: make(chan error, 1)}
	if err := o.store.committer.add(c); err != nil {
		return err
	}
	if err := <-c.done; err != nil {
		return err
	}
	o.store.meta = meta
	o.reserved = limit
	return nil
}

// giveBack returns the rest of the block at a clean end.
func (o *oids) giveBack() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reserved > o.next {
		o.reserve(o.next) // if it fails a block is lost, no more
	}
}
