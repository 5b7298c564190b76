package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// waitingResolver takes wanted for the merge, but for records "slow", which it
// holds until it is released.
type waitingResolver struct{ entered, release chan struct{} }

func (r waitingResolver) Resolve(_, _, wanted []byte) ([]byte, bool) {
	if string(wanted) == "slow" {
		close(r.entered)
		<-r.release
	}
	return wanted, true
}

// undoResolver refuses what it is asked about undos.
type undoResolver struct{ waitingResolver }

func (undoResolver) ResolveUndo(_, _, _ []byte) ([]byte, bool) { return nil, false }

func commit(t *testing.T, s *store.Store, oid zodb.OID, serial zodb.TID, data string) zodb.TID {
	t.Helper()
	tid, err := voted(t, s, oid, serial, data).Finish(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

// TestMergesGoOnBesideEachOther: a merge that takes its time holds up nobody who
// writes other objects, merges or not.
func TestMergesGoOnBesideEachOther(t *testing.T) {
	r := waitingResolver{make(chan struct{}), make(chan struct{})}
	s, _ := open(t, store.Options{Resolver: r})
	base1, base2 := commit(t, s, 1, 0, "base"), commit(t, s, 2, 0, "base")
	commit(t, s, 1, base1, "theirs")
	commit(t, s, 2, base2, "theirs")
	slow, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Abort()
	if err := slow.Store(t.Context(), 1, base1, []byte("slow")); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		votes, err := slow.Vote(t.Context())
		if err == nil && len(votes.Resolved) != 1 {
			t.Errorf("the slow vote says %+v", votes)
		}
		done <- err
	}()
	<-r.entered
	commit(t, s, 2, base2, "merged beside it")
	close(r.release)
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the slow vote does not return")
	}
	if _, err := slow.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Merged; got != 2 {
		t.Errorf("%d merges were counted", got)
	}
}

// TestUndoResolver: who tells undos from stores is asked about undos.
func TestUndoResolver(t *testing.T) {
	s, _ := open(t, store.Options{Resolver: undoResolver{}})
	base := commit(t, s, 1, 0, "base")
	undone := commit(t, s, 1, base, "change")
	commit(t, s, 1, undone, "later")
	commit(t, s, 1, undone, "merged")
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	if err := txn.(zodb.UndoTxn).Undo(t.Context(), undone); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err == nil {
		t.Error("the undo was merged")
	}
}

// TestUndoThatWaitsWhileItIsPacked: an undo that waits for a lock while a pack drops
// what was before the transaction fails, and does not take the object for one that
// the transaction created.
func TestUndoThatWaitsWhileItIsPacked(t *testing.T) {
	s, _ := open(t, store.Options{})
	first := commit(t, s, 1, 0, "first")
	second := commit(t, s, 1, first, "second")
	holder := voted(t, s, 1, second, "never")
	defer holder.Abort()
	undo, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer undo.Abort()
	if err := undo.(zodb.UndoTxn).Undo(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := undo.Vote(t.Context())
		done <- err
	}()
	for s.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Pack(t.Context(), second.Time().Add(time.Second), zodb.PackOptions{NoGC: true}); err != nil {
		t.Fatal(err)
	}
	holder.Abort()
	err = <-done
	if _, ok := errors.AsType[*zodb.UndoError](err); !ok {
		t.Errorf("the vote of the undo: %v, want an *zodb.UndoError", err)
	}
}
