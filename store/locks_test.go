package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/zodb"
)

func modes(mode lockMode, oids ...zodb.OID) map[zodb.OID]lockMode {
	m := make(map[zodb.OID]lockMode)
	for _, oid := range oids {
		m[oid] = mode
	}
	return m
}

func mustLock(t *testing.T, l *lockTable, m map[zodb.OID]lockMode) *lockRequest {
	t.Helper()
	req, _, err := l.lock(t.Context(), m, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// waiter locks in the background and tells when it has the locks.
func waiter(ctx context.Context, l *lockTable, m map[zodb.OID]lockMode) (got *atomic.Pointer[lockRequest], result chan error) {
	got, result = new(atomic.Pointer[lockRequest]), make(chan error, 1)
	go func() {
		req, _, err := l.lock(ctx, m, time.Minute)
		got.Store(req)
		result <- err
	}()
	return got, result
}

func TestLocksAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLockTable()
		a := mustLock(t, l, modes(exclusive, 1, 2))
		b, _ := waiter(t.Context(), l, modes(exclusive, 2, 3))
		synctest.Wait()
		c, _ := waiter(t.Context(), l, modes(exclusive, 3, 4)) // 3 is free, but b came first
		d := mustLock(t, l, modes(exclusive, 5))               // nobody is in its way
		synctest.Wait()
		if b.Load() != nil || c.Load() != nil {
			t.Fatal("a request passes one that came before it")
		}
		l.release(a)
		synctest.Wait()
		if b.Load() == nil || c.Load() != nil {
			t.Fatal("the second request is due, and only it")
		}
		l.release(b.Load())
		synctest.Wait()
		if c.Load() == nil {
			t.Fatal("the third request is due")
		}
		l.release(c.Load())
		l.release(d)
		if objects, waiting := l.counts(); objects != 0 || waiting != 0 {
			t.Errorf("%d objects, %d waiting in the end", objects, waiting)
		}
	})
}

func TestSharedLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLockTable()
		a := mustLock(t, l, modes(shared, 1))
		b := mustLock(t, l, modes(shared, 1))
		w, _ := waiter(t.Context(), l, modes(exclusive, 1))
		synctest.Wait()
		late, _ := waiter(t.Context(), l, modes(shared, 1)) // must not starve the writer
		l.release(a)
		synctest.Wait()
		if w.Load() != nil || late.Load() != nil {
			t.Fatal("locked beside a reader, or past a writer")
		}
		l.release(b)
		synctest.Wait()
		if w.Load() == nil || late.Load() != nil {
			t.Fatal("the writer is due")
		}
		l.release(w.Load())
		synctest.Wait()
		if late.Load() == nil {
			t.Fatal("the late reader is due")
		}
	})
}

func TestWaitingCanBeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLockTable()
		a := mustLock(t, l, modes(exclusive, 1))
		ctx, cancel := context.WithCancel(t.Context())
		_, cancelled := waiter(ctx, l, modes(exclusive, 1, 2))
		_, late := waiter(t.Context(), l, modes(exclusive, 1))
		synctest.Wait()
		cancel()
		if err := <-cancelled; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		mustLock(t, l, modes(exclusive, 2)) // the request left all its queues
		if err := <-late; !errors.Is(err, errLockTimeout) {
			t.Errorf("after a minute: %v", err)
		}
		l.release(a)
		mustLock(t, l, modes(exclusive, 1))
	})
}

func TestExtendDoesNotWait(t *testing.T) {
	l := newLockTable()
	a := mustLock(t, l, modes(exclusive, 1))
	b := mustLock(t, l, modes(exclusive, 2))
	if oid, ok := l.tryExtend(a, modes(exclusive, 1, 2, 3)); ok || oid != 2 {
		t.Errorf("tryExtend = %v, %v", oid, ok)
	}
	if _, ok := l.tryExtend(b, modes(exclusive, 3)); !ok {
		t.Error("a failed tryExtend has left a lock")
	}
}

// TestLocksExclude lets many goroutines lock random sets and looks whether two
// are ever where one may be, and whether all get through.
func TestLocksExclude(t *testing.T) {
	l := newLockTable()
	var writers, readers [8]atomic.Int32
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for range 500 {
				m := make(map[zodb.OID]lockMode)
				for range 1 + r.IntN(3) {
					m[zodb.OID(r.IntN(8))] = r.IntN(2) == 0
				}
				req, _, err := l.lock(t.Context(), m, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				enter(t, m, &writers, &readers)
				l.release(req)
			}
		})
	}
	wg.Wait()
	if objects, waiting := l.counts(); objects != 0 || waiting != 0 {
		t.Errorf("%d objects, %d waiting in the end", objects, waiting)
	}
}

func enter(t *testing.T, m map[zodb.OID]lockMode, writers, readers *[8]atomic.Int32) {
	for oid, mode := range m {
		if mode == exclusive {
			if writers[oid].Add(1) != 1 || readers[oid].Load() != 0 {
				t.Error("a writer is not alone")
			}
		} else if readers[oid].Add(1); writers[oid].Load() != 0 {
			t.Error("a reader beside a writer")
		}
	}
	for oid, mode := range m {
		if mode == exclusive {
			writers[oid].Add(-1)
		} else {
			readers[oid].Add(-1)
		}
	}
}
