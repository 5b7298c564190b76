package store

import (
	"context"
	"sync"
	"time"

	"github.com/zaridb/zari/zodb"
)

// wholeStorage is the lock that every vote shares and a restore takes alone. No
// object has this oid.
const wholeStorage = ^zodb.OID(0)

// lockMode is how an object is locked.
type lockMode bool

const (
	shared    lockMode = false
	exclusive lockMode = true
)

// lockTable is the queue of lock requests of each object.
//
// A request stands in the queues of all its objects. It may go where everything
// before it is shared and it is shared too, or where it is first; it is granted
// when it may go everywhere. All queues are entered in one step under mu, so the
// oldest request in the table can always be granted: there is no deadlock.
type lockTable struct {
	mu      sync.Mutex
	queues  map[zodb.OID][]*lockEntry
	waiting int // requests not granted yet
}

// lockRequest is one owner's entries.
type lockRequest struct {
	entries map[zodb.OID]*lockEntry
	blocked int           // entries that may not go yet
	granted chan struct{} // closed when blocked has become 0
}

type lockEntry struct {
	req  *lockRequest
	mode lockMode
	free bool // may go
}

func newLockTable() *lockTable {
	return &lockTable{queues: make(map[zodb.OID][]*lockEntry)}
}

// lock queues for all objects and waits until it has them. On an error it holds
// nothing and is in no queue. waited tells whether it had to wait.
func (t *lockTable) lock(ctx context.Context, modes map[zodb.OID]lockMode, limit time.Duration) (req *lockRequest, waited bool, err error) {
	t.mu.Lock()
	req = t.enqueue(modes)
	if req.blocked == 0 {
		t.mu.Unlock()
		return req, false, nil
	}
	t.waiting++
	t.mu.Unlock()

	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-req.granted:
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = errLockTimeout
	}
	t.mu.Lock()
	t.waiting--
	t.mu.Unlock()
	if err != nil {
		t.release(req)
		return nil, true, err
	}
	return req, true, nil
}

// enqueue enters the queues of all objects. t.mu is held.
func (t *lockTable) enqueue(modes map[zodb.OID]lockMode) *lockRequest {
	req := &lockRequest{entries: make(map[zodb.OID]*lockEntry, len(modes)), granted: make(chan struct{})}
	slab := make([]lockEntry, len(modes))
	i := 0
	for oid, mode := range modes {
		e := &slab[i]
		i++
		e.req, e.mode = req, mode
		e.free = mayJoin(t.queues[oid], mode)
		if !e.free {
			req.blocked++
		}
		t.queues[oid] = append(t.queues[oid], e)
		req.entries[oid] = e
	}
	return req
}

// mayJoin reports whether a new entry may go at once behind those in the queue.
func mayJoin(queue []*lockEntry, mode lockMode) bool {
	if mode == exclusive {
		return len(queue) == 0
	}
	for _, e := range queue {
		if e.mode == exclusive {
			return false
		}
	}
	return true
}

// tryExtend adds locks to a request that holds its others already. It reports
// false, and adds none, if one of them is not free: waiting while holding would
// invite deadlocks.
func (t *lockTable) tryExtend(req *lockRequest, modes map[zodb.OID]lockMode) (zodb.OID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for oid, mode := range modes {
		if have := req.entries[oid]; have != nil {
			if mode == exclusive && have.mode == shared && len(t.queues[oid]) > 1 {
				return oid, false
			}
			continue
		}
		if !mayJoin(t.queues[oid], mode) {
			return oid, false
		}
	}
	for oid, mode := range modes {
		if have := req.entries[oid]; have != nil {
			have.mode = have.mode || mode
			continue
		}
		e := &lockEntry{req: req, mode: mode, free: true}
		t.queues[oid] = append(t.queues[oid], e)
		req.entries[oid] = e
	}
	return 0, true
}

// release leaves all queues, and grants what may go now.
func (t *lockTable) release(req *lockRequest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for oid, e := range req.entries {
		queue := remove(t.queues[oid], e)
		if len(queue) == 0 {
			delete(t.queues, oid)
			continue
		}
		t.queues[oid] = queue
		advance(queue)
	}
	req.entries = nil
}

func remove(queue []*lockEntry, e *lockEntry) []*lockEntry {
	for i := range queue {
		if queue[i] == e {
			copy(queue[i:], queue[i+1:])
			queue[len(queue)-1] = nil
			return queue[:len(queue)-1]
		}
	}
	return queue
}

// advance frees the entries at the head of a queue that may go.
func advance(queue []*lockEntry) {
	for i, e := range queue {
		if e.mode == exclusive && i > 0 {
			return
		}
		if !e.free {
			e.free = true
			e.req.blocked--
			if e.req.blocked == 0 {
				close(e.req.granted)
			}
		}
		if e.mode == exclusive {
			return
		}
	}
}

// counts returns how many objects are locked or queued for, and how many
// requests wait.
func (t *lockTable) counts() (objects, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	objects = len(t.queues)
	if _, ok := t.queues[wholeStorage]; ok {
		objects--
	}
	return objects, t.waiting
}
