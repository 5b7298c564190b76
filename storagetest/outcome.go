package storagetest

import (
	"errors"

	"github.com/zaridb/zari/zodb"
)

var outcomeGroup = group{name: "outcome", needs: []Cap{CapOutcomer}, tests: []test{
	{name: "Committed", run: testOutcomeCommitted},
	{name: "Aborted", run: testOutcomeAborted},
	{name: "Undecided", run: testOutcomeUndecided},
	{name: "Unknown", run: testOutcomeUnknown},
	{name: "Reopened", run: testOutcomeReopened},
	{name: "Passed", needs: []Cap{CapIterator, CapWatcher}, run: testOutcomePassed},
}}

func token(n byte) zodb.Token { return zodb.Token{0: 0xf0, 1: n, 15: 1} }

func (t *T) outcome(token zodb.Token) (zodb.TID, error) {
	t.Helper()
	return ability[zodb.Outcomer](t, t.S).Outcome(t.ctx, token)
}

// notCommitted checks that a transaction is not said to be committed; final is
// whether it may be said never to become so.
func (t *T) notCommitted(what string, token zodb.Token, final bool) {
	t.Helper()
	tid, err := t.outcome(token)
	switch {
	case errors.Is(err, zodb.ErrCommitUnknown) && tid == 0:
	case err == nil && tid == 0 && final:
	default:
		t.Errorf("outcome of a transaction that is %s: %v, %v", what, tid, err)
	}
}

func (t *T) named(n byte, writes ...write) zodb.Txn {
	t.Helper()
	txn := t.beginWith(zodb.TxnMeta{Token: token(n)})
	t.store(txn, writes...)
	return txn
}

func testOutcomeCommitted(t *T) {
	for i := range byte(5) {
		tid := t.end(t.named(i, write{zodb.OID(i) + 1, 0, Object(1)}))
		got, err := t.outcome(token(i))
		if err != nil || got != tid {
			t.Errorf("outcome of %v: %v, %v", tid, got, err)
		}
	}
	if got, err := t.outcome(token(0)); err != nil || got == 0 {
		t.Errorf("outcome of the first transaction, later: %v, %v", got, err)
	}
}

func testOutcomeAborted(t *T) {
	txn := t.named(1, write{1, 0, Object(1)})
	t.vote(txn)
	txn.Abort()
	t.notCommitted("aborted", token(1), true)
	tids := t.revisions(1, 2)
	txn = t.named(2, write{2, 0, Object(1)})
	t.check(txn, 1, tids[0])
	if _, err := txn.Vote(t.ctx); err == nil {
		t.Fatal("Vote with a stale check succeeds")
	}
	txn.Abort()
	t.notCommitted("refused at its vote", token(2), true)
}

// What may yet be committed is not said not to be.
func testOutcomeUndecided(t *T) {
	txn := t.named(1, write{1, 0, Object(1)})
	t.vote(txn)
	t.notCommitted("voted", token(1), false)
	tid := t.finish(txn)
	if got, err := t.outcome(token(1)); err != nil || got != tid {
		t.Errorf("outcome of %v: %v, %v", tid, got, err)
	}
}

func testOutcomeUnknown(t *T) {
	t.end(t.named(1, write{1, 0, Object(1)}))
	t.notCommitted("not known", token(99), true)
}

func testOutcomeReopened(t *T) {
	tid := t.end(t.named(1, write{1, 0, Object(1)}))
	t.named(2, write{2, 0, Object(1)}).Abort()
	t.reopen()
	got, err := t.outcome(token(1))
	if !errors.Is(err, zodb.ErrCommitUnknown) && (err != nil || got != tid) {
		t.Errorf("outcome of %v after reopening: %v, %v; want %v, or ErrCommitUnknown", tid, got, err, tid)
	}
	t.notCommitted("aborted", token(2), true)
}

// The token goes with the transaction, where it is known at all.
func testOutcomePassed(t *T) {
	var seen zodb.Change
	_, stop := ability[zodb.Watcher](t, t.S).Observe(func(c zodb.Change) { seen = c })
	t.Cleanup(stop)
	tid := t.end(t.named(7, write{1, 0, Object(1)}))
	if seen.TID != tid || seen.Token != token(7) && seen.Token != (zodb.Token{}) {
		t.Errorf("change %v with token %x, want %v with %x", seen.TID, seen.Token, tid, token(7))
	}
	if got := t.historyOf(t.S, tid, tid)[0].Token; got != token(7) && got != (zodb.Token{}) {
		t.Errorf("iterated with token %x, want %x", got, token(7))
	}
}
