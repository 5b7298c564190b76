package importing

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zaridb/zari/zodb"
)

// gate knows the transactions that are under way in the journal, and can hold up
// new ones for a while.
type gate struct {
	mu     sync.Mutex
	shut   chan struct{} // not nil: new transactions wait until it is closed
	leases map[*lease]bool
	voted  int           // how many leases are of transactions that have voted
	idle   chan struct{} // not nil: closed when leases, or voted, has become empty
}

// lease is one transaction's.
type lease struct {
	gate  *gate
	voted bool
	stale bool // the transaction came too late: it must not vote
}

// enter returns a lease, nil if the import is done.
func (g *gate) enter(ctx context.Context, done func() bool) (*lease, error) {
	for {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			defer g.mu.Unlock()
			if done() {
				return nil, nil
			}
			l := &lease{gate: g}
			if g.leases == nil {
				g.leases = make(map[*lease]bool)
			}
			g.leases[l] = true
			return l, nil
		}
		g.mu.Unlock()
		select {
		case <-shut:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// vote notes that the transaction votes, and reports whether it may.
func (l *lease) vote() bool {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	if !l.stale && !l.voted && l.gate.leases[l] {
		l.voted = true
		l.gate.voted++
	}
	return !l.stale
}

// leave ends the lease. It may be called twice.
func (l *lease) leave() {
	g := l.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.leases[l] {
		return
	}
	delete(g.leases, l)
	if l.voted {
		g.voted--
	}
	g.wakeIfIdle()
}

// wakeIfIdle is called with mu held.
func (g *gate) wakeIfIdle() {
	if g.idle != nil && len(g.leases) == 0 {
		close(g.idle)
		g.idle = nil
	}
}

// close holds up new transactions and waits for those under way to end, at most
// for grace. It reports whether nothing is under way any more; otherwise the gate
// is open again. With force, what has not voted by then is told to begin again, so
// that only those are in the way who sit between vote and finish.
func (g *gate) close(ctx context.Context, grace time.Duration, force bool) bool {
	g.mu.Lock()
	g.shut = make(chan struct{})
	idle := make(chan struct{})
	g.idle = idle
	g.wakeIfIdle()
	g.mu.Unlock()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	case <-ctx.Done():
	}
	g.mu.Lock()
	g.idle = nil
	free := ctx.Err() == nil && (len(g.leases) == 0 || force && g.voted == 0)
	if free {
		for l := range g.leases {
			l.stale = true
			delete(g.leases, l)
		}
	}
	g.mu.Unlock()
	if !free {
		g.open()
	}
	return free
}

// open lets new transactions in.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// txn is a transaction in the journal.
type txn struct {
	zodb.Txn
	lease   *lease
	storage *Storage
}

var (
	_ zodb.Txn   = (*txn)(nil)
	_ zodb.Asser = (*txn)(nil)
)

// Vote votes, unless the import was completed since the transaction began: then it
// is a conflict, so that it is made again.
func (t *txn) Vote(ctx context.Context) (zodb.Votes, error) {
	if !t.lease.vote() {
		t.Txn.Abort()
		return zodb.Votes{}, &zodb.ConflictError{Reason: "the database has moved to its new place since the transaction began; try again"}
	}
	votes, err := t.Txn.Vote(ctx)
	if err != nil {
		t.lease.leave()
	}
	return votes, err
}

// Finish commits.
func (t *txn) Finish(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
	tid, err := t.Txn.Finish(ctx, committed)
	if _, wrongPhase := errors.AsType[*zodb.TxnError](err); wrongPhase {
		return tid, err
	}
	if err != nil {
		t.storage.doubt.Store(true)
	}
	t.lease.leave()
	return tid, err
}

// Abort gives the transaction up.
func (t *txn) Abort() {
	t.Txn.Abort()
	t.lease.leave()
}

// As finds the abilities of the transaction in the journal. It cannot be appended
// with others, since it is not one of theirs.
func (t *txn) As(target any) bool {
	if p, ok := target.(*zodb.UndoTxn); ok {
		return zodb.Adapt(t.Txn, p, func(u zodb.UndoTxn) zodb.UndoTxn { return undoTxn{u, t.storage} })
	}
	return zodb.PassOn(t.Txn, target)
}

// undoTxn undoes what is in the journal.
type undoTxn struct {
	zodb.UndoTxn
	storage *Storage
}

func (u undoTxn) Undo(ctx context.Context, tid zodb.TID) error {
	if tid <= u.storage.source {
		return &zodb.UndoError{TID: tid, Reason: "it is older than the import that is going on, and can be undone when that is done"}
	}
	return u.UndoTxn.Undo(ctx, tid)
}
