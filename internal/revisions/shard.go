package revisions

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zodb"
)

// shard is the part of a cache that has some of the objects.
type shard struct {
	begun *atomic.Uint64 // the cache's

	mu      sync.Mutex
	limit   int64
	newest  map[zodb.OID]*revision // the chain of an object's revisions, newest first
	short   queue
	main    queue
	gone    ghosts
	fetches map[zodb.OID][]*fetch
	stats   Stats

	_ [64]byte // the next shard's mutex is in another line of the processor's cache
}

// revision is one that is kept. It was the newest from serial until next, or still
// is if next is 0.
type revision struct {
	oid          zodb.OID
	serial, next zodb.TID
	data         []byte
	older        *revision
	before, then *revision // in its queue
	uses         uint8     // since it came into its queue
	inMain       bool
}

// overhead is what a kept revision takes besides its data: its own 80 bytes, and a place
// in a map, of which nearly a half to seven eighths are taken.
const overhead = 80 + 38

func (r *revision) cost() int64 { return int64(cap(r.data)) + overhead }

// maxUses is how often a revision escapes for having been used.
const maxUses = 3

func (r *revision) use() { r.uses = min(r.uses+1, maxUses) }

// fetch is a question to the source that is under way. Its last fields are set before
// it ends.
type fetch struct {
	oid     zodb.OID
	bound   zodb.TID      // it asks for the newest revision before it
	begun   zodb.TID      // the last change that had begun when it did
	changed zodb.TID      // the last change of the object since
	void    bool          // its answer is not to be kept
	done    chan struct{} // closed at its end; nil if nobody waits for that

	rec  zodb.Record
	err  error
	keep []byte // the data, as they are to be kept; nil: they are not
}

// errNoAnswer is that of a fetch whose source has panicked.
var errNoAnswer = errors.New("the load of another reader has not ended")

func (s *shard) init(limit int64, begun *atomic.Uint64) {
	s.begun = begun
	s.newest, s.fetches = make(map[zodb.OID]*revision), make(map[zodb.OID][]*fetch)
	s.short.init()
	s.main.init()
	s.gone = newGhosts(limit)
	s.limit = limit - s.gone.bytes()
}

// look returns a revision; or, if it is not here, the fetch of somebody else whose answer
// will be the same one; or a new fetch, which end must be called with.
func (s *shard) look(oid zodb.OID, bound, position zodb.TID) (rec zodb.Record, other, f *fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec, ok := s.recall(oid, bound, position); ok {
		return rec, nil, nil
	}
	if f := s.same(oid, bound); f != nil {
		s.stats.Waits++
		if f.done == nil {
			f.done = make(chan struct{})
		}
		return rec, f, nil
	}
	return rec, nil, s.begin(oid, bound)
}

// same returns a fetch under way that asks the same. It must not have begun before the
// last change: it may be waiting for the end of that, which waits for observers, of which
// the one who asks now may be one.
func (s *shard) same(oid zodb.OID, bound zodb.TID) *fetch {
	for _, f := range s.fetches[oid] {
		if !f.void && f.begun == zodb.TID(s.begun.Load()) && (f.bound == bound || planted.CacheSharesOld) {
			return f
		}
	}
	return nil
}

// recall returns a revision that is here.
func (s *shard) recall(oid zodb.OID, bound, position zodb.TID) (zodb.Record, bool) {
	r := s.find(oid, bound, position)
	if r == nil {
		return zodb.Record{}, false
	}
	s.stats.Hits++
	r.use()
	return asOf(zodb.Record{Data: r.data, Serial: r.serial, Next: r.next}, position), true
}

// find returns the revision that is the newest before bound, nil if it is not here.
func (s *shard) find(oid zodb.OID, bound, position zodb.TID) *revision {
	for r := s.newest[oid]; r != nil && (r.next == 0 || r.next >= bound); r = r.older {
		if r.serial < bound && !longReplaced(r.next, position) {
			return r
		}
	}
	return nil
}

// replacedFor is how long a revision that has been replaced is shown: an hour, as tids
// count (see zodb.TID), or more across the end of a month.
const replacedFor = 60 << 32

// longReplaced reports whether a revision was replaced long ago: it may have been packed
// away since, by somebody of whom nobody tells.
func longReplaced(next, position zodb.TID) bool {
	return next != 0 && next < position && position-next > replacedFor
}

// ask begins a fetch.
func (s *shard) ask(oid zodb.OID, bound zodb.TID) *fetch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin(oid, bound)
}

func (s *shard) begin(oid zodb.OID, bound zodb.TID) *fetch {
	s.stats.Misses++
	f := &fetch{oid: oid, bound: bound, begun: zodb.TID(s.begun.Load()), err: errNoAnswer}
	s.fetches[oid] = append(s.fetches[oid], f)
	return f
}

// wait waits for the end of a fetch, and returns its answer if that holds at a position
// too.
func (f *fetch) wait(ctx context.Context, position zodb.TID) (rec zodb.Record, ok bool, err error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return rec, false, ctx.Err()
	}
	if f.err != nil || f.rec.Next == 0 && f.rec.AsOf < position {
		return rec, false, nil
	}
	return asOf(f.rec, position), true, nil
}

// end ends a fetch, and keeps its answer if that is true still.
func (s *shard) end(f *fetch, position zodb.TID) {
	if planted.CacheKeepsLate {
		planted.Stall()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(f)
	if f.done != nil {
		close(f.done)
	}
	if f.keep != nil && !longReplaced(f.rec.Next, position) && (!f.void && f.stillTrue() || planted.CacheKeepsLate) {
		s.keep(f)
	}
}

// stillTrue reports whether the answer says when the revision was replaced, or is as of
// all changes of the object that are taken into account.
func (f *fetch) stillTrue() bool {
	return f.rec.Next != 0 || f.rec.AsOf >= f.begun && f.rec.AsOf >= f.changed
}

func (s *shard) forget(f *fetch) {
	list := s.fetches[f.oid]
	for i := range list {
		if list[i] == f {
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(s.fetches, f.oid)
		return
	}
	s.fetches[f.oid] = list
}

// fits reports whether data are small enough to be kept.
func (s *shard) fits(data []byte) bool { return int64(len(data))+overhead <= s.limit/8 }

// keep puts a revision in its place in the chain of its object and in a queue.
func (s *shard) keep(f *fetch) {
	r := &revision{oid: f.oid, serial: f.rec.Serial, next: f.rec.Next, data: f.keep}
	var above *revision
	at := s.newest[f.oid]
	for at != nil && at.serial > r.serial {
		above, at = at, at.older
	}
	switch {
	case at != nil && at.serial == r.serial: // two have asked
		return
	case above != nil && r.next == 0, at != nil && at.next == 0: // cannot be, if the source tells the truth
		return
	}
	r.older = at
	if above == nil {
		s.newest[f.oid] = r
	} else {
		above.older = r
	}
	if s.gone.has(hash(f.oid)) {
		s.main.push(r)
		r.inMain = true
	} else {
		s.short.push(r)
	}
	for s.short.bytes+s.main.bytes > s.limit {
		s.evict()
	}
}

// evict makes room: it drops a revision, or moves one.
func (s *shard) evict() {
	if s.short.bytes > s.limit/10 || s.main.bytes == 0 {
		r := s.short.oldest()
		if r.uses > 0 {
			s.short.remove(r)
			s.main.push(r)
			r.uses, r.inMain = 0, true
			return
		}
		s.gone.add(hash(r.oid))
		s.drop(r)
		s.stats.Evictions++
		return
	}
	r := s.main.oldest()
	if r.uses > 0 {
		s.main.remove(r)
		s.main.push(r)
		r.uses--
		return
	}
	s.drop(r)
	s.stats.Evictions++
}

// drop removes a revision.
func (s *shard) drop(r *revision) {
	if r.inMain {
		s.main.remove(r)
	} else {
		s.short.remove(r)
	}
	at := s.newest[r.oid]
	switch {
	case at != r:
		for at.older != r {
			at = at.older
		}
		at.older = r.older
	case r.older == nil:
		delete(s.newest, r.oid)
	default:
		s.newest[r.oid] = r.older
	}
}

// change takes a change of an object into account. The revision that was the newest goes:
// when exactly it was replaced is not always known. (One that is in use comes
// back, with the source's word for that.)
func (s *shard) change(oid zodb.OID, tid zodb.TID, missed zodb.Missed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.newest[oid]; r != nil && r.next == 0 {
		if r.inMain {
			s.gone.add(hash(oid)) // what replaces it need not prove itself again
		}
		s.drop(r)
	}
	for _, f := range s.fetches[oid] {
		f.changed = max(f.changed, tid)
		f.void = f.void || missed != zodb.NothingMissed
	}
}

func (s *shard) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = make(map[zodb.OID]*revision)
	s.short.init()
	s.main.init()
	for _, list := range s.fetches {
		for _, f := range list {
			f.void = true
		}
	}
}

// add adds the shard's counts to the total.
func (s *shard) add(total *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total.Hits += s.stats.Hits
	total.Misses += s.stats.Misses
	total.Waits += s.stats.Waits
	total.Evictions += s.stats.Evictions
	total.Revisions += s.short.n + s.main.n
	total.Bytes += s.short.bytes + s.main.bytes + s.gone.bytes()
}
