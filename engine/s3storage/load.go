package s3storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/zaridb/zari/engine/s3storage/index"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Serials implements store.Engine.
func (e *Engine) Serials(_ context.Context, oids []zodb.OID) ([]zodb.TID, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	tids := make([]zodb.TID, len(oids))
	for i, oid := range oids {
		tids[i] = e.st.index.Newest(oid)
	}
	return tids, nil
}

// LoadBefore implements store.Engine: one GET of the block that the record is in, or none if
// that is in memory or in the cache.
func (e *Engine) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if err := ctx.Err(); err != nil {
		return zodb.Record{}, err
	}
	var last index.Loc
	for {
		r, err := e.find(oid, tid)
		if err != nil {
			return zodb.Record{}, err
		}
		raw, err := e.part(ctx, &r.place, r.off, r.len)
		if errors.Is(err, objstore.ErrNotExist) && r.Loc != last {
			last = r.Loc // it may have moved meanwhile
			continue
		}
		if err != nil {
			return zodb.Record{}, err
		}
		return r.decode(raw)
	}
}

// Recall implements store.Recaller: LoadBefore, if it takes no request.
func (e *Engine) Recall(oid zodb.OID, tid zodb.TID) (zodb.Record, bool) {
	r, err := e.find(oid, tid)
	if err != nil {
		return zodb.Record{}, false
	}
	raw, ok := e.partAtHand(&r.place, r.off, r.len)
	if !ok {
		return zodb.Record{}, false
	}
	rec, err := r.decode(raw)
	return rec, err == nil
}

// located is a revision and where its record lies.
type located struct {
	index.Entry
	next     zodb.TID
	place    place
	off, len int64 // of at least the record
}

// find returns the revision of an object before a tid.
func (e *Engine) find(oid zodb.OID, tid zodb.TID) (r located, err error) {
	e.mu.RLock()
	found, next, known, ok := e.st.index.Before(oid, tid)
	if ok {
		r.place = *e.st.places[found.Loc.Container()]
	}
	e.mu.RUnlock()
	r.Entry, r.next = found, next
	switch {
	case !ok:
		return r, &zodb.NoObjectError{OID: oid, Before: tid, Known: known}
	case found.Loc.Size() == 0:
		return r, &zodb.NoObjectError{OID: oid, Before: tid, Known: true, DeletedAt: found.TID}
	}
	r.off = int64(found.Loc.Off())
	r.len = min(found.Loc.Size().Bytes(), r.place.table-r.off)
	if r.off < r.place.body || r.len <= 0 {
		return r, r.corrupt(errors.New("the index points beside the transactions"))
	}
	return r, nil
}

func (r *located) corrupt(err error) error {
	return &zodb.CorruptError{File: r.place.Key(), Record: fmt.Sprintf("record of object %v", r.OID), Offset: r.off, Err: err}
}

// decode reads the record, which raw begins with.
func (r *located) decode(raw []byte) (zodb.Record, error) {
	x, err := txnlog.DecodeRecord(raw)
	switch {
	case err != nil:
		return zodb.Record{}, r.corrupt(err)
	case x.OID != r.OID || x.Kind == txnlog.Delete || x.Prev >= r.TID || index.SizeOf(x.EncodedLen()) != r.Loc.Size():
		return zodb.Record{}, r.corrupt(errors.New("it is another record"))
	}
	return zodb.Record{Data: x.Data, Serial: r.TID, Next: r.next}, nil
}

// Current implements store.Engine.
func (e *Engine) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return func(yield func(zodb.Current, error) bool) {
		for next := from; ; {
			page, more := e.currentPage(asOf, next, to)
			list, err := e.loadAll(ctx, asOf, page)
			for _, c := range list {
				if !yield(c, nil) {
					return
				}
			}
			if err != nil {
				yield(zodb.Current{}, err)
				return
			}
			if !more {
				return
			}
			next = page[len(page)-1] + 1
		}
	}
}

// pageLen is how many entries of the index are looked at under one lock.
const pageLen = 512

// currentPage returns the next objects that have a revision up to asOf, and
// whether there may be more.
func (e *Engine) currentPage(asOf zodb.TID, from, to zodb.OID) (oids []zodb.OID, more bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	tid := zodb.TID(0)
	for {
		entries := e.st.index.Read(from, tid, pageLen, nil)
		for _, x := range entries {
			if x.OID > to {
				return oids, false
			}
			if n := len(oids); x.TID <= asOf && (n == 0 || oids[n-1] != x.OID) {
				oids = append(oids, x.OID)
			}
		}
		if len(entries) < pageLen {
			return oids, false
		}
		last := entries[len(entries)-1]
		if from, tid = last.OID, last.TID+1; len(oids) >= pageLen/4 {
			return oids, oids[len(oids)-1] < to
		}
	}
}

// loadAll loads objects as they were at asOf, several at a time. With an error it returns those
// before the one that failed.
func (e *Engine) loadAll(ctx context.Context, asOf zodb.TID, oids []zodb.OID) ([]zodb.Current, error) {
	list := make([]zodb.Current, len(oids))
	errs := make([]error, len(oids))
	var group errgroup.Group
	group.SetLimit(e.opts.Parallel)
	for i, oid := range oids {
		group.Go(func() error {
			var rec zodb.Record
			rec, errs[i] = e.LoadBefore(ctx, oid, asOf+1)
			list[i] = zodb.Current{OID: oid, Serial: rec.Serial, Data: rec.Data}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	n := 0
	for i, err := range errs {
		if _, missing := errors.AsType[*zodb.NoObjectError](err); missing {
			continue
		}
		if err != nil {
			return list[:n], err
		}
		list[n] = list[i]
		n++
	}
	return list[:n], nil
}

// tableCache keeps the tables that were read last.
type tableCache struct {
	mu   sync.Mutex
	list []cachedTable // the newest last
}

type cachedTable struct {
	place layout.Place
	table *layout.Table
}

const maxTables = 16

func (c *tableCache) get(p layout.Place) *layout.Table {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.list) - 1; i >= 0; i-- {
		if c.list[i].place == p {
			return c.list[i].table
		}
	}
	return nil
}

func (c *tableCache) put(p layout.Place, t *layout.Table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == maxTables {
		c.list = append(c.list[:0], c.list[1:]...)
	}
	c.list = append(c.list, cachedTable{p, t})
}
