package storagetest

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/zaridb/zari/zodb"
)

// voteAtFinish only pretends to vote.
func voteAtFinish(_ zodb.Storage, t *hookedTxn) {
	t.vote = func(context.Context) (zodb.Votes, error) { return zodb.Votes{}, nil }
	t.finish = func(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
		if _, err := t.Txn.Vote(ctx); err != nil {
			return 0, err
		}
		return t.Txn.Finish(ctx, committed)
	}
}

// lockStorage lets one transaction vote at a time, as Python's server does.
func lockStorage(s zodb.Storage) zodb.Storage {
	lock := make(chan struct{}, 1)
	return txns(func(_ zodb.Storage, t *hookedTxn) {
		release := func() {}
		t.vote = func(ctx context.Context) (zodb.Votes, error) {
			select {
			case lock <- struct{}{}:
				release = sync.OnceFunc(func() { <-lock })
			case <-ctx.Done():
				return zodb.Votes{}, ctx.Err()
			}
			return t.Txn.Vote(ctx)
		}
		t.finish = func(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
			defer release()
			return t.Txn.Finish(ctx, committed)
		}
		t.abort = func() {
			defer release()
			t.Txn.Abort()
		}
	})(s)
}

// outOfOrder holds every second call of committed back until the one after it.
func outOfOrder(s zodb.Storage) zodb.Storage {
	var mu sync.Mutex
	var held func()
	return txns(func(_ zodb.Storage, t *hookedTxn) {
		t.finish = func(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
			return t.Txn.Finish(ctx, func(tid zodb.TID) {
				mu.Lock()
				defer mu.Unlock()
				if committed == nil {
					return
				}
				if held == nil {
					held = func() { committed(tid) }
					return
				}
				committed(tid)
				held()
				held = nil
			})
		}
	})(s)
}

type cutIterator struct{ zodb.Iterator }

func (i cutIterator) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	return func(yield func(*zodb.Transaction, error) bool) {
		var held *zodb.Transaction
		for t, err := range i.Iterator.Transactions(ctx, start, stop) {
			if err != nil {
				yield(nil, err)
				return
			}
			if held != nil && !yield(held, nil) {
				return
			}
			held = t
		}
	}
}

type deafWatcher struct{ zodb.Watcher }

func (w deafWatcher) Observe(fn func(zodb.Change)) (zodb.TID, func()) {
	n := 0
	return w.Watcher.Observe(func(c zodb.Change) {
		if n++; n%2 == 1 {
			fn(c)
		}
	})
}

type forgetfulWatcher struct{ zodb.Watcher }

func (w forgetfulWatcher) Observe(fn func(zodb.Change)) (zodb.TID, func()) {
	return w.Watcher.Observe(func(c zodb.Change) {
		c.OIDs = slices.DeleteFunc(slices.Clone(c.OIDs), func(oid zodb.OID) bool { return oid == 1 })
		fn(c)
	})
}

type trustingWatcher struct{ zodb.Watcher }

func (w trustingWatcher) ChangesSince(ctx context.Context, after zodb.TID) ([]zodb.OID, zodb.TID, error) {
	oids, upTo, err := w.Watcher.ChangesSince(ctx, after)
	if err != nil {
		return nil, after, nil
	}
	return oids, upTo, nil
}

type rashOutcomer struct{ zodb.Outcomer }

func (o rashOutcomer) Outcome(ctx context.Context, token zodb.Token) (zodb.TID, error) {
	tid, err := o.Outcomer.Outcome(ctx, token)
	if err != nil {
		return 0, nil
	}
	return tid, nil
}

type turnedUndoer struct{ zodb.Undoer }

func (u turnedUndoer) UndoLog(ctx context.Context, first, last int, filter func(*zodb.UndoEntry) bool) ([]zodb.UndoEntry, error) {
	log, err := u.Undoer.UndoLog(ctx, first, last, filter)
	slices.Reverse(log)
	return log, err
}

type idlePacker struct{}

func (idlePacker) Pack(context.Context, time.Time, zodb.PackOptions) error { return nil }

type zombieRecords struct{ zodb.RecordIterator }

func (z zombieRecords) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return func(yield func(zodb.Current, error) bool) {
		next := from
		for c, err := range z.RecordIterator.Current(ctx, asOf, from, to) {
			for ; err == nil && next < c.OID; next++ {
				if !yield(zodb.Current{OID: next}, nil) {
					return
				}
			}
			next = c.OID + 1
			if !yield(c, err) {
				return
			}
		}
	}
}
