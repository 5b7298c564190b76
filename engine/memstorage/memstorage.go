// Package memstorage keeps a database in memory. It is the specification of
// store.Engine: every method does the obvious thing, and the other engines are
// compared with it.
//
// The database is a list of transactions in the order of their tids, and for each
// object the list of its revisions. Nothing survives the process, except blobs,
// which lie in a directory if one is given.
package memstorage

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Options are the settings of an Engine. The zero value is good.
type Options struct {
	Name  string     // for people
	Blobs *blobs.Dir // where blobs are kept; nil: there are none

	// HistoryFree makes the database forget what is overwritten, as
	// store.HistoryFree says.
	HistoryFree bool

	// References finds the oids that a record refers to. Without it, Pack cannot
	// collect garbage.
	References func(data []byte, dst []zodb.OID) ([]zodb.OID, error)

	// PackGC makes every Pack collect garbage, also where the caller did not ask.
	PackGC bool
}

// Engine keeps a database in memory.
type Engine struct {
	opts Options

	mu        sync.RWMutex
	txns      []*txnlog.Txn
	revisions map[zodb.OID][]revision // of each object, oldest first
	bytes     int64
	meta      store.Meta
}

type revision struct {
	tid    zodb.TID
	record *txnlog.Record
}

var (
	_ store.Engine      = (*Engine)(nil)
	_ store.HistoryFree = (*Engine)(nil)
	_ store.Packer      = (*Engine)(nil)
	_ store.BlobEngine  = (*Engine)(nil)
	_ store.Describer   = (*Engine)(nil)
)

// New returns an empty database.
func New(opts Options) *Engine {
	return &Engine{opts: opts, revisions: make(map[zodb.OID][]revision)}
}

// Name implements store.Describer.
func (e *Engine) Name() string { return e.opts.Name }

// ReadOnly implements store.Describer.
func (e *Engine) ReadOnly() bool { return false }

// Close implements store.Engine. The data stay.
func (e *Engine) Close() error { return nil }

// Stat implements store.Engine.
func (e *Engine) Stat() (objects, bytes int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return int64(len(e.revisions)), e.bytes
}

// Head implements store.Engine.
func (e *Engine) Head() (last zodb.TID, maxOID zodb.OID) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if n := len(e.txns); n > 0 {
		last = e.txns[n-1].TID
	}
	for oid := range e.revisions {
		maxOID = max(maxOID, oid)
	}
	return last, maxOID
}

// Meta implements store.Engine.
func (e *Engine) Meta(context.Context) (store.Meta, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.meta, nil
}

// Serials implements store.Engine.
func (e *Engine) Serials(_ context.Context, oids []zodb.OID) ([]zodb.TID, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	tids := make([]zodb.TID, len(oids))
	for i, oid := range oids {
		tids[i] = newest(e.revisions[oid])
	}
	return tids, nil
}

// LoadBefore implements store.Engine.
func (e *Engine) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if err := ctx.Err(); err != nil {
		return zodb.Record{}, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	revs := e.revisions[oid]
	n := before(revs, tid)
	if n == 0 {
		return zodb.Record{}, &zodb.NoObjectError{OID: oid, Before: tid, Known: len(revs) > 0}
	}
	r := revs[n-1]
	if r.record.Kind == txnlog.Delete {
		return zodb.Record{}, &zodb.NoObjectError{OID: oid, Before: tid, Known: true, DeletedAt: r.tid}
	}
	rec := zodb.Record{Data: r.record.Data, Serial: r.tid}
	if n < len(revs) {
		rec.Next = revs[n].tid
	}
	return rec, nil
}

// newest returns the tid of the newest revision, 0 if there is none.
func newest(revs []revision) zodb.TID {
	if len(revs) == 0 {
		return 0
	}
	return revs[len(revs)-1].tid
}

// before returns how many of the revisions are older than tid.
func before(revs []revision, tid zodb.TID) int {
	return sort.Search(len(revs), func(i int) bool { return revs[i].tid >= tid })
}

// Append implements store.Engine.
func (e *Engine) Append(_ context.Context, batch []*txnlog.Txn, meta *store.Meta) (int, error) {
	for i, t := range batch {
		kept, err := e.keep(t)
		if err != nil {
			return i, err
		}
		e.mu.Lock()
		e.add(kept)
		if e.opts.HistoryFree {
			e.forget(kept)
		}
		e.mu.Unlock()
	}
	if meta != nil {
		e.mu.Lock()
		e.meta = *meta
		e.mu.Unlock()
	}
	return len(batch), nil
}

// keep returns a copy of t with its data in memory and its blobs in place.
func (e *Engine) keep(t *txnlog.Txn) (*txnlog.Txn, error) {
	kept := *t
	kept.Size = 0
	if e.opts.HistoryFree {
		kept = txnlog.Txn{TID: t.TID, Status: ' '}
	}
	kept.Records = slices.Clone(t.Records)
	for i := range kept.Records {
		r := &kept.Records[i]
		data, err := r.Load()
		if err != nil {
			return nil, err
		}
		r.Data, r.Spooled = data, nil
		if e.opts.HistoryFree {
			r.From = 0 // that revision is gone, or will be
		}
		kept.Size += int64(len(data))
		if r.Blob == "" || e.opts.Blobs == nil {
			continue
		}
		if err := e.opts.Blobs.Place(r.Blob, r.OID, t.TID); err != nil {
			return nil, err
		}
		r.Blob = "kept"
	}
	return &kept, nil
}

func (e *Engine) add(t *txnlog.Txn) {
	e.txns = append(e.txns, t)
	e.bytes += t.Size
	for i := range t.Records {
		r := &t.Records[i]
		e.revisions[r.OID] = append(e.revisions[r.OID], revision{t.TID, r})
	}
}

// Scan implements store.Engine.
func (e *Engine) Scan(ctx context.Context, from zodb.TID, dir store.Direction) iter.Seq2[*txnlog.Txn, error] {
	return func(yield func(*txnlog.Txn, error) bool) {
		e.mu.RLock()
		txns := e.txns // Pack makes a new list, Append adds behind
		e.mu.RUnlock()
		i := sort.Search(len(txns), func(i int) bool { return txns[i].TID >= from })
		if dir == store.Backward {
			n := sort.Search(len(txns), func(i int) bool { return txns[i].TID > from })
			txns, i = slices.Clone(txns[:n]), 0
			slices.Reverse(txns)
		}
		for _, t := range txns[i:] {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if !yield(t, nil) {
				return
			}
		}
	}
}

// Current implements store.Engine.
func (e *Engine) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return func(yield func(zodb.Current, error) bool) {
		e.mu.RLock()
		oids := slices.Sorted(maps.Keys(e.revisions))
		e.mu.RUnlock()
		for _, oid := range oids {
			if oid < from || oid > to {
				continue
			}
			rec, err := e.LoadBefore(ctx, oid, asOf+1)
			if e.forgotten(err) {
				e.mu.RLock()
				rec.Serial, err = newest(e.revisions[oid]), nil
				e.mu.RUnlock()
			}
			if _, missing := err.(*zodb.NoObjectError); missing {
				continue
			}
			if !yield(zodb.Current{OID: oid, Serial: rec.Serial, Data: rec.Data}, err) || err != nil {
				return
			}
		}
	}
}

// HasBlobs implements store.BlobEngine.
func (e *Engine) HasBlobs() bool { return e.opts.Blobs != nil }

// LoadBlob implements zodb.BlobStore.
func (e *Engine) LoadBlob(_ context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	return e.opts.Blobs.Load(oid, serial)
}

// BlobTempDir implements zodb.BlobStore.
func (e *Engine) BlobTempDir() (string, error) { return e.opts.Blobs.TempDir() }

// BlobDir implements zodb.BlobStore.
func (e *Engine) BlobDir(oid zodb.OID) (string, error) { return e.opts.Blobs.OIDDir(oid) }
