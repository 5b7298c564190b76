package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

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
	x.hub.expect(t.token, finish{session: x, txn: t, msgID: id})
	x.phase(func() { x.runFinish(id, t) })
	return nil, errAnswered
}

func (x *session) runFinish(id wire.RawID, t *transaction) {
	began := x.server.opts.Clock()
	t.stopTimer()
	tid, err := t.txn.Finish(context.Background(), nil)
	unpublished := x.hub.unexpect(t.token)
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
	if unpublished && !planted.FinishReplyLate {
		x.close(errOutOfTurn)
		return
	}
	took := x.server.opts.Clock().Sub(began)
	x.hub.stats.finish.Observe(took.Seconds())
	if took > x.server.opts.SlowCommit {
		x.log().Warn("slow commit", "tid", tid, "took", took)
	}
}

// errOutOfTurn says that a commit turned out to be one of this server only after it was
// published as somebody's: the storage had lost touch with its own server meanwhile.
// Its place among the invalidations is past, and the client learns the outcome anew.
var errOutOfTurn = errors.New("the commit was published without its answer")

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
