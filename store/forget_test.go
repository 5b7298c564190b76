package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

func openFree(t *testing.T, opts store.Options) (*store.Store, *engine) {
	t.Helper()
	e := &engine{Engine: memstorage.New(memstorage.Options{HistoryFree: true})}
	return openOn(t, e, opts), e
}

func put(t *testing.T, s *store.Store, oid zodb.OID, serial zodb.TID, data string) zodb.TID {
	t.Helper()
	tid, err := voted(t, s, oid, serial, data).Finish(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

func wantRecord(t *testing.T, s *store.Store, oid zodb.OID, before zodb.TID, data string, serial, next zodb.TID) {
	t.Helper()
	rec, err := s.LoadBefore(t.Context(), oid, before)
	if err != nil || string(rec.Data) != data || rec.Serial != serial || rec.Next != next {
		t.Errorf("LoadBefore(%v, %v): %q by %v, next %v, %v; want %q by %v, next %v", oid, before, rec.Data, rec.Serial, rec.Next, err, data, serial, next)
	}
}

// forgotten checks that a load says that the revision is there no more.
func forgotten(t *testing.T, err error) {
	t.Helper()
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); !ok || !missing.Known || missing.DeletedAt != 0 {
		t.Errorf("LoadBefore: %v, want that there is no revision before", err)
	}
}

// A transaction that fails has overwritten nothing.
func TestFailedAppendForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := openFree(t, store.Options{})
		first := put(t, s, 1, 0, "one")
		e.failWith(func([]*txnlog.Txn) error { return errors.New("disk full") })
		if _, err := voted(t, s, 1, first, "lost").Finish(t.Context(), nil); err == nil {
			t.Fatal("no error")
		}
		e.failWith(nil)
		wantRecord(t, s, 1, zodb.MaxTID, "one", first, 0)
		time.Sleep(time.Second)
		third := put(t, s, 1, first, "three")
		wantRecord(t, s, 1, third, "one", first, third)
		wantRecord(t, s, 1, first+1, "one", first, third)
		wantRecord(t, s, 1, zodb.MaxTID, "three", third, 0)
	})
}

// What the window has lost is not said to be gone before the transaction that
// overwrote it is published: the client would try again with the same snapshot.
func TestForgottenIsSaidAfterPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{make(chan struct{}, 2)}
		s, _ := openFree(t, store.Options{Gate: g, WindowBytes: 1})
		g.open <- struct{}{}
		first := put(t, s, 1, 0, "one")
		txn := voted(t, s, 1, first, "two")
		go txn.Finish(t.Context(), nil)
		synctest.Wait()
		var old, current error
		var rec zodb.Record
		var done atomic.Int32
		go func() { _, old = s.LoadBefore(t.Context(), 1, first+1); done.Add(1) }()
		synctest.Wait()
		go func() { rec, current = s.LoadBefore(t.Context(), 1, zodb.MaxTID); done.Add(1) }()
		synctest.Wait()
		if done.Load() != 0 {
			t.Fatalf("loads answered before the publication: %v, %v", old, current)
		}
		if s.LastTID() != first {
			t.Fatal("published already")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.LoadBefore(ctx, 1, first+1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a load with a deadline: %v", err)
		}
		g.open <- struct{}{}
		synctest.Wait()
		if done.Load() != 2 || s.LastTID() == first {
			t.Fatalf("%d loads answered after the publication", done.Load())
		}
		forgotten(t, old)
		if current != nil || string(rec.Data) != "two" {
			t.Errorf("the current revision: %q, %v", rec.Data, current)
		}
	})
}

// Nor is it said while observers are being told of that transaction: the snapshot that the
// client would try again with is taken only after it.
func TestForgottenIsSaidAfterObservers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := openFree(t, store.Options{WindowBytes: 1})
		first := put(t, s, 1, 0, "one")
		_, stop := s.Observe(func(zodb.Change) { time.Sleep(50 * time.Millisecond) })
		defer stop()
		txn := voted(t, s, 1, first, "two")
		go txn.Finish(t.Context(), nil)
		synctest.Wait()
		if s.LastTID() != first {
			t.Fatal("published already")
		}
		_, err := s.LoadBefore(t.Context(), 1, first+1)
		forgotten(t, err)
		if s.LastTID() == first {
			t.Error("said before the publication has ended")
			time.Sleep(time.Second)
		}
	})
}

// A load does not wait for a transaction whose fate is not known.
func TestForgottenInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := openFree(t, store.Options{WindowBytes: 1})
		first := put(t, s, 1, 0, "one")
		e.failWith(func(batch []*txnlog.Txn) error {
			e.Engine.Append(context.Background(), batch, nil)
			return zodb.ErrCommitUnknown
		})
		e.settle = func() error { return errors.New("not yet") }
		txn := voted(t, s, 1, first, "two")
		if _, err := txn.Finish(t.Context(), nil); !errors.Is(err, zodb.ErrCommitUnknown) {
			t.Fatalf("Finish: %v", err)
		}
		if _, err := s.LoadBefore(t.Context(), 1, first+1); err == nil || errors.As(err, new(*zodb.NoObjectError)) {
			t.Errorf("a load of what was overwritten in doubt: %v", err)
		}
	})
}

// An observer may load what it is told of though the medium has overwritten it.
func TestObserverLoadsWhatIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := openFree(t, store.Options{WindowBytes: 1})
		first := put(t, s, 1, 0, "one")
		var got error
		_, stop := s.Observe(func(c zodb.Change) {
			if c.TID != first && got == nil {
				// as if another had overwritten it by now
				e.Engine.Append(context.Background(), []*txnlog.Txn{{TID: c.TID + 1, Status: ' ', Records: []txnlog.Record{{OID: 1, Data: []byte("three")}}}}, nil)
				_, got = s.LoadBefore(context.Background(), 1, c.TID+1)
			}
		})
		defer stop()
		put(t, s, 1, first, "two")
		forgotten(t, got)
	})
}

// A merge needs the revision that both were made from, which the window has.
func TestMergeOverWhatIsForgotten(t *testing.T) {
	s, _ := openFree(t, store.Options{Resolver: adder{}})
	first := put(t, s, 1, 0, "aa")
	second := put(t, s, 1, first, "aaaa")
	third := put(t, s, 1, first, "aaa")
	wantRecord(t, s, 1, zodb.MaxTID, "aaaaa", third, 0)
	wantRecord(t, s, 1, third, "aaaa", second, third)
	if _, ok := zodb.As[zodb.Undoer](s); ok {
		t.Error("a store that forgets offers undo")
	}
}

// adder merges strings by their lengths.
type adder struct{}

func (adder) Resolve(base, committed, wanted []byte) ([]byte, bool) {
	return append(committed[:len(committed):len(committed)], wanted[len(base):]...), true
}
