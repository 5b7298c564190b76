package server

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// hub stands between one storage and the connections that use it.
type hub struct {
	id       string
	storage  zodb.Storage
	recaller zodb.Recaller // of the storage; nil if it has none
	opts     *Options
	stats    *stats
	stop     func()

	mu       sync.Mutex
	view     zodb.TID // the last tid that was queued on the connections
	sessions map[*session]bool
	finishes map[zodb.Token]finish // those under way
	recent   []zodb.Change         // the invalidation queue, oldest first
	base     zodb.TID              // all changes after it are in recent

	flushing bool      // a flush of all outboxes is due
	flushed  time.Time // when the last one was

	recentMu sync.Mutex
	changed  map[zodb.OID]zodb.TID // the last change of each object in changes
	changes  []zodb.Change         // the most recent ones, oldest first
	floor    zodb.TID              // all changes after it are in changed
}

// finish is a tpc_finish whose answer the hub queues.
type finish struct {
	session *session
	txn     *transaction
	msgID   wire.RawID
}

// rememberedChanges is how many changes loads can look up to see whether an
// object changed while it was read. Loads are far shorter than that.
const rememberedChanges = 512

// Invalidations go out with the next answer to a client, or when all outboxes are
// flushed: soon after a commit that comes alone, and at a steady pace where many
// come, so that they share writes.
const (
	flushDelay = 200 * time.Microsecond
	flushPause = 10 * time.Millisecond // from one flush of all outboxes to the next
)

func newHub(id string, s zodb.Storage, opts *Options, finishSeconds prometheus.Observer) (*hub, error) {
	h := &hub{
		id: id, storage: s, opts: opts, stats: newStats(opts.Clock, finishSeconds),
		sessions: make(map[*session]bool), finishes: make(map[zodb.Token]finish),
		changed: make(map[zodb.OID]zodb.TID), stop: func() {},
	}
	h.recaller, _ = zodb.As[zodb.Recaller](s)
	w, ok := zodb.As[zodb.Watcher](s)
	if !ok {
		return nil, &zodb.OpError{Storage: id, Op: "serve", Err: errNoWatcher}
	}
	h.mu.Lock() // hold back changes until the past is in place
	defer h.mu.Unlock()
	h.view, h.stop = w.Observe(h.publish)
	h.floor, h.base = h.view, h.view
	return h, h.fillQueue()
}

// fillQueue puts the last transactions of the storage into the invalidation
// queue, so that clients need not drop their caches when a server restarts.
func (h *hub) fillQueue() error {
	it, ok := zodb.As[zodb.Iterator](h.storage)
	if !ok || h.view == 0 || h.remote() {
		return nil
	}
	for t, err := range it.Backward(context.Background(), h.view) {
		if err != nil {
			return err
		}
		h.base = t.TID - 1
		h.recent = append(h.recent, changeOf(t))
		if len(h.recent) >= h.opts.InvalidationQueueSize {
			break
		}
	}
	slices.Reverse(h.recent)
	return nil
}

// remote reports whether others commit to the storage beside this server. Then it
// is asked what changed, and not read.
func (h *hub) remote() bool {
	_, ok := zodb.As[zodb.Syncer](h.storage)
	return ok
}

// reached makes sure that a storage of another server has been there once: a client
// must not take "not reached yet" for "empty".
func (h *hub) reached(ctx context.Context) error {
	s, ok := zodb.As[zodb.Syncer](h.storage)
	if !ok || h.storage.LastTID() != 0 {
		return nil
	}
	return s.Sync(ctx)
}

func changeOf(t *zodb.Transaction) zodb.Change {
	c := zodb.Change{TID: t.TID, Token: t.Token}
	for i := range t.Records {
		c.OIDs = append(c.OIDs, t.Records[i].OID)
	}
	return c
}

// publish queues one change on every connection. The storage calls it in tid
// order, before the locks of the transaction are freed.
func (h *hub) publish(c zodb.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Missed != zodb.NothingMissed {
		h.restart(c)
		return
	}
	h.remember(c)
	h.view = c.TID
	committer, own := h.finishes[c.Token]
	delete(h.finishes, c.Token)
	var frames frameCache
	for s := range h.sessions {
		if own && s == committer.session {
			s.queueFinished(committer, c.TID)
			continue
		}
		s.queueInvalidation(c, &frames)
	}
	h.flushSoon()
}

// restart closes all connections: the storage was out of touch with its server. The
// clients come back, and ask what changed since what they were told last. (Python's
// server does the same: StorageServer._invalidateCache.)
func (h *hub) restart(c zodb.Change) {
	if c.Missed == zodb.MissedUnknown {
		h.recent, h.base = nil, c.TID
		h.forgetAll(c.TID)
	} else if len(c.OIDs) > 0 {
		h.remember(c)
	}
	h.view = c.TID
	for s := range h.sessions {
		s.out.close() // nothing more goes out that shows the new state as if it followed on the old one
		go s.close(errMissed)
	}
}

func (h *hub) forgetAll(at zodb.TID) {
	h.recentMu.Lock()
	defer h.recentMu.Unlock()
	h.changes, h.floor = nil, at
	clear(h.changed)
}

var errMissed = errors.New("the storage was out of touch with its server")

// remember keeps what getInvalidations and loads will ask for.
func (h *hub) remember(c zodb.Change) {
	h.recent = append(h.recent, c)
	if n := len(h.recent) - h.opts.InvalidationQueueSize; n > 0 {
		h.base = h.recent[n-1].TID
		h.recent = h.recent[n:]
	}
	h.recentMu.Lock()
	defer h.recentMu.Unlock()
	h.changes = append(h.changes, c)
	for _, oid := range c.OIDs {
		h.changed[oid] = c.TID
	}
	if len(h.changes) > rememberedChanges {
		h.forget(h.changes[0])
		h.changes = h.changes[1:]
	}
}

func (h *hub) forget(c zodb.Change) {
	h.floor = c.TID
	for _, oid := range c.OIDs {
		if h.changed[oid] == c.TID {
			delete(h.changed, oid)
		}
	}
}

// changedSince reports whether the object may have changed after tid.
func (h *hub) changedSince(oid zodb.OID, tid zodb.TID) bool {
	h.recentMu.Lock()
	defer h.recentMu.Unlock()
	return tid < h.floor || h.changed[oid] > tid
}

// flushSoon makes the writers send what was queued, unless an answer takes it
// along before. h.mu is held.
func (h *hub) flushSoon() {
	if h.flushing {
		return
	}
	h.flushing = true
	time.AfterFunc(max(flushDelay, flushPause-time.Since(h.flushed)), func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.flushing, h.flushed = false, time.Now()
		if h.flushOverdue(h.flushed.Add(-flushPause)) {
			h.flushSoon()
		}
	})
}

// flushOverdue makes the writers send what waits on connections where nothing was sent
// since then, and reports whether any is left: a client that is busy gets
// invalidations with its next answer. h.mu is held.
func (h *hub) flushOverdue(then time.Time) (left bool) {
	for s := range h.sessions {
		waiting, overdue := s.out.waits(then)
		if overdue {
			s.out.signal()
		}
		left = left || waiting && !overdue
	}
	return left
}

// join adds a session, which hears of all changes after the view that answer
// queues.
func (h *hub) join(s *session, answer func(view zodb.TID)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	view := h.view
	if planted.RegisterGap {
		h.mu.Unlock()
		planted.Stall()
		h.mu.Lock()
	}
	s.out.view.Store(uint64(view))
	h.sessions[s] = true
	answer(view)
}

func (h *hub) leave(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s)
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

// expect announces a finish: the hub queues its answer among the invalidations.
func (h *hub) expect(token zodb.Token, f finish) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finishes[token] = f
}

// unexpect forgets a finish. It reports whether nothing was published for it.
func (h *hub) unexpect(token zodb.Token) (unpublished bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, unpublished = h.finishes[token]
	delete(h.finishes, token)
	return unpublished
}

// answerChanges lets answer queue what changed after tid, and the tid up to which
// the connections have been told; both go together with what is on the wire. It
// reports false, and queues nothing, if the queue does not reach back to tid. As
// with Python's server tid need not be a transaction: a client's cache may say so.
func (h *hub) answerChanges(tid zodb.TID, also []zodb.OID, answer func(oids []zodb.OID, view zodb.TID)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := len(h.recent)
	for i > 0 && h.recent[i-1].TID > tid {
		i--
	}
	if reaches := i > 0 || tid != 0 && (tid == h.base || tid == h.view); !reaches {
		return false
	}
	oids := slices.Clone(also)
	for _, c := range h.recent[i:] {
		oids = append(oids, c.OIDs...)
	}
	slices.Sort(oids)
	answer(slices.Compact(oids), h.view)
	return true
}

// broadcastInfo tells all clients the length and size of the storage.
func (h *hub) broadcastInfo() {
	info := h.storage.Info()
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.sessions {
		s.out.add(func(dst []byte) []byte { return s.codec.AppendInfo(dst, info.Objects, info.Size) })
	}
	h.flushSoon()
}

// frameCache holds an invalidation encoded once for each codec that somebody
// speaks.
type frameCache struct{ pickle, msgpack []byte }

// invalidation returns the frame that tells of the change.
func (f *frameCache) invalidation(codec wire.Codec, c zodb.Change) []byte {
	frame := &f.pickle
	if codec == wire.Msgpack {
		frame = &f.msgpack
	}
	if *frame == nil {
		*frame = codec.AppendInvalidation(nil, c.TID, c.OIDs)
	}
	return *frame
}
