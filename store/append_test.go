package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// restored returns transactions of the tids 1001 to 1000+n, each of which
// restores a revision of object 1 and makes object 1000+i.
func restored(t *testing.T, s *store.Store, n int) []zodb.Txn {
	t.Helper()
	txns := make([]zodb.Txn, n)
	for i := range txns {
		tid := zodb.TID(1001 + i)
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{TID: tid})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := zodb.As[zodb.RestoreTxn](txn)
		for _, oid := range []zodb.OID{1, zodb.OID(tid)} {
			if err := r.Restore(t.Context(), oid, fmt.Appendf(nil, "%d at %d", oid, tid), 0); err != nil {
				t.Fatal(err)
			}
		}
		txns[i] = txn
	}
	return txns
}

func TestAppendIsOneAppend(t *testing.T) {
	s, e := open(t, store.Options{})
	n, err := s.Append(t.Context(), restored(t, s, 100))
	if n != 100 || err != nil || !slices.Equal(e.batches, []int{100}) {
		t.Fatalf("Append: %d, %v, in batches of %v", n, err, e.batches)
	}
	prev := zodb.TID(0)
	for txn, err := range e.Scan(t.Context(), 0, store.Forward) {
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]zodb.TID{txn.Records[0].Prev, txn.Records[1].Prev}; got != [2]zodb.TID{prev, 0} {
			t.Errorf("transaction %v: its records follow %v, want %v and none", txn.TID, got, prev)
		}
		prev = txn.TID
	}
}

func TestAppendInPieces(t *testing.T) {
	s, e := open(t, store.Options{BatchBytes: 100})
	n, err := s.Append(t.Context(), restored(t, s, 20)) // of 22 to 24 bytes each
	if n != 20 || err != nil || !slices.Equal(e.batches, []int{4, 4, 4, 4, 4}) {
		t.Fatalf("Append: %d, %v, in batches of %v", n, err, e.batches)
	}
}

func TestFailedAppendEndsWithAPrefix(t *testing.T) {
	s, e := open(t, store.Options{BatchBytes: 100})
	full := errors.New("disk full")
	e.append = func(batch []*txnlog.Txn) error {
		if batch[0].TID > 1008 {
			return full
		}
		return nil
	}
	n, err := s.Append(t.Context(), restored(t, s, 20))
	if n != 8 || !errors.Is(err, full) || s.LastTID() != 1008 || len(e.batches) != 3 {
		t.Fatalf("Append: %d, %v; LastTID %v; batches of %v", n, err, s.LastTID(), e.batches)
	}
	e.failWith(nil)
	if _, err := voted(t, s, 5, 0, "x").Finish(t.Context(), nil); err != nil {
		t.Errorf("the next commit: %v", err)
	}
}

// What a failed append did not keep can be tried again, as it was.
func TestFailedAppendAgain(t *testing.T) {
	s, e := open(t, store.Options{})
	full := errors.New("disk full")
	e.append = func([]*txnlog.Txn) error { return full }
	if n, err := s.Append(t.Context(), restored(t, s, 3)); n != 0 || !errors.Is(err, full) {
		t.Fatalf("Append: %d, %v", n, err)
	}
	list := restored(t, s, 3)
	if _, err := list[0].Vote(t.Context()); err != nil {
		t.Fatalf("a vote after it: %v", err)
	}
	if _, err := list[0].Finish(t.Context(), nil); !errors.Is(err, full) {
		t.Fatalf("Finish: %v", err)
	}
	e.failWith(nil)
	if n, err := s.Append(t.Context(), restored(t, s, 3)); n != 3 || err != nil {
		t.Fatalf("Append again: %d, %v", n, err)
	}
	if n, err := s.Append(t.Context(), restored(t, s, 3)); n != 0 || err == nil {
		t.Fatalf("Append of what is there: %d, %v", n, err)
	}
}

// partial is an engine that takes two transactions of a batch.
type partial struct{ *memstorage.Engine }

var errPartial = errors.New("the third does not fit")

func (p partial) Append(ctx context.Context, batch []*txnlog.Txn, meta *store.Meta) (int, error) {
	if len(batch) <= 2 {
		return p.Engine.Append(ctx, batch, meta)
	}
	n, err := p.Engine.Append(ctx, batch[:2], meta)
	return n, errors.Join(err, errPartial)
}

func TestAppendOfWhatFitsInPart(t *testing.T) {
	s, err := store.Open(t.Context(), partial{memstorage.New(memstorage.Options{})}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n, err := s.Append(t.Context(), restored(t, s, 5))
	if n != 2 || !errors.Is(err, errPartial) || s.LastTID() != 1002 {
		t.Fatalf("Append: %d, %v; LastTID %v", n, err, s.LastTID())
	}
	if _, err := voted(t, s, 1, 1002, "x").Finish(t.Context(), nil); err != nil {
		t.Errorf("the next commit: %v", err)
	}
}

// While it is not known what was kept, nothing else is committed; what is known
// then is published, and the rest is gone.
func TestAppendInDoubt(t *testing.T) {
	for _, kept := range []int{0, 2, 3} {
		t.Run(fmt.Sprintf("kept=%d", kept), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, e := open(t, store.Options{})
				e.append = func(batch []*txnlog.Txn) error {
					e.Engine.Append(context.Background(), batch[:kept], nil)
					return zodb.ErrCommitUnknown
				}
				var answer atomic.Bool
				e.settle = func() error {
					if !answer.Load() {
						return errors.New("no answer")
					}
					return nil
				}
				n, err := s.Append(t.Context(), restored(t, s, 3))
				if n != 0 || !errors.Is(err, zodb.ErrCommitUnknown) {
					t.Fatalf("Append: %d, %v", n, err)
				}
				if n, err := s.Append(t.Context(), restored(t, s, 3)); n != 0 || err == nil {
					t.Fatalf("Append while one is in doubt: %d, %v", n, err)
				}
				if s.LastTID() != 0 {
					t.Error("what is in doubt is published")
				}
				e.failWith(nil)
				answer.Store(true)
				time.Sleep(time.Minute)
				synctest.Wait()
				if want := zodb.TID(1000 + kept); kept > 0 && s.LastTID() != want || kept == 0 && s.LastTID() != 0 {
					t.Errorf("%d are kept, and LastTID is %v", kept, s.LastTID())
				}
				if _, err := voted(t, s, 7, 0, "x").Finish(t.Context(), nil); err != nil {
					t.Errorf("the next commit: %v", err)
				}
			})
		})
	}
}

// An Append waits for those who have voted, and those who vote wait for it.
func TestAppendExcludesOtherVotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := open(t, store.Options{Clock: func() time.Time { return time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC) }})
		e.append = func([]*txnlog.Txn) error { time.Sleep(time.Second); return nil }
		first := voted(t, s, 5, 0, "x")
		future := zodb.MaxTID - 100
		txn, _ := s.Begin(t.Context(), zodb.TxnMeta{TID: future})
		r, _ := zodb.As[zodb.RestoreTxn](txn)
		r.Restore(t.Context(), 1, []byte("y"), 0)
		done := make(chan error, 1)
		go func() {
			_, err := s.Append(context.Background(), []zodb.Txn{txn})
			done <- err
		}()
		synctest.Wait()
		if got := s.Stats().Waiting; got != 1 {
			t.Errorf("beside a voted transaction %d wait, want the Append", got)
		}
		second := make(chan zodb.TID, 1)
		go func() {
			next, _ := s.Begin(context.Background(), zodb.TxnMeta{})
			next.Store(context.Background(), 6, 0, []byte("z"))
			next.Vote(context.Background())
			tid, _ := next.Finish(context.Background(), nil)
			second <- tid
		}()
		synctest.Wait()
		if _, err := first.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if tid := <-second; tid != future+1 {
			t.Errorf("the commit that waited for the Append of %v got %v", future, tid)
		}
	})
}
