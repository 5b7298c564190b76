package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// streamer is an engine of which a batch takes two steps of a second.
type streamer struct {
	*engine
	fail func(last, next []*txnlog.Txn) error // instead of a step, after the first one of last
}

func (e *streamer) Stream(ctx context.Context, next func() []*txnlog.Txn, answer func(int, error)) {
	var last []*txnlog.Txn
	for batch := next(); len(batch) > 0 || len(last) > 0; batch = next() {
		if len(last) > 0 && e.fail != nil {
			if err := e.fail(last, batch); err != nil {
				answer(0, err)
				if len(batch) > 0 {
					answer(0, err)
				}
				return
			}
		}
		time.Sleep(time.Second)
		if len(last) > 0 {
			answer(e.Append(ctx, last, nil))
		}
		last = batch
	}
}

func openStreaming(t *testing.T) (*store.Store, *streamer) {
	t.Helper()
	e := &streamer{engine: &engine{Engine: memstorage.New(memstorage.Options{})}}
	return openOn(t, e, store.Options{}), e
}

// finishing finishes a transaction beside others.
func finishing(txn zodb.Txn) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := txn.Finish(context.Background(), nil)
		done <- err
	}()
	synctest.Wait()
	return done
}

// Each batch is published when it is whole, though the next one is on its way; and an oid
// that must be reserved meanwhile waits for both.
func TestBatchesFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := openStreaming(t)
		began := time.Now()
		var ends [3]time.Duration
		var wg sync.WaitGroup
		for i := range ends {
			txn := voted(t, s, zodb.OID(i+1), 0, "x")
			wg.Go(func() {
				if _, err := txn.Finish(context.Background(), nil); err != nil {
					t.Error(err)
				}
				ends[i] = time.Since(began)
			})
			time.Sleep(800 * time.Millisecond)
		}
		wg.Wait()
		if want := [3]time.Duration{2 * time.Second, 3 * time.Second, 4 * time.Second}; ends != want {
			t.Errorf("the transactions are there after %v, want %v", ends, want)
		}
		if len(e.batches) != 3 {
			t.Errorf("batches: %v", e.batches)
		}
		first := finishing(voted(t, s, 7, 0, "x"))
		if _, err := s.NewOIDs(t.Context(), 100_000); err != nil {
			t.Fatal(err)
		}
		if err := <-first; err != nil {
			t.Fatal(err)
		}
	})
}

// Two batches are in doubt together: the medium has kept one of them.
func TestTwoBatchesInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := openStreaming(t)
		settle := make(chan struct{})
		e.fail = func(last, next []*txnlog.Txn) error {
			if len(next) == 0 {
				return nil
			}
			e.Append(context.Background(), last, nil)
			return zodb.ErrCommitUnknown
		}
		e.settle = func() error { <-settle; return nil }
		first, second := voted(t, s, 1, 0, "kept"), voted(t, s, 2, 0, "lost")
		one := finishing(first)
		two := finishing(second)
		for _, d := range []<-chan error{one, two} {
			if err := <-d; !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("Finish: %v", err)
			}
		}
		if _, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err == nil {
			t.Error("what is in doubt is shown")
		}
		close(settle)
		synctest.Wait()
		e.fail = nil
		if rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || string(rec.Data) != "kept" {
			t.Errorf("what was kept: %q, %v", rec.Data, err)
		}
		if _, err := s.LoadBefore(t.Context(), 2, zodb.MaxTID); err == nil {
			t.Error("what was lost is there")
		}
		put(t, s, 2, 0, "again") // the locks are free
	})
}
