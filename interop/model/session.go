package model

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

// Session is one connection, from the answer to register until it is lost. The
// goroutine that reads the connection calls its methods in the order of frames;
// Mark, VoteSent and FinishSent are called by whoever sends, before sending.
type Session struct {
	c    *Checker
	name string
	view atomic.Uint64

	mu       sync.Mutex
	from     zodb.TID              // arrivals are the commits after it
	arrivals []arrival             // in order
	readings []reading             // what loads and the cache said
	unions   []union               // what getInvalidations said
	refusals []refusal             // what conflicts said
	replaced map[zodb.OID]zodb.TID // objects named by arrivals, and by which
	cache    cache
	lost     bool
	trail    trail
}

// Mark is what a client knows when it sends a call.
type Mark struct {
	View     zodb.TID // of the session
	Finished zodb.TID // the largest tid in a finish reply that anybody has received
	At       int64    // nanoseconds on the checker's clock
}

// arrival is a commit that the session was told of.
type arrival struct {
	tid  zodb.TID
	oids uint64  // digest of the set, 0 if mine
	mine StateID // whose finish reply it is, 0 for an invalidation
}

// union is an answer of getInvalidations.
type union struct {
	since, last zodb.TID
	oids        uint64
	count       int
}

// refusal is a conflict: a read of the object's current serial under its lock.
type refusal struct {
	oid          zodb.OID
	committed    zodb.TID
	call, answer int64
}

// Join opens the session of a connection whose register was answered with last.
// before is the client's previous session, whose cache it keeps; nil for a new
// client.
func (c *Checker) Join(name string, last zodb.TID, before *Session) *Session {
	s := &Session{c: c, name: name, from: last, replaced: make(map[zodb.OID]zodb.TID), cache: newCache()}
	s.view.Store(uint64(last))
	s.note("register", 0, last, 0)
	if before != nil {
		s.cache = before.handOver()
		if last < before.View() {
			c.Report(RuleBehind, s, "the server came back at %v, but had told this client of %v", last, before.View())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = append(c.sessions, s)
	return s
}

// handOver ends the session and gives its cache away.
func (s *Session) handOver() cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
	old := s.cache
	s.cache = newCache()
	if old.verified { // else it is as old as it was
		old.since = s.View()
	}
	old.verified = false
	return old
}

// Since returns the commit after which the client does not know what changed: what it
// has to ask for before it may use the cache that it brought along.
func (s *Session) Since() zodb.TID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache.since
}

// Lost says that the connection is no more: nothing else will arrive.
func (s *Session) Lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
}

// View returns the last commit that the session was told of.
func (s *Session) View() zodb.TID { return zodb.TID(s.view.Load()) }

// Name returns the name given to Join.
func (s *Session) Name() string { return s.name }

// Mark returns what the client knows now.
func (s *Session) Mark() Mark {
	return Mark{View: s.View(), Finished: zodb.TID(s.c.finished.Load()), At: s.c.opts.Now()}
}

// Invalidated takes an invalidateTransaction.
func (s *Session) Invalidated(tid zodb.TID, oids []zodb.OID) {
	s.note("invalidate", 0, tid, zodb.TID(len(oids)))
	s.advance(tid, "invalidation")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals = append(s.arrivals, arrival{tid: tid, oids: digestOIDs(oids)})
	s.replace(tid, oids)
}

// replace notes that tid made revisions of the oids. s.mu is held.
func (s *Session) replace(tid zodb.TID, oids []zodb.OID) {
	for _, oid := range oids {
		s.replaced[oid] = tid
		if serial, ok := s.cache.invalidate(oid, tid); ok {
			s.readings = append(s.readings, reading{kind: closed, oid: oid, serial: serial, next: tid})
		}
	}
}

// advance moves the view to a commit that must come after it.
func (s *Session) advance(tid zodb.TID, what string) {
	if view := s.View(); tid <= view {
		s.c.Report(RuleOrder, s, "%s %v came after %v", what, tid, view)
		return
	}
	s.view.Store(uint64(tid))
}

// within checks that a reply shows nothing newer than the view.
func (s *Session) within(tid zodb.TID, what string) {
	if view := s.View(); tid > view {
		s.c.Report(RuleAhead, s, "%s shows %v, but the connection was told only up to %v", what, tid, view)
	}
}

// Told takes the answer of lastTransaction.
func (s *Session) Told(m Mark, last zodb.TID) {
	s.note("lastTransaction", 0, last, 0)
	s.within(last, "lastTransaction")
	if last < m.View {
		s.c.Report(RuleBehind, s, "lastTransaction is %v, but the client knew %v when it asked", last, m.View)
	}
}

// Ponged takes the answer of a ping.
func (s *Session) Ponged(m Mark) {
	s.note("ping", 0, m.Finished, 0)
	if view := s.View(); view < m.Finished {
		s.c.Report(RuleBehind, s, "a ping was answered at view %v, but %v was finished before it was sent", view, m.Finished)
	}
}

// Conflicted takes a conflict on a vote: as an error, or for the client to merge.
func (s *Session) Conflicted(m Mark, oid zodb.OID, committed zodb.TID) {
	s.note("conflict", oid, committed, 0)
	s.within(committed, "a conflict")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, refusal{oid, committed, m.At, s.c.opts.Now()})
}

// Finished takes the answer of tpc_finish.
func (s *Session) Finished(in *Intent, tid zodb.TID) {
	s.note("finish", 0, tid, 0)
	s.advance(tid, "the finish reply")
	if tid <= in.floor {
		s.c.Report(RuleRealTime, s, "%v committed as %v, but %v was finished before its vote was sent", in.Label.ID, tid, in.floor)
	}
	s.c.mu.Lock()
	in.tid, in.doneAt = tid, s.c.opts.Now()
	s.c.mu.Unlock()
	s.mu.Lock()
	s.arrivals = append(s.arrivals, arrival{tid: tid, mine: in.Label.ID})
	s.replace(tid, in.Undone)
	for _, w := range in.Writes {
		s.replace(tid, []zodb.OID{w.OID})
		s.cache.store(w.OID, tid)
	}
	s.mu.Unlock()
	s.c.finish(tid)
}

// Invalidations takes an answer of getInvalidations(since) that was not None.
// The oids leave the cache, as a client's verification has it.
func (s *Session) Invalidations(m Mark, since, last zodb.TID, oids []zodb.OID) {
	s.note("getInvalidations", 0, since, last)
	s.within(last, "getInvalidations")
	if last < m.View {
		s.c.Report(RuleBehind, s, "getInvalidations goes to %v, but the client knew %v when it asked", last, m.View)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unions = append(s.unions, union{since, last, digestOIDs(oids), len(oids)})
	if !s.cache.verified {
		s.cache.verify(oids)
	}
}

// DropCache takes an answer of getInvalidations that was None: the server does
// not know, and the client has to forget everything.
func (s *Session) DropCache() {
	s.note("getInvalidations", 0, 0, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache = newCache()
}

// digestOIDs names a set of oids, whatever their order.
func digestOIDs(oids []zodb.OID) uint64 {
	sorted := slices.Clone(oids)
	slices.SortFunc(sorted, cmp.Compare[zodb.OID])
	h := uint64(len(sorted))
	for _, oid := range slices.Compact(sorted) {
		h = mix(h ^ uint64(oid))
	}
	return h
}
