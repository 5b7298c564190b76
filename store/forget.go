package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// This file is what a Store does for a medium that forgets: see HistoryFree.

// loadMany is how many states a vote reads at a time.
const loadMany = 256

// forgets reports whether the medium forgets what is overwritten.
func (s *Store) forgets() bool { return s.window != nil }

// revisionBefore is Engine.LoadBefore, or what the window knows if the medium has
// forgotten.
func (s *Store) revisionBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	rec, _, err := s.revision(ctx, oid, tid)
	return rec, err
}

// revision is revisionBefore. It reports false if there is no revision, but there may
// have been one that is forgotten.
func (s *Store) revision(ctx context.Context, oid zodb.OID, tid zodb.TID) (rec zodb.Record, sure bool, err error) {
	rec, err = s.engine.LoadBefore(ctx, oid, tid)
	if err == nil || !s.forgets() {
		return rec, true, err
	}
	missing, ok := errors.AsType[*zodb.NoObjectError](err)
	if !ok || missing.DeletedAt != 0 {
		return rec, true, err
	}
	r, ok := s.window.before(oid, tid)
	switch {
	case !ok:
		return rec, false, err
	case r.data == nil:
		return rec, true, &zodb.NoObjectError{OID: oid, Before: tid, Known: true, DeletedAt: r.serial}
	}
	return zodb.Record{Data: r.data, Serial: r.serial, Next: r.next}, true, nil
}

// loadRecent is LoadBefore of a medium that forgets. That a revision is forgotten is
// not said before the transaction that overwrote it is published: who hears of it
// tries again with a newer snapshot, and must then find one.
func (s *Store) loadRecent(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	for waited := false; ; {
		asOf := s.shown()
		bound := min(tid, asOf+1)
		rec, sure, err := s.revision(ctx, oid, bound)
		if sure {
			return asOfPublished(rec, asOf), err
		}
		newest, serr := s.engine.Serials(ctx, []zodb.OID{oid})
		if serr != nil {
			return zodb.Record{}, serr
		}
		if newest[0] <= asOf {
			s.awaitShown(ctx, newest[0])
			return zodb.Record{}, err
		}
		if waited && bound == tid || s.observing(ctx, bound) || planted.NoneBeforePublication {
			return zodb.Record{}, err
		}
		if err := s.awaitPublished(ctx, newest[0]); err != nil {
			return zodb.Record{}, err
		}
		waited = true // the window may have it now
	}
}

// observerPatience is how long a load waits for the publication under way before it
// takes itself for an observer's, for whom that publication waits.
const observerPatience = 100 * time.Millisecond

// observing reports whether a load just before tid may be an observer's, who is told of
// the transaction that is being published. Most of those who ask at that moment are not:
// for them the publication ends soon.
func (s *Store) observing(ctx context.Context, tid zodb.TID) bool {
	visible := s.shown()
	return tid == visible+1 && !s.awaitShown(ctx, visible)
}

// awaitShown waits for the end of a publication that has begun, and reports whether it has
// ended: it does not for an observer, for whom it waits.
func (s *Store) awaitShown(ctx context.Context, tid zodb.TID) bool {
	if s.LastTID() >= tid {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, observerPatience)
	defer cancel()
	return s.awaitPublished(ctx, tid) == nil
}

// keepReplaced reads what the transaction will overwrite, as much as the window would
// keep. What is written before, in the same append, is in earlier.
func (t *txn) keepReplaced(ctx context.Context, earlier map[zodb.OID]*write) error {
	t.replaced = nil
	if !t.store.forgets() {
		return nil
	}
	var oids []zodb.OID
	size := int64(0)
	for _, oid := range t.order {
		r := &replaced{oid: oid}
		if w := earlier[oid]; w != nil {
			data, err := w.Load()
			if err != nil {
				return err
			}
			r.serial, r.data = t.writes[oid].Prev, data
			size += int64(len(data))
		} else if t.writes[oid].Prev != 0 {
			oids = append(oids, oid)
			continue
		}
		t.replaced = append(t.replaced, r)
	}
	for len(oids) > 0 && size <= t.store.window.bytes {
		n := min(len(oids), loadMany)
		records, err := t.store.newest(ctx, oids[:n])
		if err != nil {
			return err
		}
		for i, rec := range records {
			if rec.Serial != t.writes[oids[i]].Prev {
				continue // it was locked here, but not where the medium is shared
			}
			size += int64(len(rec.Data))
			t.replaced = append(t.replaced, &replaced{oid: oids[i], serial: rec.Serial, data: rec.Data})
		}
		oids = oids[n:]
	}
	return nil
}

// newest returns the newest record of each object, without data for deletions.
func (s *Store) newest(ctx context.Context, oids []zodb.OID) ([]zodb.Record, error) {
	if m, ok := s.engine.(ManyLoader); ok {
		return m.LoadMany(ctx, oids)
	}
	records := make([]zodb.Record, len(oids))
	for i, oid := range oids {
		rec, err := s.engine.LoadBefore(ctx, oid, zodb.MaxTID)
		if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
			rec, err = zodb.Record{Serial: missing.DeletedAt}, nil
		} else if err == nil && rec.Data == nil {
			rec.Data = []byte{} // nil is a deletion
		}
		if err != nil {
			return nil, err
		}
		records[i] = rec
	}
	return records, nil
}

// members remembers the tids of the transactions since a store was opened, of a medium
// that forgets those.
type members struct {
	mu    sync.Mutex
	since zodb.TID // all after it are remembered
	tids  []zodb.TID
}

// rememberedMembers is about how many are kept.
const rememberedMembers = 1 << 16

func (m *members) add(tid zodb.TID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.tids) == rememberedMembers {
		half := len(m.tids) / 2
		m.since = m.tids[half-1]
		m.tids = append(m.tids[:0], m.tids[half:]...)
	}
	m.tids = append(m.tids, tid)
}

// mayHave reports whether tid may be a transaction of this history: that it is none is
// only known of those since the store was opened.
func (m *members) mayHave(tid zodb.TID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, found := slices.BinarySearch(m.tids, tid)
	return found || tid <= m.since
}

// recentChanges is ChangesSince of a medium that forgets. What was overwritten is listed
// where it was written last, which may be in a transaction that is not published yet.
func (s *Store) recentChanges(ctx context.Context, after, last zodb.TID) ([]zodb.OID, zodb.TID, error) {
	if s.follower == nil && !s.members.mayHave(after) {
		return nil, 0, zodb.ErrUnknownPosition
	}
	var oids []zodb.OID
	for t, err := range s.scan(ctx, after+1, Forward) {
		if err != nil {
			return nil, 0, err
		}
		for i := range t.Records {
			oids = append(oids, t.Records[i].OID)
		}
	}
	return oids, last, nil
}

// wholeScan is a scan of a medium that forgets, such that nothing is missing because
// a transaction that is not published yet has overwritten it: it waits for those up to
// stop.
func (s *Store) wholeScan(ctx context.Context, from, stop zodb.TID, dir Direction) iter.Seq2[*txnlog.Txn, error] {
	return func(yield func(*txnlog.Txn, error) bool) {
		for t, err := range s.scan(ctx, from, dir) {
			if err == nil && t.TID > stop {
				return
			}
			if err == nil {
				err = s.awaitPublished(ctx, t.TID)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(t, nil) {
				return
			}
		}
	}
}

// replacedCurrent returns what was in the place of a record as of asOf, without data if
// that is nothing.
func (s *Store) replacedCurrent(ctx context.Context, c zodb.Current, asOf zodb.TID) (zodb.Current, error) {
	r, ok := s.window.before(c.OID, asOf+1)
	if !ok { // it may only just be on its way there
		if err := s.awaitPublished(ctx, c.Serial); err != nil {
			return c, err
		}
		r, ok = s.window.before(c.OID, asOf+1)
	}
	if !ok {
		return c, fmt.Errorf("object %v as of %v: it has been overwritten since by %v, and what was before is kept no longer; begin again with a newer state",
			c.OID, asOf, c.Serial)
	}
	return zodb.Current{OID: c.OID, Serial: r.serial, Data: r.data}, nil
}

// wholeCurrent fills in, from the window, what a medium that forgets has no more of
// the state as of asOf.
func (s *Store) wholeCurrent(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return func(yield func(zodb.Current, error) bool) {
		for c, err := range s.engine.Current(ctx, asOf, from, to) {
			if err == nil && c.Serial > asOf {
				if c, err = s.replacedCurrent(ctx, c, asOf); err == nil && c.Data == nil {
					continue // there was no such object
				}
			}
			if err != nil {
				yield(zodb.Current{}, err)
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}
