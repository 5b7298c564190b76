package store

import (
	"context"
	"errors"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// oids hands out object ids. They are reserved durably in blocks before the
// first of a block is handed out, so that none is handed out twice even after a
// crash. Where the medium has an OIDAllocator they come from there.
type oids struct {
	store  *Store
	medium *mediumOIDs // nil: they are reserved in Meta

	reserving sync.Mutex // held while a block is made durable; guards Store.meta

	mu       sync.Mutex // never held while anything is waited for
	next     zodb.OID
	reserved zodb.OID // oids below it are reserved durably
}

// lastOID is the largest of an object: the next one is the lock of the whole storage.
const lastOID = wholeStorage - 1

var errNoOIDs = errors.New("there are no oids left above the largest one in use, which a client chose itself")

// NewOIDs implements zodb.Storage. It returns no more than a block at a time.
func (s *Store) NewOIDs(ctx context.Context, n int) ([]zodb.OID, error) {
	n = min(max(n, 1), oidBlock)
	for {
		if err := s.writable(); err != nil {
			return nil, err
		}
		if s.oids.medium != nil {
			return s.oids.medium.take(ctx, n)
		}
		list, limit, err := s.oids.take(n)
		if list != nil || err != nil {
			return list, err
		}
		if err := s.oids.reserve(ctx, limit); err != nil {
			return nil, err
		}
	}
}

// take hands out n oids if so many are reserved, and otherwise says up to where
// to reserve.
func (o *oids) take(n int) (list []zodb.OID, limit zodb.OID, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next > lastOID-oidBlock-zodb.OID(n) {
		return nil, 0, errNoOIDs
	}
	if end := o.next + zodb.OID(n); end > o.reserved {
		return nil, end + oidBlock, nil
	}
	list = make([]zodb.OID, n)
	for i := range list {
		list[i] = o.next
		o.next++
	}
	return list, 0, nil
}

// raise makes sure that oids that clients chose themselves are not handed out.
func (o *oids) raise(ctx context.Context, used []zodb.OID) error {
	if o.medium != nil {
		return o.medium.raise(ctx, used)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, oid := range used {
		o.next = max(o.next, min(oid, lastOID)+1)
	}
	return nil
}

// reserve makes it durable that oids below limit may be in use.
func (o *oids) reserve(ctx context.Context, limit zodb.OID) error {
	o.reserving.Lock()
	defer o.reserving.Unlock()
	meta := o.store.meta
	if meta.NextOID >= limit {
		return nil // somebody else has done it meanwhile
	}
	meta.NextOID = limit
	c := &commit{meta: &meta, done: make(chan error, 1)}
	if err := o.store.committer.add(c); err != nil {
		return err
	}
	select {
	case err := <-c.done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err() // the block may be reserved for nothing
	}
	o.store.meta = meta
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reserved = limit
	return nil
}

// giveBack returns the rest of the block at a clean end, when the committer has
// ended. If it fails a block is lost, no more.
func (o *oids) giveBack() {
	if o.medium != nil {
		return
	}
	o.reserving.Lock()
	defer o.reserving.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reserved > o.next {
		o.store.meta.NextOID = o.next
		o.store.engine.Append(context.Background(), nil, &o.store.meta)
	}
}
