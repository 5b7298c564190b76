package check

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// Database is one of the databases that are looked at together.
type Database struct {
	Name   string // by which references name it; "" if there is only one
	Source Source
}

// prefix begins a message about the database, if it needs a name.
func (db Database) prefix() string {
	if db.Name == "" {
		return ""
	}
	return db.Name + ": "
}

// Source has the current records of a database.
type Source interface {
	// Each calls fn for the current record of every object that is not deleted,
	// from several goroutines. A record that cannot be read has Err.
	Each(ctx context.Context, progress func(done, total int64), fn func(*Record) error) error
	// Load returns the current record of one object; a *zodb.NoObjectError if it
	// has none.
	Load(ctx context.Context, oid zodb.OID) (*Record, error)
}

// Record is the current record of an object. Data are valid as long as the function
// runs that was given it.
type Record struct {
	OID  zodb.OID
	TID  zodb.TID // that wrote it
	Data []byte
	Err  error // instead of Data
}

// Storage is a Source on a storage.
type Storage struct{ zodb.Storage }

// Each reads a storage's current records as of now. It needs a RecordIterator, which
// reads one after the other; fn is called by as many goroutines as there are cores.
func (s Storage) Each(ctx context.Context, progress func(done, total int64), fn func(*Record) error) error {
	records, ok := zodb.As[zodb.RecordIterator](s.Storage)
	if !ok {
		return errors.New("this storage cannot list its objects")
	}
	w := startWorkers(ctx, func(r []Record) error {
		for i := range r {
			if err := fn(&r[i]); err != nil {
				return err
			}
		}
		return nil
	})
	total := s.Info().Objects
	var done int64
	batch := make([]Record, 0, batchLen)
	for c, err := range records.Current(w.ctx, s.LastTID(), 0, ^zodb.OID(0)) {
		if err != nil {
			return w.wait(err)
		}
		batch = append(batch, newRecord(c.OID, c.Serial, c.Data))
		if len(batch) == cap(batch) {
			if !w.give(batch) {
				return w.wait(nil)
			}
			done += int64(len(batch))
			progress(done, max(total, done))
			batch = make([]Record, 0, batchLen)
		}
	}
	w.give(batch)
	return w.wait(nil)
}

// Load reads one current record.
func (s Storage) Load(ctx context.Context, oid zodb.OID) (*Record, error) {
	r, err := s.LoadBefore(ctx, oid, zodb.MaxTID)
	if err != nil {
		return nil, err
	}
	rec := newRecord(oid, r.Serial, r.Data)
	return &rec, rec.Err
}

func newRecord(oid zodb.OID, tid zodb.TID, data []byte) Record {
	data, err := Plain(data)
	return Record{OID: oid, TID: tid, Data: data, Err: err}
}

// batchLen is how many records are handed over at a time.
const batchLen = 256

// workers are goroutines that take pieces of work, as many as there are cores.
type workers[T any] struct {
	ctx    context.Context
	cancel context.CancelFunc
	work   chan T
	wg     sync.WaitGroup
	mu     sync.Mutex
	err    error
}

func startWorkers[T any](ctx context.Context, do func(T) error) *workers[T] {
	w := &workers[T]{work: make(chan T, 2*runtime.GOMAXPROCS(0))}
	w.ctx, w.cancel = context.WithCancel(ctx)
	for range runtime.GOMAXPROCS(0) {
		w.wg.Go(func() {
			for piece := range w.work {
				if w.ctx.Err() != nil {
					continue
				}
				if err := do(piece); err != nil {
					w.fail(err)
				}
			}
		})
	}
	return w
}

func (w *workers[T]) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.cancel()
}

// give hands a piece to a worker. It reports false if there is no use in more.
func (w *workers[T]) give(piece T) bool {
	select {
	case w.work <- piece:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// wait waits for the workers, and returns the first error of theirs, or err.
func (w *workers[T]) wait(err error) error {
	close(w.work)
	w.wg.Wait()
	outer := w.ctx.Err()
	w.cancel()
	switch {
	case w.err != nil:
		return w.err
	case err != nil:
		return err
	}
	return outer
}
