package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// txnState is how far a client's transaction has come.
type txnState int

const (
	txnOpen     txnState = iota
	txnVoting            // a goroutine votes
	txnConflict          // the client merges; locks are held
	txnVoted
	txnOver
)

// transaction is a client's open transaction.
type transaction struct {
	id      int64 // the client's name for it
	txn     zodb.Txn
	token   zodb.Token
	ctx     context.Context
	cancel  context.CancelFunc
	session *session

	mu    sync.Mutex
	st    txnState
	done  chan struct{} // closed when the vote under way has ended
	timer *time.Timer   // the transaction timeout
	voted time.Time     // when the locks were got
}

func (t *transaction) state() txnState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.st
}

// abort ends the transaction, and a vote under way first.
func (t *transaction) abort() {
	t.cancel()
	t.mu.Lock()
	done := t.done
	t.mu.Unlock()
	if done != nil {
		<-done
	}
	t.over()
	t.txn.Abort()
}

// over stops what watches the transaction.
func (t *transaction) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.st = txnOver
	if t.timer != nil {
		t.timer.Stop()
	}
	t.session.hub.stats.unlocked(t)
	t.cancel()
}

// endTransaction forgets the session's transaction, which is over.
func (x *session) endTransaction() {
	x.txn = nil
	x.voting.Store(false)
	x.hub.stats.active.Add(-1)
	x.server.transactionEnded()
}

// current returns the open transaction that the client names in argument i.
func (x *session) current(m *wire.Message, i int) (*transaction, error) {
	if x.readOnly {
		return nil, zodb.ErrReadOnly
	}
	x.dropFailed()
	if id, err := m.Int(i); err != nil || x.txn == nil || x.txn.id != id {
		return nil, &zodb.TxnError{Op: "transaction", State: "not the current one"}
	}
	return x.txn, nil
}

// dropFailed forgets a transaction whose vote failed.
func (x *session) dropFailed() {
	if x.txn != nil && x.txn.state() == txnOver {
		x.endTransaction()
	}
}

// tpcBegin(id, user, description, extension, tid=None, status=' ', token=None). Only
// Zari's client sends a token, where get_info says zari_tokens.
func tpcBegin(x *session, m *wire.Message) (any, error) {
	if x.readOnly {
		return nil, zodb.ErrReadOnly
	}
	if x.server.isDraining() {
		return nil, errDraining
	}
	id, err := m.Int(0)
	if err != nil {
		return nil, err
	}
	x.dropFailed()
	if x.txn != nil {
		if x.txn.id == id {
			return nil, nil // Python's server ignores a repeated begin
		}
		return nil, &zodb.TxnError{Op: "tpc_begin", State: "another one: one client has one transaction at a time"}
	}
	meta, err := txnMeta(m)
	if err != nil {
		return nil, err
	}
	if meta.Token == (zodb.Token{}) {
		meta.Token = x.server.tokens.Next()
	}
	txn, err := x.hub.storage.Begin(x.ctx, meta)
	if err != nil {
		return nil, err
	}
	t := &transaction{id: id, txn: txn, token: meta.Token, session: x}
	t.ctx, t.cancel = context.WithCancel(x.ctx)
	x.txn = t
	x.hub.stats.active.Add(1)
	return nil, nil
}

func txnMeta(m *wire.Message) (meta zodb.TxnMeta, err error) {
	if meta.User, err = m.TextOrBytes(1); err != nil {
		return meta, err
	}
	if meta.Description, err = m.TextOrBytes(2); err != nil {
		return meta, err
	}
	if meta.Extension, err = m.Extension(3); err != nil {
		return meta, err
	}
	if meta.TID, err = m.OptTID(4); err != nil {
		return meta, err
	}
	if !m.IsNone(5) {
		status, err := m.TextOrBytes(5)
		if err != nil || len(status) != 1 {
			return meta, typeError("status is one character")
		}
		meta.Status = status[0]
	}
	if !m.IsNone(6) {
		meta.Token, err = tokenArg(m, 6)
	}
	return meta, err
}

func tokenArg(m *wire.Message, i int) (token zodb.Token, err error) {
	b, err := m.Bytes(i)
	if err != nil || len(b) != len(token) {
		return token, typeError("a token is %d bytes", len(token))
	}
	copy(token[:], b)
	return token, nil
}

// outcome(token): the tid of a transaction, or None if it is known not to be
// committed. Only Zari's client asks.
func outcome(x *session, m *wire.Message) (any, error) {
	o, ok := zodb.As[zodb.Outcomer](x.hub.storage)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	token, err := tokenArg(m, 0)
	if err != nil {
		return nil, err
	}
	tid, err := o.Outcome(x.ctx, token)
	if err != nil || tid == 0 {
		return nil, err
	}
	return tid, nil
}
