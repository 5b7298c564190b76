package importing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Options say what is imported from where to where. All storages are owned by the
// Storage from then on.
type Options struct {
	Source      zodb.Storage // is only read, and must not change
	Journal     zodb.Storage // durable; empty at first; its transactions are a zodb.OverTxn
	Destination zodb.Storage // empty at first; nobody else opens it before the import is done
	State       File         // where it is kept how far the import is

	// Lay lays changes over a base, and owns both: demo.New.
	Lay func(ctx context.Context, base, changes zodb.Storage) (zodb.Storage, error)

	// Copy brings dst, which is a beginning of src, to the state of src as it is
	// when Copy begins. It may be interrupted at any time: transfer.Copy.
	Copy func(ctx context.Context, dst, src zodb.Storage) error

	// Verify, if not nil, looks whether the source was written by somebody else. It
	// is asked before the import is declared done.
	Verify func(ctx context.Context) error

	// Grace is how long new transactions wait, at the end, for those under way to
	// finish. If they do not, the end is put off. Default 1 s.
	Grace time.Duration

	// Attempts is how often the end is put off for the sake of transactions that
	// have not voted. From then on they get a conflict, and are made again by their
	// clients. Default 5.
	Attempts int

	// Retry is how long the copy rests after a failure, or when its end is put off.
	// Default 10 s.
	Retry time.Duration

	Logger *slog.Logger
}

// ErrImporting says that something has to wait until the import is done.
var ErrImporting = errors.New("the database is still being imported; try again when that is done")

// Storage serves a database while it is imported, and afterwards.
type Storage struct {
	opts   Options
	log    *slog.Logger
	front  zodb.Storage // source and journal
	dst    zodb.Storage
	source zodb.TID // the source's last transaction

	done  atomic.Bool // the destination is the database
	gate  gate
	oids  allocator
	doubt atomic.Bool  // of some commit in the journal it was not known at once what became of it
	calls atomic.Int64 // of clients, so that the copy sees them

	mu        sync.Mutex // guards the observers, and done while it is set
	observers []*observer

	putOff  int                   // how often the end was
	failure atomic.Pointer[error] // the copy's last one
	ctx     context.Context       // ends with Close
	stop    context.CancelFunc
	wg      sync.WaitGroup
	closing sync.Once
	closed  error
}

var (
	_ zodb.Storage        = (*Storage)(nil)
	_ zodb.Asser          = (*Storage)(nil)
	_ zodb.Watcher        = (*Storage)(nil)
	_ zodb.Iterator       = (*Storage)(nil)
	_ zodb.RecordIterator = (*Storage)(nil)
	_ zodb.Historian      = (*Storage)(nil)
	_ zodb.Undoer         = (*Storage)(nil)
	_ zodb.Packer         = (*Storage)(nil)
	_ zodb.BlobStore      = (*Storage)(nil)
	_ zodb.Outcomer       = (*Storage)(nil)
	_ zodb.Restorer       = (*Storage)(nil)
	_ zodb.Deleter        = (*Storage)(nil)
)

// Open begins an import, or takes one up again. It must not be called when the
// state says that the import is done: then the destination is the database. If it
// fails nothing is closed.
func Open(ctx context.Context, o Options) (*Storage, error) {
	if o.Grace == 0 {
		o.Grace = time.Second
	}
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.Retry == 0 {
		o.Retry = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Storage{opts: o, log: o.Logger, dst: o.Destination, source: o.Source.LastTID()}
	state, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	s.oids = allocator{storage: s, state: state, next: state.Next}
	if _, blobs := zodb.As[zodb.BlobStore](o.Source); blobs {
		if _, ok := zodb.As[zodb.BlobStore](o.Destination); !ok {
			return nil, fmt.Errorf("import: the source %s keeps blobs, and the destination %s has no place for them", o.Source.Info().Name, o.Destination.Info().Name)
		}
	}
	if s.front, err = o.Lay(ctx, o.Source, o.Journal); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if last := s.dst.LastTID(); last > s.front.LastTID() {
		return nil, fmt.Errorf("import: the destination has transaction %v, which is neither in the source nor among what was written during the import: "+
			"something else has written to it", last)
	}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.wg.Go(s.run)
	s.wg.Go(s.report)
	return s, nil
}

// begin returns the state of the import that is under way, or of a new one.
func (s *Storage) begin(ctx context.Context) (State, error) {
	o := &s.opts
	state, err := o.State.Load()
	switch {
	case err == nil && state.Done:
		return state, errors.New("the import is done already")
	case err == nil && state.Last != s.source:
		return state, fmt.Errorf("the source's last transaction is %v; when the import began it was %v: something else has written to it, or it is another source (it was %s)",
			s.source, state.Last, state.Source)
	case err == nil:
		return state, nil
	case !errors.Is(err, fs.ErrNotExist):
		return state, err
	case o.Destination.LastTID() != 0 || o.Journal.LastTID() != 0:
		return state, fmt.Errorf("the destination %s is not empty", o.Destination.Info().Name)
	}
	largest, err := maxOID(ctx, o.Source)
	if err != nil {
		return state, err
	}
	state = State{Source: o.Source.Info().Name, Last: s.source, Next: largest + 1}
	return state, o.State.Save(state)
}

// now returns the storage that is the database at present.
func (s *Storage) now() zodb.Storage {
	if s.done.Load() {
		return s.dst
	}
	s.calls.Add(1)
	return s.front
}

// LoadBefore implements zodb.Storage.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	return s.now().LoadBefore(ctx, oid, tid)
}

// LastTID implements zodb.Storage.
func (s *Storage) LastTID() zodb.TID {
	if s.done.Load() {
		return s.dst.LastTID()
	}
	return s.front.LastTID()
}

// Info implements zodb.Storage: it is the destination that is shown, with the
// number and size of what there is.
func (s *Storage) Info() zodb.Info {
	i := s.dst.Info()
	if !s.done.Load() {
		front, source := s.front.Info(), s.opts.Source.Info()
		i.Objects, i.Size = front.Objects, front.Size+source.Size
	}
	return i
}

// NewOIDs implements zodb.Storage.
func (s *Storage) NewOIDs(ctx context.Context, n int) ([]zodb.OID, error) {
	if s.ctx.Err() != nil {
		return nil, zodb.ErrClosed
	}
	if !s.done.Load() {
		if oids, err := s.oids.take(ctx, n); oids != nil || err != nil {
			return oids, err
		}
	}
	return s.dst.NewOIDs(ctx, n)
}

// Begin implements zodb.Storage. It waits while the import is being completed.
func (s *Storage) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	if s.ctx.Err() != nil {
		return nil, zodb.ErrClosed
	}
	l, err := s.gate.enter(ctx, s.done.Load)
	if err != nil {
		return nil, err
	}
	if s.ctx.Err() != nil { // closed while it waited: the state may say already that the journal is past
		if l != nil {
			l.leave()
		}
		return nil, zodb.ErrClosed
	}
	t, err := s.now().Begin(ctx, meta)
	if l == nil {
		return t, err
	}
	if err != nil {
		l.leave()
		return nil, err
	}
	return &txn{Txn: t, lease: l, storage: s}, nil
}

// Status is how far an import is.
type Status struct {
	Done    bool
	Copied  zodb.TID // the destination has all up to here
	Bytes   int64    // of the destination
	Total   int64    // of source and journal
	Failure error    // the copy's last one; it is tried again
}

// Status tells how far the import is.
func (s *Storage) Status() Status {
	st := Status{Done: s.done.Load(), Copied: s.dst.LastTID(), Bytes: s.dst.Info().Size, Total: s.Info().Size}
	if err := s.failure.Load(); err != nil {
		st.Failure = *err
	}
	return st
}

// Close ends the copy, which goes on when the import is opened again, and closes
// all storages.
func (s *Storage) Close() error {
	s.closing.Do(func() {
		s.stop()
		s.wg.Wait()
		s.gate.open()
		s.closed = errors.Join(s.front.Close(), s.dst.Close())
	})
	return s.closed
}
