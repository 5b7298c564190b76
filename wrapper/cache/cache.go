package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/internal/revisions"
	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/zodb"
)

// DefaultBytes is the size of a cache that nobody has given one.
const DefaultBytes = 256 << 20

// Options are the settings of a cache.
type Options struct {
	Bytes int64        // of memory at most, everything included; 0: DefaultBytes
	Page  *roster.Page // where operators find it, and that it closes; nil: nowhere
}

// Storage is a storage whose records are kept in memory.
type Storage struct {
	zodb.Storage
	cache  *revisions.Cache
	closed atomic.Bool
	close  func() error
}

var (
	_ zodb.Storage  = (*Storage)(nil)
	_ zodb.Asser    = (*Storage)(nil)
	_ zodb.Recaller = (*Storage)(nil)
)

// New wraps a storage, which tells of its commits and which the wrapper owns from now on,
// also when it fails. Nobody else may have begun to observe it.
func New(base zodb.Storage, o Options) (*Storage, error) {
	w, ok := zodb.As[zodb.Watcher](base)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a cache of %s, which does not tell of commits: %w", base.Info().Name, errors.ErrUnsupported), base.Close())
	}
	if o.Bytes == 0 {
		o.Bytes = DefaultBytes
	}
	s := &Storage{Storage: base, cache: revisions.New(o.Bytes)}
	stop := s.observe(w)
	o.Page.Add(s)
	s.close = sync.OnceValue(func() error {
		s.closed.Store(true)
		o.Page.Close()
		stop()
		return base.Close()
	})
	return s, nil
}

// observe starts the cache at the storage's position, and takes all later changes into
// account.
func (s *Storage) observe(w zodb.Watcher) (stop func()) {
	var starting sync.Mutex // holds changes back until the position is known
	starting.Lock()
	defer starting.Unlock()
	after, stop := w.Observe(func(c zodb.Change) {
		starting.Lock()
		defer starting.Unlock()
		s.cache.Change(c)
	})
	s.cache.Start(after)
	return stop
}

// LoadBefore implements zodb.Storage.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if s.closed.Load() {
		return zodb.Record{}, zodb.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return zodb.Record{}, err
	}
	position := s.cache.Position()
	rec, err := s.cache.Load(ctx, oid, tid, s.Storage)
	if err != nil && tid > position+1 && forgotten(err) {
		// At the position it was asked about there was none, or none is left; but the
		// question was for a later one.
		return s.Storage.LoadBefore(ctx, oid, tid)
	}
	return rec, err
}

// Recall implements zodb.Recaller.
func (s *Storage) Recall(oid zodb.OID, tid zodb.TID) (zodb.Record, bool) {
	if s.closed.Load() {
		return zodb.Record{}, false
	}
	return s.cache.Recall(oid, tid)
}

// forgotten reports whether there is no revision, but there may be a later one.
func forgotten(err error) bool {
	missing, ok := errors.AsType[*zodb.NoObjectError](err)
	return ok && missing.Known && missing.DeletedAt == 0
}

// As finds every ability of the wrapped storage, a pack with the difference that the cache
// is emptied.
func (s *Storage) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Packer:
		return zodb.Adapt(s.Storage, p, func(p zodb.Packer) zodb.Packer { return packer{p, s.cache} })
	case *zodb.Recaller:
		return zodb.SetAs[zodb.Recaller](p, s)
	}
	return zodb.PassOn(s.Storage, target)
}

type packer struct {
	zodb.Packer
	cache *revisions.Cache
}

// Pack implements zodb.Packer.
func (p packer) Pack(ctx context.Context, at time.Time, opts zodb.PackOptions) error {
	if !opts.DryRun {
		defer p.cache.Clear() // also of what a pack that failed has removed
	}
	return p.Packer.Pack(ctx, at, opts)
}

// Stats returns counts for operators.
func (s *Storage) Stats() revisions.Stats { return s.cache.Stats() }

// Close closes the wrapped storage.
func (s *Storage) Close() error { return s.close() }
