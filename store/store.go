package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Store is a zodb.Storage over an Engine.
type Store struct {
	engine Engine
	blobs  BlobEngine // nil if the engine keeps none
	opts   Options
	name   string
	uuid   [16]byte

	locks     *lockTable
	committer committer
	follower  *follower // the committer where others write to the medium too, else nil
	locker    Locker    // likewise; nil also if the store is read-only
	oids      oids
	window    *window // nil if the medium forgets nothing
	members   members // used if it forgets
	observers observers
	published turn // happens when LastTID has moved, or will not soon
	outcomes  outcomes
	stats     stats

	visible atomic.Uint64 // loads see transactions up to this
	last    atomic.Uint64 // LastTID; equal to visible but during a publication

	floor    zodb.TID // all tids since Open are after it
	meta     Meta     // as last written; guarded by oids.reserving
	tokens   *zodb.Tokens
	readOnly bool
	closing  sync.Once
	closed   atomic.Bool
	closeErr error
}

var (
	_ zodb.Storage        = (*Store)(nil)
	_ zodb.Asser          = (*Store)(nil)
	_ zodb.Watcher        = (*Store)(nil)
	_ zodb.Iterator       = (*Store)(nil)
	_ zodb.RecordIterator = (*Store)(nil)
	_ zodb.Historian      = (*Store)(nil)
	_ zodb.Undoer         = (*Store)(nil)
	_ zodb.Packer         = (*Store)(nil)
	_ zodb.BlobStore      = (*Store)(nil)
	_ zodb.Restorer       = (*Store)(nil)
	_ zodb.Appender       = (*Store)(nil)
	_ zodb.Deleter        = (*Store)(nil)
	_ zodb.Outcomer       = (*Store)(nil)
)

// stats are counts since Open.
type stats struct{ commits, batches, waits, conflicts, merged atomic.Int64 }

// Stats are counts since the store was opened, and the state of its locks.
type Stats struct {
	Commits   int64
	Batches   int64 // appends that made them durable
	Waits     int64 // votes that had to wait for locks
	Conflicts int64 // conflicts that were reported
	Merged    int64 // conflicts that were merged
	Locked    int   // objects that are locked or queued for now
	Waiting   int   // votes that wait now
}

// Open makes a Store of an engine, which it owns from now on, also when it fails.
func Open(ctx context.Context, engine Engine, opts Options) (*Store, error) {
	meta, err := engine.Meta(ctx)
	if err != nil {
		engine.Close()
		return nil, err
	}
	s := &Store{engine: engine, opts: opts.withDefaults(), locks: newLockTable(), meta: meta, name: opts.Name}
	if d, ok := engine.(Describer); ok {
		s.name, s.readOnly = d.Name(), d.ReadOnly()
	}
	if b, ok := engine.(BlobEngine); ok && b.HasBlobs() {
		s.blobs = b
	}
	if h, ok := engine.(HistoryFree); ok && h.HistoryFree() {
		s.window = newWindow(&s.opts)
		s.opts.Without |= Undo // there is nothing to go back to
	}
	head, maxOID := engine.Head()
	s.visible.Store(uint64(head))
	s.last.Store(uint64(head))
	s.tokens = zodb.NewTokens()
	s.oids = oids{store: s, next: max(min(maxOID, lastOID)+1, meta.NextOID), reserved: meta.NextOID}
	s.floor = max(head, meta.TIDFloor)
	s.members.since = head
	s.warnFuture(head)
	if err := s.startCommitter(); err != nil {
		engine.Close()
		return nil, err
	}
	if err := s.prepare(ctx, maxOID); err != nil {
		s.committer.close()
		engine.Close()
		return nil, err
	}
	return s, nil
}

// startCommitter starts the committer that the medium asks for.
func (s *Store) startCommitter() error {
	f, ok := s.engine.(Follower)
	if !ok || !f.Follows() {
		s.committer = newAppender(s, s.floor)
		return nil
	}
	locker, ok := s.engine.(Locker)
	_, allocates := s.engine.(OIDAllocator)
	switch {
	case !s.readOnly && !(ok && allocates):
		return fmt.Errorf("%s: the storage cannot be written by several servers", s.name)
	case s.opts.Gate != nil:
		return fmt.Errorf("%s: what several servers write cannot be held back for replication", s.name)
	}
	if !s.readOnly {
		s.locker = locker
	}
	s.follower = newFollower(s, f, s.shown())
	s.committer = s.follower
	return nil
}

// prepare makes the medium fit for the first commit: its oids are past those in use,
// and it has a name.
func (s *Store) prepare(ctx context.Context, maxOID zodb.OID) error {
	s.uuid = s.meta.UUID
	if s.readOnly {
		return nil
	}
	if a, ok := s.engine.(OIDAllocator); ok {
		s.oids.medium = &mediumOIDs{medium: a}
		if err := s.oids.raise(ctx, []zodb.OID{maxOID}); err != nil {
			return err
		}
	}
	if s.uuid != [16]byte{} || s.follower != nil {
		return nil // where several servers open a database at once it is not theirs to name
	}
	return s.nameDatabase(ctx)
}

// nameDatabase gives a database a UUID.
func (s *Store) nameDatabase(ctx context.Context) error {
	rand.Read(s.uuid[:])
	s.uuid[6] = s.uuid[6]&0x0f | 0x40 // version 4, RFC 9562
	s.uuid[8] = s.uuid[8]&0x3f | 0x80
	s.meta.UUID = s.uuid
	return s.oids.reserve(ctx, s.oids.next+1)
}

// warnFuture tells of a clock that has gone back, or of data from another world.
func (s *Store) warnFuture(head zodb.TID) {
	ahead := head.Time().Sub(s.opts.Clock())
	if head == 0 || ahead < time.Second {
		return
	}
	log := s.opts.Logger.Warn
	if ahead > 30*time.Minute {
		log = s.opts.Logger.Error
	}
	log("the last transaction lies in the future; new ones follow it one by one until the clock has caught up",
		"storage", s.name, "last", head.Time().Format(time.RFC3339), "ahead", ahead.Round(time.Second))
}

// As finds the abilities that engine and options leave.
func (s *Store) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Watcher:
		return zodb.SetAs[zodb.Watcher](p, s)
	case *zodb.Iterator:
		return zodb.SetAs[zodb.Iterator](p, s)
	case *zodb.Historian:
		return zodb.SetAs[zodb.Historian](p, s)
	case *zodb.Outcomer:
		return zodb.SetAs[zodb.Outcomer](p, s)
	case *zodb.Syncer:
		return s.follower != nil && zodb.SetAs[zodb.Syncer](p, s.follower)
	case *zodb.RecordIterator:
		return s.offers(Records) && zodb.SetAs[zodb.RecordIterator](p, s)
	case *zodb.Undoer:
		return s.offers(Undo) && zodb.SetAs[zodb.Undoer](p, s)
	case *zodb.Restorer:
		return s.offers(Restore) && zodb.SetAs[zodb.Restorer](p, s)
	case *zodb.Appender:
		return s.offers(Restore) && zodb.SetAs[zodb.Appender](p, s)
	case *zodb.Deleter:
		return s.offers(Delete) && zodb.SetAs[zodb.Deleter](p, s)
	case *zodb.BlobStore:
		return s.blobs != nil && zodb.SetAs[zodb.BlobStore](p, s.blobs)
	case *zodb.Recaller:
		_, ok := s.engine.(Recaller)
		return ok && zodb.SetAs[zodb.Recaller](p, s)
	case *zodb.Packer:
		_, ok := s.engine.(Packer)
		return ok && zodb.SetAs[zodb.Packer](p, s)
	}
	return false
}

func (s *Store) offers(a Abilities) bool { return s.opts.Without&a == 0 }

// Info implements zodb.Storage.
func (s *Store) Info() zodb.Info {
	objects, size := s.engine.Stat()
	return zodb.Info{Name: s.name, Objects: objects, Size: size, ReadOnly: s.readOnly, UUID: s.uuid}
}

// Stats returns counts for operators.
func (s *Store) Stats() Stats {
	locked, waiting := s.locks.counts()
	return Stats{
		Commits: s.stats.commits.Load(), Batches: s.stats.batches.Load(), Waits: s.stats.waits.Load(), Conflicts: s.stats.conflicts.Load(),
		Merged: s.stats.merged.Load(), Locked: locked, Waiting: waiting,
	}
}

// LastTID implements zodb.Storage.
func (s *Store) LastTID() zodb.TID { return zodb.TID(s.last.Load()) }

// shown returns the transaction up to which everything shows. It may be beyond LastTID
// while that is published: who has been told of a transaction finds it everywhere.
func (s *Store) shown() zodb.TID { return zodb.TID(s.visible.Load()) }

// LoadBefore implements zodb.Storage: the engine's answer, as it was just after
// the last published transaction. What the medium has forgotten is in the window for
// a while; then it is a *zodb.NoObjectError, "no revision before".
func (s *Store) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if s.closed.Load() {
		return zodb.Record{}, zodb.ErrClosed
	}
	if s.forgets() {
		return s.loadRecent(ctx, oid, tid)
	}
	asOf := s.shown()
	rec, err := s.engine.LoadBefore(ctx, oid, min(tid, asOf+1))
	if err != nil {
		return zodb.Record{}, err
	}
	return asOfPublished(rec, asOf), nil
}

// Recall implements zodb.Recaller.
func (s *Store) Recall(oid zodb.OID, tid zodb.TID) (zodb.Record, bool) {
	r, ok := s.engine.(Recaller)
	if !ok || s.closed.Load() || s.forgets() {
		return zodb.Record{}, false
	}
	asOf := s.shown()
	rec, ok := r.Recall(oid, min(tid, asOf+1))
	return asOfPublished(rec, asOf), ok
}

// asOfPublished is a record as one sees it who knows the transactions up to asOf.
func asOfPublished(rec zodb.Record, asOf zodb.TID) zodb.Record {
	if rec.Next > asOf {
		rec.Next = 0
	}
	rec.AsOf = asOf
	return rec
}

// Begin implements zodb.Storage.
func (s *Store) Begin(_ context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	if meta.TID != 0 && !s.offers(Restore) {
		return nil, fmt.Errorf("a transaction with a given tid: %w", errUnsupported)
	}
	return s.newTxn(meta), nil
}

func (s *Store) writable() error {
	switch {
	case s.closed.Load():
		return zodb.ErrClosed
	case s.readOnly:
		return zodb.ErrReadOnly
	}
	return nil
}

// Pack implements zodb.Packer.
func (s *Store) Pack(ctx context.Context, at time.Time, opts zodb.PackOptions) error {
	p, ok := s.engine.(Packer)
	switch {
	case s.closed.Load():
		return zodb.ErrClosed
	case s.readOnly && !opts.DryRun:
		return zodb.ErrReadOnly
	case !ok:
		return errUnsupported
	}
	return p.Pack(ctx, zodb.TIDAt(at), opts)
}

// LoadBlob implements zodb.BlobStore, as do BlobTempDir and BlobDir.
func (s *Store) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	if s.blobs == nil {
		return "", errUnsupported
	}
	return s.blobs.LoadBlob(ctx, oid, serial)
}

// BlobTempDir returns the directory for files that will become blobs.
func (s *Store) BlobTempDir() (string, error) {
	if s.blobs == nil {
		return "", errUnsupported
	}
	return s.blobs.BlobTempDir()
}

// BlobDir returns the directory of an object's blobs.
func (s *Store) BlobDir(oid zodb.OID) (string, error) {
	if s.blobs == nil {
		return "", errUnsupported
	}
	return s.blobs.BlobDir(oid)
}

// CanRestore marks a zodb.Restorer.
func (s *Store) CanRestore() {}

// CanDelete marks a zodb.Deleter.
func (s *Store) CanDelete() {}

// Close finishes what is being committed and closes the engine.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		s.committer.close()
		if !s.readOnly && s.committer.settledAtEnd() {
			s.oids.giveBack()
		}
		s.closeErr = s.engine.Close()
	})
	return s.closeErr
}
