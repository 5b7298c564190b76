package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
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

// tpcBegin(id, user, description, extension, tid=None, status=' ')
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
	meta.Token = x.server.newToken()
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
	if meta.User, err = textOrBytes(m, 1); err != nil {
		return meta, err
	}
	if meta.Description, err = textOrBytes(m, 2); err != nil {
		return meta, err
	}
	if meta.Extension, err = m.Extension(3); err != nil {
		return meta, err
	}
	if meta.TID, err = m.OptTID(4); err != nil {
		return meta, err
	}
	if !m.IsNone(5) {
		status, err := textOrBytes(m, 5)
		if err != nil || len(status) != 1 {
			return meta, typeError("status is one character")
		}
		meta.Status = status[0]
	}
	return meta, nil
}

// storea(oid, serial, data, id)
func storea(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 3)
	if err != nil {
		return nil, err
	}
	x.hub.stats.stores.Add(1)
	oid, serial, err := oidSerial(m)
	if err != nil {
		return nil, err
	}
	data, err := textOrBytes(m, 2)
	if err != nil {
		return nil, err
	}
	return nil, t.txn.Store(t.ctx, oid, serial, data)
}

// deleteObject(oid, serial, id)
func deleteObject(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 2)
	if err != nil {
		return nil, err
	}
	d, ok := zodb.As[zodb.DeleteTxn](t.txn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	x.hub.stats.stores.Add(1)
	oid, serial, err := oidSerial(m)
	if err != nil {
		return nil, err
	}
	return nil, d.Delete(t.ctx, oid, serial)
}

// checkCurrentSerialInTransaction(oid, serial, id)
func checkCurrent(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 2)
	if err != nil {
		return nil, err
	}
	oid, serial, err := oidSerial(m)
	if err != nil {
		return nil, err
	}
	return nil, t.txn.CheckCurrent(t.ctx, oid, serial)
}

// restorea(oid, serial, data, prev_txn, id)
func restorea(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 4)
	if err != nil {
		return nil, err
	}
	r, ok := zodb.As[zodb.RestoreTxn](t.txn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	x.hub.stats.stores.Add(1)
	oid, err := m.OID(0)
	if err != nil {
		return nil, err
	}
	data, err := m.OptBytes(2)
	if err != nil {
		return nil, err
	}
	from, err := m.OptTID(3)
	if err != nil {
		return nil, err
	}
	return nil, r.Restore(t.ctx, oid, bytes.Clone(data), from) // the frame will be overwritten
}

// undoa(transaction id, id)
func undoa(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 1)
	if err != nil {
		return nil, err
	}
	u, ok := zodb.As[zodb.UndoTxn](t.txn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	name, err := textOrBytes(m, 0)
	if err != nil {
		return nil, err
	}
	tid, err := zodb.ParseUndoID(name)
	if err != nil {
		return nil, &zodb.UndoError{Reason: "bad transaction id"}
	}
	return nil, u.Undo(t.ctx, tid)
}

// vote(id) is answered when the locks are there and the checks are done. The
// connection goes on meanwhile.
func vote(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 0)
	if err != nil {
		return nil, err
	}
	if x.server.isDraining() && t.state() == txnOpen {
		x.close(errDraining)
		return nil, errDraining
	}
	done, err := t.startVote()
	if err != nil {
		return nil, err
	}
	x.voting.Store(true)
	id := bytes.Clone(m.ID)
	x.phase(func() { x.runVote(id, t, done) })
	return nil, errAnswered
}

func (t *transaction) startVote() (done chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.st {
	case txnVoting:
		return nil, &zodb.TxnError{Op: "vote", State: "Already voting (waiting)"}
	case txnVoted:
		return nil, &zodb.TxnError{Op: "vote", State: "Already voting (locked)"}
	}
	t.st = txnVoting
	t.done = make(chan struct{})
	return t.done, nil
}

// runVote votes and answers.
func (x *session) runVote(id wire.RawID, t *transaction, done chan struct{}) {
	x.hub.stats.waiting.Add(1)
	votes, err := t.txn.Vote(t.ctx)
	x.hub.stats.waiting.Add(-1)
	if err != nil {
		x.countConflict(err)
		t.over()
		x.voting.Store(false)
		close(done)
		x.answerError(id, "vote", err)
		return
	}
	t.granted(len(votes.Conflicts) > 0)
	close(done)
	x.answer(id, x.voteResult(votes))
}

// granted notes the outcome of a vote and starts the clock at the first one.
func (t *transaction) granted(conflicts bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.st = txnVoted
	if conflicts {
		t.st = txnConflict
	}
	if !t.voted.IsZero() {
		return
	}
	x := t.session
	t.voted = x.server.opts.Clock()
	x.hub.stats.locked(t, t.voted)
	if limit := x.server.opts.TransactionTimeout; limit > 0 {
		t.timer = time.AfterFunc(limit, func() { x.timedOut(limit) })
	}
}

func (x *session) timedOut(limit time.Duration) {
	x.log().Log(context.Background(), LevelCritical, fmt.Sprintf("Transaction timeout after %d seconds", int(limit.Seconds())))
	x.close(errors.New("transaction timeout"))
}

func (x *session) countConflict(err error) {
	c, ok := errors.AsType[*zodb.ConflictError](err)
	if !ok {
		return
	}
	x.hub.stats.conflicts.Add(1)
	x.log().Info("conflict", "oid", c.OID, "committed", c.Committed, "read", c.Read, "check", c.Check)
}

// voteResult is the list of oids whose stored states differ from what was sent,
// or the list of conflicts for the client to merge.
func (x *session) voteResult(v zodb.Votes) any {
	list := make([]any, 0, max(len(v.Resolved), len(v.Conflicts)))
	for _, c := range v.Conflicts {
		x.hub.stats.conflicts.Add(1)
		x.log().Info("conflict", "oid", c.OID, "committed", c.Committed, "read", c.Read, "merge", "client")
		list = append(list, pickle.NewDict("oid", c.OID, "serials", pickle.Tuple{c.Committed, c.Read}, "data", c.Data))
	}
	if len(list) > 0 {
		return pickle.NewList(list...)
	}
	x.hub.stats.resolved.Add(int64(len(v.Resolved)))
	for _, oid := range v.Resolved {
		list = append(list, oid)
	}
	return pickle.NewList(list...)
}

// tpcFinish(id) commits. The hub queues the answer when the transaction is
// published. Once begun it ends, even if the client is gone.
func tpcFinish(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 0)
	if errors.Is(err, zodb.ErrReadOnly) {
		return nil, err
	}
	if err != nil {
		return nil, nil // Python's server says nothing about an unknown transaction
	}
	if t.state() != txnVoted {
		return nil, wire.NewPyError(wire.AssertionError, "finished called wo lock")
	}
	x.finishing.Add(1)
	x.endTransaction()
	id := bytes.Clone(m.ID)
	x.hub.expect(t.token, finish{session: x, msgID: id})
	x.phase(func() { x.runFinish(id, t) })
	return nil, errAnswered
}

func (x *session) runFinish(id wire.RawID, t *transaction) {
	began := x.server.opts.Clock()
	t.stopTimer()
	tid, err := t.txn.Finish(context.Background(), nil)
	x.hub.unexpect(t.token)
	t.over()
	x.finishing.Add(-1)
	x.server.transactionEnded()
	if planted.FinishReplyLate && err == nil {
		planted.Stall()
		x.out.add(func(dst []byte) []byte { return x.appendFinished(dst, id, tid) })
	}
	if errors.Is(err, zodb.ErrCommitUnknown) {
		x.log().Error("commit in doubt", "err", err)
		x.close(err) // the client must not take any answer for the outcome
		return
	}
	if err != nil {
		x.answerError(id, "tpc_finish", err)
		return
	}
	took := x.server.opts.Clock().Sub(began)
	x.hub.stats.finish.Observe(took.Seconds())
	if took > x.server.opts.SlowCommit {
		x.log().Warn("slow commit", "tid", tid, "took", took)
	}
}

func (t *transaction) stopTimer() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
}

// tpcAbort(id)
func tpcAbort(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 0)
	if errors.Is(err, zodb.ErrReadOnly) {
		return nil, err
	}
	if err != nil {
		return nil, nil
	}
	x.hub.stats.aborts.Add(1)
	t.abort()
	x.endTransaction()
	return nil, nil
}

// committing reports whether the session has something that Drain waits for.
func (x *session) committing() bool {
	return x.voting.Load() || x.finishing.Load() > 0
}
