package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// lookingResolver lets every check pass for which look returns true, and merges nothing.
type lookingResolver struct {
	look func(t store.Pending, oid zodb.OID) bool
}

func (lookingResolver) Resolve(_, _, _ []byte) ([]byte, bool) { return nil, false }

func (r lookingResolver) ForTxn(t store.Pending) store.TxnMerger { return lookingMerger{r, t} }

type lookingMerger struct {
	lookingResolver
	txn store.Pending
}

func (m lookingMerger) Passes(oid zodb.OID) bool { return m.look(m.txn, oid) }

func (m lookingMerger) Merge(base, committed, wanted []byte) ([]byte, bool) {
	return append([]byte("merged "), wanted...), string(base) == "node"
}

// checking begins a transaction that writes object 1 and wants object 2 as it was at
// serial.
func checking(t *testing.T, s *store.Store, base, serial zodb.TID) zodb.Txn {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(txn.Abort)
	if err := txn.Store(t.Context(), 1, base, []byte("written")); err != nil {
		t.Fatal(err)
	}
	if err := txn.CheckCurrent(t.Context(), 2, serial); err != nil {
		t.Fatal(err)
	}
	return txn
}

// TestChecksMayPass: the resolver sees the transaction and the revisions, and decides.
func TestChecksMayPass(t *testing.T) {
	passes := true
	r := lookingResolver{look: func(p store.Pending, oid zodb.OID) bool {
		serial, ok := p.Check(2)
		old, err := p.Revision(2, serial)
		now, err2 := p.Current(2)
		if oid != 2 || !ok || string(old) != "old" || string(now) != "new" || errors.Join(err, err2) != nil {
			t.Errorf("check of %v: %v, %q, %q, %v, %v", oid, ok, old, now, err, err2)
		}
		if base, data, ok := p.Write(1); len(p.Written()) != 1 || base == 0 || string(data) != "written" || !ok {
			t.Errorf("writes: %v, %v, %q, %v", p.Written(), base, data, ok)
		}
		if _, _, ok := p.Write(2); ok {
			t.Error("it writes what it only checks")
		}
		if _, err := p.Revision(2, serial+1); err == nil {
			t.Error("a revision that is not there")
		}
		return passes
	}}
	s, _ := open(t, store.Options{Resolver: r})
	base, serial := commit(t, s, 1, 0, "base"), commit(t, s, 2, 0, "old")
	commit(t, s, 2, serial, "new")
	txn := checking(t, s, base, serial)
	if votes, err := txn.Vote(t.Context()); err != nil || len(votes.Conflicts) > 0 {
		t.Fatalf("the check does not pass: %+v, %v", votes, err)
	}
	txn.Abort()
	passes = false
	_, err := checking(t, s, base, serial).Vote(t.Context())
	if c, ok := errors.AsType[*zodb.ConflictError](err); !ok || !c.Check || c.OID != 2 {
		t.Errorf("refused, but: %v", err)
	}
}

// TestCurrentStays: what a resolver has seen as current does not change before the
// transaction ends, and what somebody is about to change is not shown as current.
func TestCurrentStays(t *testing.T) {
	var seen error
	r := lookingResolver{look: func(p store.Pending, _ zodb.OID) bool {
		_, seen = p.Current(3)
		return seen == nil
	}}
	s, _ := open(t, store.Options{Resolver: r, LockWait: time.Millisecond})
	base, serial, third := commit(t, s, 1, 0, "base"), commit(t, s, 2, 0, "old"), commit(t, s, 3, 0, "x")
	commit(t, s, 2, serial, "new")

	other := voted(t, s, 3, third, "y")
	if _, err := checking(t, s, base, serial).Vote(t.Context()); err == nil || seen == nil {
		t.Errorf("shown as current while another is about to change it: %v, %v", err, seen)
	}
	other.Abort()

	txn := checking(t, s, base, serial)
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	late, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Abort()
	if err := late.Store(t.Context(), 3, third, []byte("z")); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Vote(t.Context()); err == nil {
		t.Error("it changed before the transaction ended")
	}
	if _, err := txn.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	commit(t, s, 3, third, "z")
}

// TestMergesInTxn: the merge that sees the transaction is asked first; a transaction that
// votes again, when its client has merged, is not one that is known.
func TestMergesInTxn(t *testing.T) {
	r := lookingResolver{look: func(store.Pending, zodb.OID) bool { return true }}
	s, _ := open(t, store.Options{Resolver: r})
	node, plain := commit(t, s, 1, 0, "node"), commit(t, s, 2, 0, "plain")
	commit(t, s, 1, node, "other")
	now := commit(t, s, 2, plain, "other")
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	ctx := context.Background()
	if err := errors.Join(txn.Store(ctx, 1, node, []byte("ours")), txn.Store(ctx, 2, plain, []byte("ours"))); err != nil {
		t.Fatal(err)
	}
	votes, err := txn.Vote(ctx)
	if err != nil || len(votes.Resolved) != 1 || len(votes.Conflicts) != 1 || votes.Conflicts[0].OID != 2 {
		t.Fatalf("%+v, %v", votes, err)
	}
	if err := errors.Join(txn.Store(ctx, 2, now, []byte("merged by the client")), txn.CheckCurrent(ctx, 3, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(ctx); err == nil {
		t.Error("a check passes in the second vote")
	}
}
