package memstorage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Shared is a database in memory that several servers have open at a time, each by a
// handle of its own. It is the specification of store.Locker and store.Follower: locks
// belong to sessions, which end when a transaction does, or are lost; one lock for
// commits makes the order of tids that in which transactions become visible.
type Shared struct {
	data   *Engine
	clock  store.Clock
	faults *faults

	commit sync.Mutex // the lock for commits
	last   zodb.TID   // the largest tid given, under that lock

	mu      sync.Mutex
	objects map[zodb.OID]*objectLock
	freed   chan struct{} // closed when a lock is given up
	lastOID zodb.OID
	commits uint64        // counts them
	news    chan struct{} // closed at the next one
}

// objectLock is who has an object locked: one for writing, or some for reading.
type objectLock struct {
	writer  *session
	readers map[*session]bool
}

// session is a connection to the database that holds locks.
type session struct {
	shared *Shared
	held   map[zodb.OID]bool // true: for writing
	lost   bool
}

// NewShared returns an empty database. clock gives the times of tids; nil is time.Now.
func NewShared(opts Options, clock store.Clock, f Faults) *Shared {
	if clock == nil {
		clock = time.Now
	}
	s := &Shared{
		data: New(opts), clock: clock, faults: newFaults(f),
		objects: make(map[zodb.OID]*objectLock), freed: make(chan struct{}), news: make(chan struct{}),
	}
	rand.Read(s.data.meta.UUID[:])
	return s
}

// Open returns an engine over the database, for one server.
func (s *Shared) Open() *Handle {
	return &Handle{Engine: s.data, shared: s, sessions: make(map[*session]bool)}
}

// Handle is one server's way to a Shared database.
type Handle struct {
	*Engine
	shared *Shared

	mu       sync.Mutex
	closed   bool
	sessions map[*session]bool
	seen     uint64 // commits, when Changes was called last
}

var (
	_ store.Engine       = (*Handle)(nil)
	_ store.OIDAllocator = (*Handle)(nil)
	_ store.Locker       = (*Handle)(nil)
	_ store.Follower     = (*Handle)(nil)
)

// Follows implements store.Follower.
func (h *Handle) Follows() bool { return true }

// Append is not what writes to a shared database.
func (h *Handle) Append(context.Context, []*txnlog.Txn, *store.Meta) (int, error) {
	return 0, errors.New("append to a database that others write to as well, without a lock")
}

// LoadBefore implements store.Engine.
func (h *Handle) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	h.shared.faults.delay()
	return h.Engine.LoadBefore(ctx, oid, tid)
}

// Close implements store.Engine: it ends this server's sessions.
func (h *Handle) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.LoseSessions()
	return nil
}

// LoseSessions ends all sessions of this server, with what they have locked. Who held
// them does not notice.
func (h *Handle) LoseSessions() {
	h.mu.Lock()
	sessions := h.sessions
	h.sessions = make(map[*session]bool)
	h.mu.Unlock()
	for x := range sessions {
		x.end()
	}
}

// NewOIDs implements store.OIDAllocator, in blocks of 16.
func (h *Handle) NewOIDs(_ context.Context, n int) (oids []zodb.OID, err error) {
	const block = 16
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastOID > math.MaxInt64-zodb.OID(n)-block {
		return nil, errors.New("there are no oids left")
	}
	for len(oids) < n {
		for range block {
			s.lastOID++
			oids = append(oids, s.lastOID)
		}
	}
	return oids, nil
}

// RaiseOIDs implements store.OIDAllocator.
func (h *Handle) RaiseOIDs(_ context.Context, largest zodb.OID) error {
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastOID = max(s.lastOID, largest)
	return nil
}

// Changes implements store.Follower. As from a database in which they are not kept, the
// changes have no tokens.
func (h *Handle) Changes(ctx context.Context, after zodb.TID) (changes []zodb.Change, head zodb.TID, err error) {
	s := h.shared
	s.mu.Lock()
	seen := s.commits
	s.mu.Unlock()
	h.mu.Lock()
	h.seen = seen
	h.mu.Unlock()
	s.faults.delay()
	head = after
	for t, err := range h.Scan(ctx, after+1, store.Forward) {
		if err != nil {
			return nil, 0, err
		}
		c := zodb.Change{TID: t.TID, OIDs: make([]zodb.OID, len(t.Records))}
		for i := range t.Records {
			c.OIDs[i] = t.Records[i].OID
		}
		changes = append(changes, c)
		head = t.TID
	}
	s.faults.delay()
	return changes, head, nil
}

// Wait implements store.Follower.
func (h *Handle) Wait(ctx context.Context) error {
	s := h.shared
	h.mu.Lock()
	seen := h.seen
	h.mu.Unlock()
	s.mu.Lock()
	commits, news := s.commits, s.news
	s.mu.Unlock()
	if commits != seen {
		return nil
	}
	select {
	case <-news:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// told makes all who wait look for what was committed.
func (s *Shared) told() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	close(s.news)
	s.news = make(chan struct{})
}

// lock is a store.Lock.
type lock struct {
	handle  *Handle
	session *session
	serials map[zodb.OID]zodb.TID

	asked   []*txnlog.Txn // by Commit
	written []*txnlog.Txn // the same, with their tids
	durable int           // so many of them
}

// session opens a session.
func (h *Handle) session() (*session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, zodb.ErrClosed
	}
	x := &session{shared: h.shared, held: make(map[zodb.OID]bool)}
	h.sessions[x] = true
	return x, nil
}

// Lock implements store.Locker. Everybody asks for objects in the order of their oids.
func (h *Handle) Lock(ctx context.Context, written, read []zodb.OID, wait time.Duration) (store.Lock, error) {
	h.shared.faults.delay()
	x, err := h.session()
	if err != nil {
		return nil, err
	}
	l := &lock{handle: h, session: x, serials: make(map[zodb.OID]zodb.TID)}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errLockWait)
	defer cancel()
	modes := modesOf(written, read)
	for _, oid := range slices.Sorted(maps.Keys(modes)) {
		if err := x.lock(ctx, oid, modes[oid]); err != nil {
			l.Release()
			if errors.Is(err, errLockWait) {
				return nil, &zodb.ConflictError{OID: oid, Reason: err.Error()}
			}
			return nil, err
		}
	}
	l.readSerials(modes)
	if h.shared.faults.happens(h.shared.faults.LostSessions) {
		x.end()
	}
	return l, nil
}

var errLost = errors.New("the connection to the database is closed")

var errLockWait = errors.New("timed out waiting for a lock in the database")

func modesOf(written, read []zodb.OID) map[zodb.OID]bool {
	modes := make(map[zodb.OID]bool, len(written)+len(read))
	for _, oid := range read {
		modes[oid] = false
	}
	for _, oid := range written {
		modes[oid] = true
	}
	return modes
}

func (l *lock) readSerials(modes map[zodb.OID]bool) {
	e := l.handle.Engine
	e.mu.RLock()
	defer e.mu.RUnlock()
	for oid := range modes {
		l.serials[oid] = newest(e.revisions[oid])
	}
}

// lock waits for the lock of an object.
func (x *session) lock(ctx context.Context, oid zodb.OID, write bool) error {
	for {
		x.shared.mu.Lock()
		got, lost, freed := x.take(oid, write), x.lost, x.shared.freed
		x.shared.mu.Unlock()
		switch {
		case got:
			return nil
		case lost:
			return errLost
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take locks an object if that is possible now. shared.mu is held.
func (x *session) take(oid zodb.OID, write bool) bool {
	o := x.shared.objects[oid]
	if o == nil {
		o = &objectLock{readers: make(map[*session]bool)}
	}
	others := len(o.readers)
	if o.readers[x] {
		others--
	}
	switch {
	case x.lost || o.writer != nil && o.writer != x || write && others > 0:
		return false
	case write:
		o.writer = x
	default:
		o.readers[x] = true
	}
	x.shared.objects[oid] = o
	x.held[oid] = x.held[oid] || write
	return true
}

// end gives up what the session has locked.
func (x *session) end() {
	s := x.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.lost {
		return
	}
	x.lost = true
	for oid := range x.held {
		o := s.objects[oid]
		delete(o.readers, x)
		if o.writer == x {
			o.writer = nil
		}
		if o.writer == nil && len(o.readers) == 0 {
			delete(s.objects, oid)
		}
	}
	close(s.freed)
	s.freed = make(chan struct{})
}

// Serials implements store.Lock.
func (l *lock) Serials() map[zodb.OID]zodb.TID { return l.serials }

// Extend implements store.Lock.
func (l *lock) Extend(_ context.Context, written, read []zodb.OID) error {
	modes := modesOf(written, read)
	s := l.handle.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	for oid, write := range modes {
		if _, known := l.serials[oid]; known && (!write || l.session.held[oid]) {
			delete(modes, oid)
		} else if !l.session.take(oid, write) {
			return &zodb.ConflictError{OID: oid, Reason: "object is locked by another transaction"}
		}
	}
	maps.DeleteFunc(modes, func(oid zodb.OID, _ bool) bool { _, known := l.serials[oid]; return known })
	l.readSerials(modes)
	return nil
}

// Release implements store.Lock.
func (l *lock) Release() {
	l.session.end()
	l.handle.mu.Lock()
	defer l.handle.mu.Unlock()
	delete(l.handle.sessions, l.session)
}

// Commit implements store.Lock.
func (l *lock) Commit(_ context.Context, batch []*txnlog.Txn) (int, error) {
	s := l.handle.shared
	s.faults.delay()
	s.commit.Lock()
	if err := l.check(); err != nil {
		s.commit.Unlock()
		l.Release()
		return 0, err
	}
	l.asked, l.written = batch, clones(batch)
	if err := s.giveTIDs(l.written); err != nil {
		s.commit.Unlock()
		l.Release()
		return 0, err
	}
	switch {
	case s.faults.happens(s.faults.LostCommits):
		s.commit.Unlock()
		l.Release()
		return 0, fmt.Errorf("the connection broke: %w", zodb.ErrCommitUnknown)
	case s.faults.happens(s.faults.LateCommits): // the server is at it still
		time.AfterFunc(time.Millisecond+s.faults.Delay, func() { l.write() })
		return 0, fmt.Errorf("the connection broke: %w", zodb.ErrCommitUnknown)
	}
	err := l.write()
	if s.faults.happens(s.faults.LostReplies) {
		return 0, fmt.Errorf("the connection broke: %w", zodb.ErrCommitUnknown)
	}
	s.faults.delay()
	return l.tellTIDs(), err
}

// write makes the transactions durable, and gives up the lock for commits.
func (l *lock) write() (err error) {
	s := l.handle.shared
	defer s.commit.Unlock()
	l.durable, err = s.data.Append(context.Background(), l.written, nil)
	if l.durable > 0 {
		s.last = l.written[l.durable-1].TID
	}
	l.Release()
	s.told()
	return err
}

// tellTIDs tells the caller of Commit how many are durable, and with which tids.
func (l *lock) tellTIDs() (durable int) {
	for i := range l.durable {
		l.asked[i].TID = l.written[i].TID
	}
	return l.durable
}

// clones returns copies of transactions, whose tids the caller of Commit does not get if
// the answer is lost.
func clones(batch []*txnlog.Txn) []*txnlog.Txn {
	list := make([]*txnlog.Txn, len(batch))
	for i, t := range batch {
		c := *t
		list[i] = &c
	}
	return list
}

// check compares the serials once more: the session may have been lost. The lock for
// commits is held.
func (l *lock) check() error {
	e := l.handle.Engine
	e.mu.RLock()
	defer e.mu.RUnlock()
	for oid, serial := range l.serials {
		if now := newest(e.revisions[oid]); now != serial && !planted.SkipSecondCheck {
			return &zodb.ConflictError{OID: oid, Committed: now, Read: serial, Reason: "it was changed while the lock on it was lost"}
		}
	}
	return nil
}

// giveTIDs gives tids, or checks those given. The lock for commits is held.
func (s *Shared) giveTIDs(batch []*txnlog.Txn) error {
	last := s.last
	for _, t := range batch {
		if t.TID == 0 {
			t.TID = zodb.NextTID(s.clock(), last)
		}
		if t.TID <= last {
			return fmt.Errorf("transaction %v cannot be added after transaction %v, which another server has committed", t.TID, last)
		}
		last = t.TID
	}
	return nil
}

// Settle implements store.Lock. Whatever is under way holds the lock for commits.
func (l *lock) Settle(context.Context) (int, error) {
	s := l.handle.shared
	s.commit.Lock()
	defer s.commit.Unlock()
	return l.tellTIDs(), nil
}
