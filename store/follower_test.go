package store_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// handle is one server's way to a shared database, of which a test holds parts back.
type handle struct {
	*memstorage.Handle
	mu       sync.Mutex
	changes  func(changes []zodb.Change, head zodb.TID) ([]zodb.Change, zodb.TID, error) // the answer is passed through it
	returns  func()                                                                      // before Commit returns
	settle   error
	readOnly bool
}

func (h *handle) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *handle) ReadOnly() bool { return h.readOnly }

func (h *handle) Changes(ctx context.Context, after zodb.TID) ([]zodb.Change, zodb.TID, error) {
	changes, head, err := h.Handle.Changes(ctx, after)
	h.mu.Lock()
	f := h.changes
	h.mu.Unlock()
	if f != nil && err == nil {
		return f(changes, head)
	}
	return changes, head, err
}

func (h *handle) Lock(ctx context.Context, written, read []zodb.OID, wait time.Duration) (store.Lock, error) {
	l, err := h.Handle.Lock(ctx, written, read, wait)
	return &heldLock{l, h}, err
}

type heldLock struct {
	store.Lock
	handle *handle
}

func (l *heldLock) Commit(ctx context.Context, batch []*txnlog.Txn) (int, error) {
	n, err := l.Lock.Commit(ctx, batch)
	l.handle.mu.Lock()
	f := l.handle.returns
	l.handle.mu.Unlock()
	if f != nil {
		f()
	}
	return n, err
}

func (l *heldLock) Settle(ctx context.Context) (int, error) {
	l.handle.mu.Lock()
	err := l.handle.settle
	l.handle.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return l.Lock.Settle(ctx)
}

// sharing opens n Stores on one database.
func sharing(t *testing.T, n int, opts memstorage.Options, f memstorage.Faults) (stores []*store.Store, handles []*handle) {
	t.Helper()
	db := memstorage.NewShared(opts, nil, f)
	for range n {
		h := &handle{Handle: db.Open()}
		s, err := store.Open(t.Context(), h, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		stores, handles = append(stores, s), append(handles, h)
	}
	return stores, handles
}

// told is what a connection is told, in order.
type told struct {
	mu   sync.Mutex
	list []zodb.Change
	own  []zodb.TID
}

func listen(t *testing.T, s *store.Store) *told {
	x := new(told)
	_, stop := s.Observe(func(c zodb.Change) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.list = append(x.list, c)
	})
	t.Cleanup(stop)
	return x
}

func (x *told) committed(tid zodb.TID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.own = append(x.own, tid)
}

func (x *told) all() []zodb.Change {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.list)
}

func (x *told) owned() []zodb.TID {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.own)
}

func (x *told) tids() (tids []zodb.TID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.list {
		tids = append(tids, c.TID)
	}
	return tids
}

// An own commit is not shown before a foreign one with a lower tid, though that is heard
// of later.
func TestForeignCommitsComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := sharing(t, 2, memstorage.Options{}, memstorage.Faults{})
		slow := make(chan struct{})
		h[1].set(func() {
			h[1].changes = func(c []zodb.Change, head zodb.TID) ([]zodb.Change, zodb.TID, error) { <-slow; return c, head, nil }
		})
		heard := listen(t, s[1])
		first := put(t, s[0], 1, 0, "theirs")
		done := make(chan zodb.TID, 1)
		txn := voted(t, s[1], 2, 0, "ours")
		go func() {
			tid, err := txn.Finish(context.Background(), heard.committed)
			if err != nil {
				t.Error(err)
			}
			done <- tid
		}()
		synctest.Wait()
		if len(heard.tids()) > 0 || len(heard.owned()) > 0 || s[1].LastTID() != 0 {
			t.Fatalf("told of %v, own %v, before it is known what came before", heard.tids(), heard.owned())
		}
		if _, err := s[1].LoadBefore(t.Context(), 2, zodb.MaxTID); err == nil {
			t.Error("a load sees what is not published")
		}
		close(slow)
		second := <-done
		if !slices.Equal(heard.tids(), []zodb.TID{first, second}) || !slices.Equal(heard.owned(), []zodb.TID{second}) {
			t.Errorf("told of %v, own %v; want %v and %v", heard.tids(), heard.owned(), first, second)
		}
	})
}

// The changes may list an own commit before Commit has returned its tid, or, where the
// medium forgets, only what has overwritten it: it is waited for.
func TestOwnCommitIsListedBeforeItReturns(t *testing.T) {
	for _, free := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, h := sharing(t, 2, memstorage.Options{HistoryFree: free}, memstorage.Faults{})
			back := make(chan struct{})
			h[0].set(func() { h[0].returns = func() { <-back } })
			heard := listen(t, s[0])
			txn := voted(t, s[0], 1, 0, "ours")
			done := make(chan zodb.TID, 1)
			go func() {
				tid, _ := txn.Finish(context.Background(), heard.committed)
				done <- tid
			}()
			synctest.Wait()
			ours := s[1].LastTID()
			put(t, s[1], 2, 0, "theirs")
			last := put(t, s[1], 1, ours, "over ours")
			synctest.Wait()
			if len(heard.tids()) > 0 {
				t.Errorf("told of %v while the own commit is in flight", heard.tids())
			}
			close(back)
			if tid := <-done; tid != ours {
				t.Errorf("Finish: %v, want %v", tid, ours)
			}
			synctest.Wait()
			if got := heard.tids(); got[0] != ours || got[len(got)-1] != last || !slices.Equal(heard.owned(), []zodb.TID{ours}) {
				t.Errorf("told of %v, own %v; want %v first, and %v last", got, heard.owned(), ours, last)
			}
		})
	}
}

// Of a medium that forgets, what others did between two own commits is one change: each
// alone may be incomplete, or have been overwritten as a whole.
func TestChangesOfOthersAreOne(t *testing.T) {
	for name, test := range map[string]struct{ before, after, told []zodb.OID }{ // the own commit
		"incomplete":  {[]zodb.OID{1, 3}, []zodb.OID{2, 3}, []zodb.OID{1, 2, 3}},
		"overwritten": {[]zodb.OID{3}, []zodb.OID{3}, []zodb.OID{3}},
		"nothing":     {nil, []zodb.OID{3}, []zodb.OID{3}}, // which cannot be told apart
	} {
		t.Run(name, func(t *testing.T) { testChangesOfOthersAreOne(t, test.before, test.after, test.told) })
	}
}

func testChangesOfOthersAreOne(t *testing.T, before, after, told []zodb.OID) {
	synctest.Test(t, func(t *testing.T) {
		s, h := sharing(t, 2, memstorage.Options{HistoryFree: true}, memstorage.Faults{})
		slow := make(chan struct{})
		h[0].set(func() {
			h[0].changes = func(c []zodb.Change, head zodb.TID) ([]zodb.Change, zodb.TID, error) {
				if len(c) > 0 {
					<-slow
				}
				return c, head, nil
			}
		})
		heard := listen(t, s[0])
		two := func(oids ...zodb.OID) zodb.TID {
			txn, _ := s[1].Begin(t.Context(), zodb.TxnMeta{})
			for _, oid := range oids {
				rec, _ := s[1].LoadBefore(t.Context(), oid, zodb.MaxTID)
				txn.Store(t.Context(), oid, rec.Serial, []byte("x"))
			}
			if _, err := txn.Vote(t.Context()); err != nil {
				t.Fatal(err)
			}
			tid, err := txn.Finish(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return tid
		}
		first := two(1, 2)
		synctest.Wait() // the answer that holds only this one is held back
		done := make(chan zodb.TID, 1)
		if before != nil {
			two(before...)
		}
		time.Sleep(time.Millisecond)
		txn := voted(t, s[0], 9, 0, "ours")
		go func() {
			tid, _ := txn.Finish(context.Background(), heard.committed)
			done <- tid
		}()
		synctest.Wait()
		last := two(after...)
		close(slow)
		ours := <-done
		synctest.Wait()
		want := []zodb.Change{{TID: first, OIDs: []zodb.OID{1, 2}}, {TID: ours - 1, OIDs: told}, {TID: ours, OIDs: []zodb.OID{9}}, {TID: last, OIDs: after}}
		list := heard.all()
		for i, c := range list {
			c.Token = zodb.Token{}
			if i >= len(want) || c.TID != want[i].TID || !slices.Equal(c.OIDs, want[i].OIDs) {
				t.Errorf("change %d: %v", i, c)
			}
		}
		if len(list) != len(want) {
			t.Errorf("%d changes: %v", len(list), list)
		}
	})
}

// A commit of which the medium keeps nothing is published as well.
func TestEmptySharedCommit(t *testing.T) {
	for _, free := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := sharing(t, 2, memstorage.Options{HistoryFree: free}, memstorage.Faults{})
			first := put(t, s[1], 1, 0, "theirs")
			txn, _ := s[0].Begin(t.Context(), zodb.TxnMeta{})
			if _, err := txn.Vote(t.Context()); err != nil {
				t.Fatal(err)
			}
			done := make(chan zodb.TID, 1)
			go func() {
				tid, _ := txn.Finish(context.Background(), nil)
				done <- tid
			}()
			synctest.Wait()
			if len(done) != 1 || <-done <= first {
				t.Error("Finish does not return")
			}
		})
	}
}

// A commit that the medium did not answer is settled; until then nobody votes.
func TestSharedCommitInDoubt(t *testing.T) {
	for _, f := range []memstorage.Faults{{LostReplies: 1}, {LostCommits: 1}, {LateCommits: 1}} {
		synctest.Test(t, func(t *testing.T) {
			s, h := sharing(t, 1, memstorage.Options{}, f)
			h[0].set(func() { h[0].settle = errors.New("no connection") })
			heard := listen(t, s[0])
			meta := zodb.TxnMeta{Token: zodb.Token{7}}
			txn, _ := s[0].Begin(t.Context(), meta)
			txn.Store(t.Context(), 1, 0, []byte("x"))
			if _, err := txn.Vote(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := txn.Finish(t.Context(), heard.committed); !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("Finish: %v", err)
			}
			other, _ := s[0].Begin(t.Context(), zodb.TxnMeta{})
			other.Store(t.Context(), 2, 0, []byte("y"))
			if _, err := other.Vote(t.Context()); err == nil {
				t.Error("a vote while a commit is in doubt")
			}
			time.Sleep(time.Second)
			if len(heard.tids()) != 0 || s[0].LastTID() != 0 {
				t.Errorf("published while in doubt: %v", heard.tids())
			}
			h[0].set(func() { h[0].settle = nil })
			time.Sleep(time.Minute)
			tid, err := s[0].Outcome(t.Context(), meta.Token)
			kept := f.LostCommits == 0
			if err != nil || kept != (tid != 0) || kept != slices.Equal(heard.owned(), []zodb.TID{tid}) || tid != s[0].LastTID() {
				t.Errorf("%+v: the outcome is %v, %v; the last transaction %v, told %v", f, tid, err, s[0].LastTID(), heard.owned())
			}
			txn, _ = s[0].Begin(t.Context(), zodb.TxnMeta{})
			txn.Store(t.Context(), 1, tid, []byte("z"))
			if v, err := txn.Vote(t.Context()); err != nil || len(v.Conflicts) > 0 {
				t.Errorf("the next vote: %v, %v", v, err)
			}
			txn.Abort()
		})
	}
}

// A database that has gone back stops everything.
func TestLostTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := sharing(t, 2, memstorage.Options{}, memstorage.Faults{})
		first := put(t, s[0], 1, 0, "x")
		h[0].set(func() {
			h[0].changes = func([]zodb.Change, zodb.TID) ([]zodb.Change, zodb.TID, error) { return nil, first - 1, nil }
		})
		txn := voted(t, s[0], 2, 0, "y")
		if _, err := txn.Finish(t.Context(), nil); err == nil {
			t.Error("Finish after transactions were lost")
		}
		other, _ := s[0].Begin(t.Context(), zodb.TxnMeta{})
		other.Store(t.Context(), 2, 0, []byte("y"))
		if _, err := other.Vote(t.Context()); err == nil {
			t.Error("a vote after transactions were lost")
		}
		y, _ := zodb.As[zodb.Syncer](s[0])
		if err := y.Sync(t.Context()); err == nil {
			t.Error("Sync after transactions were lost")
		}
		if s[0].LastTID() != first {
			t.Errorf("LastTID = %v", s[0].LastTID())
		}
	})
}

// What the medium does not tell delays what is published, and keeps nobody from closing.
func TestFollowerWithoutAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := sharing(t, 1, memstorage.Options{}, memstorage.Faults{})
		failing := func([]zodb.Change, zodb.TID) ([]zodb.Change, zodb.TID, error) {
			return nil, 0, errors.New("no connection")
		}
		h[0].set(func() { h[0].changes = failing })
		done := make(chan error, 1)
		finish := func(oid zodb.OID) {
			txn := voted(t, s[0], oid, 0, "x")
			go func() {
				_, err := txn.Finish(context.Background(), nil)
				done <- err
			}()
			synctest.Wait()
		}
		finish(1)
		time.Sleep(time.Minute)
		if len(done) > 0 || s[0].LastTID() != 0 {
			t.Error("published without an answer of the medium")
		}
		h[0].set(func() { h[0].changes = nil })
		if err := <-done; err != nil {
			t.Errorf("Finish when the medium answers again: %v", err)
		}
		h[0].set(func() { h[0].changes = failing })
		finish(2)
		if err := s[0].Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, zodb.ErrCommitUnknown) {
			t.Errorf("Finish of what was durable and never published: %v", err)
		}
	})
}

// Restored transactions are appended together, after whatever others have committed.
func TestSharedAppend(t *testing.T) {
	for _, free := range []bool{false, true} {
		s, _ := sharing(t, 2, memstorage.Options{HistoryFree: free}, memstorage.Faults{})
		restoring := func(s *store.Store, tid zodb.TID, data string) zodb.Txn {
			txn, err := s.Begin(t.Context(), zodb.TxnMeta{TID: tid})
			if err != nil {
				t.Fatal(err)
			}
			r, _ := zodb.As[zodb.RestoreTxn](txn)
			if err := r.Restore(t.Context(), 1, []byte(data), 0); err != nil {
				t.Fatal(err)
			}
			return txn
		}
		n, err := s[0].Append(t.Context(), []zodb.Txn{restoring(s[0], 100, "a"), restoring(s[0], 200, "b"), restoring(s[0], 300, "c")})
		if n != 3 || err != nil {
			t.Fatalf("Append: %d, %v", n, err)
		}
		if b := s[0].Stats().Batches; b != 1 {
			t.Errorf("3 transactions took %d commits of the medium", b)
		}
		n, err = s[1].Append(t.Context(), []zodb.Txn{restoring(s[1], 250, "no"), restoring(s[1], 400, "no")})
		if n != 0 || err == nil {
			t.Errorf("Append before what another server has committed: %d, %v", n, err)
		}
		n, err = s[1].Append(t.Context(), []zodb.Txn{restoring(s[1], 400, "d")})
		if n != 1 || err != nil {
			t.Errorf("Append after what another server has committed: %d, %v", n, err)
		}
		wantRecord(t, s[1], 1, zodb.MaxTID, "d", 400, 0)
		wantRecord(t, s[0], 1, 300, "b", 200, 300)
	}
}

// A server that only reads hears of what others write.
func TestFollowerReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memstorage.NewShared(memstorage.Options{}, nil, memstorage.Faults{})
		writer, err := store.Open(t.Context(), db.Open(), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
		reader, err := store.Open(t.Context(), &handle{Handle: db.Open(), readOnly: true}, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		heard := listen(t, reader)
		tid := put(t, writer, 1, 0, "x")
		synctest.Wait()
		if !slices.Equal(heard.tids(), []zodb.TID{tid}) {
			t.Errorf("told of %v", heard.tids())
		}
		wantRecord(t, reader, 1, zodb.MaxTID, "x", tid, 0)
		if _, err := reader.Begin(t.Context(), zodb.TxnMeta{}); !errors.Is(err, zodb.ErrReadOnly) {
			t.Errorf("Begin: %v", err)
		}
	})
}

// A vote says nothing of a transaction that is not published here: a client that must try
// again finds it.
func TestConflictIsSaidAfterPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := sharing(t, 2, memstorage.Options{}, memstorage.Faults{})
		first := put(t, s[0], 1, 0, "one")
		synctest.Wait()
		slow := make(chan struct{})
		h[1].set(func() {
			h[1].changes = func(c []zodb.Change, head zodb.TID) ([]zodb.Change, zodb.TID, error) { <-slow; return c, head, nil }
		})
		second := put(t, s[0], 1, first, "two")
		vote := func(check bool) chan error {
			done := make(chan error, 1)
			txn, _ := s[1].Begin(t.Context(), zodb.TxnMeta{})
			if check {
				txn.CheckCurrent(t.Context(), 1, first)
			} else {
				txn.Store(t.Context(), 1, first, []byte("three"))
			}
			go func() {
				v, err := txn.Vote(context.Background())
				if err == nil && len(v.Conflicts) > 0 {
					err = &zodb.ConflictError{OID: 1, Committed: v.Conflicts[0].Committed}
				}
				txn.Abort()
				done <- err
			}()
			synctest.Wait()
			return done
		}
		for _, check := range []bool{false, true} {
			done := vote(check)
			time.Sleep(time.Second)
			if len(done) > 0 {
				t.Errorf("the vote ended before what it conflicts with is published: %v", <-done)
			}
			if !check {
				time.Sleep(time.Minute)
				if c := new(zodb.ConflictError); !errors.As(<-done, &c) || s[1].LastTID() != first {
					t.Error("the vote did not end in time with a conflict")
				}
				continue
			}
			close(slow)
			c := new(zodb.ConflictError)
			if err := <-done; !errors.As(err, &c) || c.Committed != second || s[1].LastTID() != second {
				t.Errorf("the vote ended with %v at %v", err, s[1].LastTID())
			}
		}
	})
}

// What is locked in the medium is given up when the transaction ends in whatever way.
func TestMediumLocksAreFreed(t *testing.T) {
	s, _ := sharing(t, 2, memstorage.Options{}, memstorage.Faults{})
	first := put(t, s[0], 1, 0, "one")
	y, _ := zodb.As[zodb.Syncer](s[1])
	if err := y.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	voted(t, s[0], 1, first, "aborted").Abort()
	stale, _ := s[0].Begin(t.Context(), zodb.TxnMeta{})
	stale.CheckCurrent(t.Context(), 1, first-1)
	stale.Store(t.Context(), 5, 0, []byte("x"))
	if _, err := stale.Vote(t.Context()); err == nil {
		t.Fatal("a check of an old revision passes")
	}
	put(t, s[1], 5, 0, "free")
	second := put(t, s[1], 1, first, "two")
	if err := y.Sync(t.Context()); err != nil || s[1].LastTID() != second {
		t.Errorf("Sync: %v, at %v", err, s[1].LastTID())
	}
}
