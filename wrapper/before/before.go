package before

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

// ErrPacked says that a database as it was is no longer there.
var ErrPacked = errors.New("the storage was packed to a later time: as it was then it is no longer there")

// Options are the settings of a view.
type Options struct {
	Before   zodb.TID // what this and later transactions did is not seen
	Borrowed bool     // Close leaves the wrapped storage open
}

// Storage is a storage as it was before a transaction.
type Storage struct {
	base   zodb.Storage
	iter   zodb.Iterator
	watch  zodb.Watcher
	before zodb.TID
	name   string

	last  atomic.Uint64 // the newest tid < before, once base has come so far
	close func() error
}

var (
	_ zodb.Storage  = (*Storage)(nil)
	_ zodb.Asser    = (*Storage)(nil)
	_ zodb.Watcher  = (*Storage)(nil)
	_ zodb.Iterator = (*Storage)(nil)
)

// New makes a view of a storage, which can iterate and tells of its commits.
func New(ctx context.Context, base zodb.Storage, o Options) (*Storage, error) {
	s := &Storage{base: base, before: max(o.Before, 1)} // there is no transaction 0
	s.name = fmt.Sprintf("%s before %s", base.Info().Name, o.Before.Time().Format("2006-01-02T15:04:05.999999Z"))
	var iterates, tells bool
	s.iter, iterates = zodb.As[zodb.Iterator](base)
	s.watch, tells = zodb.As[zodb.Watcher](base)
	if !iterates || !tells {
		return nil, fmt.Errorf("a view of a storage that keeps no history: %w", errors.ErrUnsupported)
	}
	if err := s.refusePacked(ctx); err != nil {
		return nil, err
	}
	stop, err := s.findLast(ctx)
	if err != nil {
		return nil, err
	}
	s.close = sync.OnceValue(func() error {
		stop()
		if o.Borrowed {
			return nil
		}
		return base.Close()
	})
	return s, nil
}

// refusePacked looks at the first transaction that is not seen: if a pack has
// been there, it has been to all that came before.
func (s *Storage) refusePacked(ctx context.Context) error {
	for t, err := range s.iter.Transactions(ctx, s.before, 0) {
		switch {
		case err != nil:
			return err
		case t.Status == 'p':
			return fmt.Errorf("%s: %w", s.name, ErrPacked)
		}
		break
	}
	return nil
}

// findLast finds the newest transaction that is seen. While the wrapped storage
// has not come to the view's end, it is told of more.
func (s *Storage) findLast(ctx context.Context) (stop func(), err error) {
	after, stop := s.watch.Observe(func(c zodb.Change) {
		if c.TID < s.before {
			s.raise(c.TID)
		}
	})
	if after < s.before {
		s.raise(after)
		return stop, nil
	}
	stop()
	for t, err := range s.Backward(ctx, s.before-1) {
		if err != nil {
			return nil, err
		}
		s.raise(t.TID)
		break
	}
	return func() {}, nil
}

func (s *Storage) raise(tid zodb.TID) {
	for old := s.last.Load(); old < uint64(tid); old = s.last.Load() {
		s.last.CompareAndSwap(old, uint64(tid))
	}
}

// LastTID returns the newest tid that is seen. The wrapped storage's moves after
// its observers have been told, and so does this one.
func (s *Storage) LastTID() zodb.TID {
	if tid := s.base.LastTID(); tid < s.before {
		return tid
	}
	return zodb.TID(s.last.Load())
}

// Info is that of the wrapped storage, with a name that tells the time. Objects and
// Size are those of now.
func (s *Storage) Info() zodb.Info {
	info := s.base.Info()
	info.Name, info.ReadOnly = s.name, true
	return info
}

// LoadBefore implements zodb.Storage.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	rec, err := s.base.LoadBefore(ctx, oid, min(tid, s.before))
	if err != nil {
		return zodb.Record{}, s.missing(ctx, err, tid)
	}
	switch {
	case rec.Next == 0:
		rec.AsOf = min(rec.AsOf, s.before-1)
	case rec.Next >= s.before:
		rec.Next, rec.AsOf = 0, s.before-1
	}
	return rec, nil
}

// missing makes of an error of the wrapped storage, of which a revision before tid
// was asked for, one of the view: an object that was made later is not known.
func (s *Storage) missing(ctx context.Context, err error, tid zodb.TID) error {
	theirs, ok := errors.AsType[*zodb.NoObjectError](err)
	if !ok {
		return err
	}
	e := *theirs
	e.Before = tid
	if !e.Known || e.DeletedAt != 0 {
		return &e
	}
	_, err = s.base.LoadBefore(ctx, e.OID, s.before)
	theirs, absent := errors.AsType[*zodb.NoObjectError](err)
	if err != nil && !absent {
		return err
	}
	e.Known = !absent || theirs.DeletedAt != 0
	return &e
}

// NewOIDs returns ErrReadOnly.
func (s *Storage) NewOIDs(context.Context, int) ([]zodb.OID, error) { return nil, zodb.ErrReadOnly }

// Begin returns ErrReadOnly.
func (s *Storage) Begin(context.Context, zodb.TxnMeta) (zodb.Txn, error) {
	return nil, zodb.ErrReadOnly
}

// Close ends the view, and closes the wrapped storage unless that is borrowed.
func (s *Storage) Close() error { return s.close() }

// Observe implements zodb.Watcher. It is silent from the view's end on.
func (s *Storage) Observe(fn func(zodb.Change)) (after zodb.TID, stop func()) {
	after, stop = s.watch.Observe(func(c zodb.Change) {
		if c.TID < s.before {
			fn(c)
		}
	})
	if after >= s.before {
		stop()
		return s.LastTID(), func() {}
	}
	return after, stop
}

// ChangesSince implements zodb.Watcher.
func (s *Storage) ChangesSince(ctx context.Context, after zodb.TID) ([]zodb.OID, zodb.TID, error) {
	last := s.LastTID()
	if after > last {
		return nil, 0, zodb.ErrUnknownPosition
	}
	var oids []zodb.OID
	member := after == 0 || after == last
	for t, err := range s.Transactions(ctx, after, last) {
		if err != nil {
			return nil, 0, err
		}
		if member = member || t.TID == after; !member {
			break
		}
		for i := range t.Records {
			if t.TID != after {
				oids = append(oids, t.Records[i].OID)
			}
		}
	}
	if !member {
		return nil, 0, zodb.ErrUnknownPosition
	}
	slices.Sort(oids)
	return slices.Compact(oids), last, nil
}

// bound returns the tid up to which there is something to be seen. 0 means what
// the contract means by it: all there is.
func (s *Storage) bound(tid zodb.TID) zodb.TID {
	return min(cmp.Or(tid, s.LastTID()), s.before-1)
}
