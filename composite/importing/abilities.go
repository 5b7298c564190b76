package importing

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/zaridb/zari/zodb"
)

// As finds the abilities that both the journal over the source and the destination
// have, since clients are told of them once. Packing is the destination's.
func (s *Storage) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Watcher:
		return both[zodb.Watcher](s) && zodb.SetAs[zodb.Watcher](p, s)
	case *zodb.Iterator:
		return both[zodb.Iterator](s) && zodb.SetAs[zodb.Iterator](p, s)
	case *zodb.RecordIterator:
		return both[zodb.RecordIterator](s) && zodb.SetAs[zodb.RecordIterator](p, s)
	case *zodb.Historian:
		return both[zodb.Historian](s) && zodb.SetAs[zodb.Historian](p, s)
	case *zodb.Undoer:
		return both[zodb.Undoer](s) && zodb.SetAs[zodb.Undoer](p, s)
	case *zodb.BlobStore:
		return both[zodb.BlobStore](s) && zodb.SetAs[zodb.BlobStore](p, s)
	case *zodb.Outcomer:
		return both[zodb.Outcomer](s) && zodb.SetAs[zodb.Outcomer](p, s)
	case *zodb.Restorer:
		return both[zodb.Restorer](s) && zodb.SetAs[zodb.Restorer](p, s)
	case *zodb.Deleter:
		return both[zodb.Deleter](s) && zodb.SetAs[zodb.Deleter](p, s)
	case *zodb.Packer:
		_, ok := zodb.As[zodb.Packer](s.dst)
		return ok && zodb.SetAs[zodb.Packer](p, s)
	}
	return false
}

func both[A any](s *Storage) bool {
	_, front := zodb.As[A](s.front)
	_, dst := zodb.As[A](s.dst)
	return front && dst
}

// ability returns an ability of the storage that is the database at present.
func ability[A any](s *Storage) (A, error) {
	a, ok := zodb.As[A](s.now())
	if !ok {
		return a, errors.ErrUnsupported
	}
	return a, nil
}

// failed is a sequence of one error.
func failed[V any](err error) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var none V
		yield(none, err)
	}
}

// Transactions implements zodb.Iterator.
func (s *Storage) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	it, err := ability[zodb.Iterator](s)
	if err != nil {
		return failed[*zodb.Transaction](err)
	}
	return it.Transactions(ctx, start, stop)
}

// Backward implements zodb.Iterator.
func (s *Storage) Backward(ctx context.Context, from zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	it, err := ability[zodb.Iterator](s)
	if err != nil {
		return failed[*zodb.Transaction](err)
	}
	return it.Backward(ctx, from)
}

// Current implements zodb.RecordIterator.
func (s *Storage) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	r, err := ability[zodb.RecordIterator](s)
	if err != nil {
		return failed[zodb.Current](err)
	}
	return r.Current(ctx, asOf, from, to)
}

// History implements zodb.Historian.
func (s *Storage) History(ctx context.Context, oid zodb.OID, size int) ([]zodb.Revision, error) {
	h, err := ability[zodb.Historian](s)
	if err != nil {
		return nil, err
	}
	return h.History(ctx, oid, size)
}

// LoadSerial implements zodb.Historian.
func (s *Storage) LoadSerial(ctx context.Context, oid zodb.OID, serial zodb.TID) ([]byte, error) {
	h, err := ability[zodb.Historian](s)
	if err != nil {
		return nil, err
	}
	return h.LoadSerial(ctx, oid, serial)
}

// UndoLog implements zodb.Undoer. During the import it has the transactions since
// its beginning.
func (s *Storage) UndoLog(ctx context.Context, first, last int, filter func(*zodb.UndoEntry) bool) ([]zodb.UndoEntry, error) {
	u, err := ability[zodb.Undoer](s)
	if err != nil {
		return nil, err
	}
	return u.UndoLog(ctx, first, last, filter)
}

// Pack implements zodb.Packer. It has to wait for the end of the import.
func (s *Storage) Pack(ctx context.Context, at time.Time, opts zodb.PackOptions) error {
	if !s.done.Load() {
		return ErrImporting
	}
	p, err := ability[zodb.Packer](s)
	if err != nil {
		return err
	}
	return p.Pack(ctx, at, opts)
}

// LoadBlob implements zodb.BlobStore. A path that was returned during the import
// stays until the storage is closed.
func (s *Storage) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	b, err := ability[zodb.BlobStore](s)
	if err != nil {
		return "", err
	}
	return b.LoadBlob(ctx, oid, serial)
}

// BlobTempDir implements zodb.BlobStore.
func (s *Storage) BlobTempDir() (string, error) {
	b, err := ability[zodb.BlobStore](s)
	if err != nil {
		return "", err
	}
	return b.BlobTempDir()
}

// BlobDir implements zodb.BlobStore.
func (s *Storage) BlobDir(oid zodb.OID) (string, error) {
	b, err := ability[zodb.BlobStore](s)
	if err != nil {
		return "", err
	}
	return b.BlobDir(oid)
}

// CanRestore marks a zodb.Restorer.
func (s *Storage) CanRestore() {}

// CanDelete marks a zodb.Deleter.
func (s *Storage) CanDelete() {}

// Outcome implements zodb.Outcomer. What became of a transaction in the journal is
// still known there when the import is done.
func (s *Storage) Outcome(ctx context.Context, token zodb.Token) (zodb.TID, error) {
	o, err := ability[zodb.Outcomer](s)
	if err != nil {
		return 0, err
	}
	tid, err := o.Outcome(ctx, token)
	if !errors.Is(err, zodb.ErrCommitUnknown) || !s.done.Load() {
		return tid, err
	}
	if o, ok := zodb.As[zodb.Outcomer](s.front); ok {
		return o.Outcome(ctx, token)
	}
	return 0, zodb.ErrCommitUnknown
}

// observer is told of changes, of the one storage and then of the other.
type observer struct {
	fn   func(zodb.Change)
	stop func()
}

// Observe implements zodb.Watcher.
func (s *Storage) Observe(fn func(zodb.Change)) (after zodb.TID, stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := ability[zodb.Watcher](s)
	if err != nil {
		return s.LastTID(), func() {}
	}
	o := &observer{fn: fn}
	after, o.stop = w.Observe(fn)
	s.observers = append(s.observers, o)
	return after, func() { s.unobserve(o) }
}

func (s *Storage) unobserve(o *observer) {
	s.mu.Lock()
	s.observers = slices.DeleteFunc(s.observers, func(x *observer) bool { return x == o })
	stop := o.stop
	s.mu.Unlock()
	stop()
}

// moveObservers has the destination tell the observers from now on. mu is held,
// and nothing is committed here or there.
func (s *Storage) moveObservers() {
	w, ok := zodb.As[zodb.Watcher](s.dst)
	if !ok {
		return
	}
	for _, o := range s.observers {
		o.stop()
		_, o.stop = w.Observe(o.fn)
	}
}

// ChangesSince implements zodb.Watcher.
func (s *Storage) ChangesSince(ctx context.Context, after zodb.TID) ([]zodb.OID, zodb.TID, error) {
	w, err := ability[zodb.Watcher](s)
	if err != nil {
		return nil, 0, err
	}
	return w.ChangesSince(ctx, after)
}
