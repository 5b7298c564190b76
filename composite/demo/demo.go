package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Options are the settings of a Storage. The zero value is good.
type Options struct {
	Name        string // for people; default: made of the names of changes and base
	KeepBase    bool   // Close leaves the base open
	KeepChanges bool   // Close leaves the changes open
}

// Storage shows changes laid over a base.
type Storage struct {
	base    *below
	changes zodb.Storage
	opts    Options
	name    string

	closed   atomic.Bool
	closing  sync.Once
	closeErr error

	packed atomic.Bool // revisions may have been dropped from the changes

	oidMu   sync.Mutex
	nextOID zodb.OID // 0: none chosen yet
}

var (
	_ zodb.Storage        = (*Storage)(nil)
	_ zodb.Asser          = (*Storage)(nil)
	_ zodb.Watcher        = (*Storage)(nil)
	_ zodb.Iterator       = (*Storage)(nil)
	_ zodb.RecordIterator = (*Storage)(nil)
	_ zodb.Historian      = (*Storage)(nil)
	_ zodb.Packer         = (*Storage)(nil)
	_ zodb.BlobStore      = (*Storage)(nil)
	_ zodb.Prefetcher     = (*Storage)(nil)
)

// New lays changes over a base. It owns both from now on, but for what the options
// keep; not if it fails.
func New(ctx context.Context, base, changes zodb.Storage, o Options) (*Storage, error) {
	s := &Storage{changes: changes, opts: o, name: o.Name}
	if s.name == "" {
		s.name = fmt.Sprintf("%s over %s", changes.Info().Name, base.Info().Name)
	}
	first, err := firstTransaction(ctx, changes)
	if err != nil {
		return nil, fmt.Errorf("demo storage: first of the changes: %w", err)
	}
	cut := base.LastTID()
	if first != nil {
		cut = min(cut, first.TID-1)
		s.packed.Store(first.Status == 'p')
	}
	s.base = &below{Storage: base, cut: cut}
	if changes.Info().ReadOnly {
		return s, nil
	}
	if err := s.checkChanges(ctx); err != nil {
		return nil, err
	}
	return s, s.passCut(ctx)
}

func firstTransaction(ctx context.Context, s zodb.Storage) (*zodb.Transaction, error) {
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		return nil, nil
	}
	for t, err := range it.Transactions(ctx, 0, 0) {
		return t, err
	}
	return nil, nil
}

func (s *Storage) checkChanges(ctx context.Context) error {
	txn, err := s.changes.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		return err
	}
	defer txn.Abort()
	if _, ok := zodb.As[zodb.OverTxn](txn); !ok {
		return fmt.Errorf("demo storage: changes cannot be kept in %s, a %T: only storages of this process can be laid over another one: %w",
			s.changes.Info().Name, s.changes, errors.ErrUnsupported)
	}
	return nil
}

// passCut sees to it that the tids of the changes come after the cut. They do by
// themselves if the cut lies in the past; otherwise it is waited for, or the
// changes begin with an empty transaction that lies in the future too.
func (s *Storage) passCut(ctx context.Context) error {
	ahead := time.Until(s.base.cut.Time())
	switch {
	case s.changes.LastTID() >= s.base.cut || ahead < 0:
		return nil
	case ahead < time.Second:
		time.Sleep(ahead + time.Millisecond)
		return nil
	}
	if _, ok := zodb.As[zodb.Restorer](s.changes); !ok {
		return fmt.Errorf("demo storage: the last transaction of the base lies in the future (%s), and changes cannot be given a time after that",
			s.base.cut.Time().Format(time.RFC3339))
	}
	txn, err := s.changes.Begin(ctx, zodb.TxnMeta{TID: s.base.cut + 1, Description: []byte("changes begin after a base whose clock was ahead")})
	if err != nil {
		return err
	}
	defer txn.Abort()
	if _, err := txn.Vote(ctx); err != nil {
		return err
	}
	_, err = txn.Finish(ctx, nil)
	return err
}

// Push lays more changes over this storage, which must not be written meanwhile.
// Closing the new one leaves this one open.
func (s *Storage) Push(ctx context.Context, changes zodb.Storage, o Options) (*Storage, error) {
	o.KeepBase = true
	return New(ctx, s, changes, o)
}

// Pop closes the changes and returns the base.
func (s *Storage) Pop() (base zodb.Storage, err error) {
	s.closed.Store(true)
	return s.base.Storage, s.changes.Close()
}

// As finds the abilities that base and changes leave.
func (s *Storage) As(target any) bool {
	base, changes := s.base.Storage, s.changes
	switch p := target.(type) {
	case *zodb.Watcher:
		return has[zodb.Watcher](changes) && zodb.SetAs[zodb.Watcher](p, s)
	case *zodb.Iterator:
		return has[zodb.Iterator](changes) && has[zodb.Iterator](base) && zodb.SetAs[zodb.Iterator](p, s)
	case *zodb.RecordIterator:
		return has[zodb.RecordIterator](changes) && has[zodb.RecordIterator](base) && zodb.SetAs[zodb.RecordIterator](p, s)
	case *zodb.Historian:
		return has[zodb.Historian](changes) && has[zodb.Historian](base) && zodb.SetAs[zodb.Historian](p, s)
	case *zodb.Packer:
		return has[zodb.Packer](changes) && zodb.SetAs[zodb.Packer](p, s)
	case *zodb.BlobStore:
		return has[zodb.BlobStore](changes) && zodb.SetAs[zodb.BlobStore](p, s)
	case *zodb.Prefetcher:
		return (has[zodb.Prefetcher](changes) || has[zodb.Prefetcher](base)) && zodb.SetAs[zodb.Prefetcher](p, s)
	case *zodb.Undoer, *zodb.Restorer, *zodb.Deleter, *zodb.Appender, *zodb.Outcomer, *zodb.Syncer:
		return zodb.PassOn(changes, target)
	}
	return false
}

func has[A any](v any) bool {
	_, ok := zodb.As[A](v)
	return ok
}

// Info implements zodb.Storage. The size is that of the changes.
func (s *Storage) Info() zodb.Info {
	i, base := s.changes.Info(), s.base.Info()
	return zodb.Info{Name: s.name, Objects: base.Objects + i.Objects, Size: i.Size, ReadOnly: i.ReadOnly, UUID: i.UUID}
}

// LastTID implements zodb.Storage.
func (s *Storage) LastTID() zodb.TID { return max(s.base.cut, s.changes.LastTID()) }

// Begin implements zodb.Storage: it begins a transaction of the changes.
func (s *Storage) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	if s.closed.Load() {
		return nil, zodb.ErrClosed
	}
	if meta.TID != 0 && meta.TID <= s.base.cut {
		return nil, fmt.Errorf("transaction %v cannot be added after transaction %v of the base", meta.TID, s.base.cut)
	}
	txn, err := s.changes.Begin(ctx, meta)
	if err != nil {
		return nil, err
	}
	over, ok := zodb.As[zodb.OverTxn](txn)
	if !ok {
		txn.Abort()
		return nil, fmt.Errorf("demo storage: a transaction of the changes cannot be laid over the base: %w", errors.ErrUnsupported)
	}
	over.Over(s.base)
	return txn, nil
}

// Pack implements zodb.Packer. Only the changes are packed, and without collecting
// garbage: what cannot be reached from the changes alone may be reached from the
// base, and the other way round. Over an empty base they are all there is, and are
// packed like any other storage.
func (s *Storage) Pack(ctx context.Context, at time.Time, opts zodb.PackOptions) error {
	opts.Overlay = s.base.cut > 0
	if opts.GC && opts.Overlay {
		return fmt.Errorf("changes to a base are packed without garbage collection: %w", errors.ErrUnsupported)
	}
	p, ok := zodb.As[zodb.Packer](s.changes)
	if !ok {
		return errors.ErrUnsupported
	}
	s.packed.Store(true)
	return p.Pack(ctx, at, opts)
}

// Prefetch implements zodb.Prefetcher.
func (s *Storage) Prefetch(ctx context.Context, oids []zodb.OID, tid zodb.TID) {
	if p, ok := zodb.As[zodb.Prefetcher](s.changes); ok {
		p.Prefetch(ctx, oids, tid)
	}
	if p, ok := zodb.As[zodb.Prefetcher](s.base.Storage); ok {
		p.Prefetch(ctx, oids, min(tid, s.base.cut+1))
	}
}

// Close closes what the options do not keep.
func (s *Storage) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		if !s.opts.KeepChanges {
			s.closeErr = s.changes.Close()
		}
		if !s.opts.KeepBase {
			s.closeErr = errors.Join(s.closeErr, s.base.Close())
		}
	})
	return s.closeErr
}
