package zodb

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// Watch yields every change after the given transaction, in order and without
// gaps, until ctx is done. What happened before the call is read from the
// storage's Iterator. It ends with ErrUnknownPosition if the storage cannot tell
// what followed after, and with errors.ErrUnsupported if it has no Watcher.
//
// A slow reader holds nobody up: changes wait for it in memory.
func Watch(ctx context.Context, s Storage, after TID) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w, ok := As[Watcher](s)
		if !ok {
			yield(Change{}, errors.ErrUnsupported)
			return
		}
		var q changeQueue
		q.wake = make(chan struct{}, 1)
		from, stop := w.Observe(q.put)
		defer stop()
		if after < from && !catchUp(ctx, s, after, from, yield) {
			return
		}
		for {
			for _, c := range q.take() {
				if c.Missed == MissedUnknown {
					yield(Change{}, ErrUnknownPosition)
					return
				}
				if c.TID > after && !yield(c, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				yield(Change{}, ctx.Err())
				return
			case <-q.wake:
			}
		}
	}
}

// catchUp yields the changes of the transactions after < tid <= to.
func catchUp(ctx context.Context, s Storage, after, to TID, yield func(Change, error) bool) bool {
	it, ok := As[Iterator](s)
	if !ok {
		yield(Change{}, ErrUnknownPosition)
		return false
	}
	for t, err := range it.Transactions(ctx, after+1, to) {
		if err != nil {
			yield(Change{}, err)
			return false
		}
		c := Change{TID: t.TID, Token: t.Token, OIDs: make([]OID, len(t.Records))}
		for i, r := range t.Records {
			c.OIDs[i] = r.OID
		}
		if !yield(c, nil) {
			return false
		}
	}
	return true
}

// changeQueue hands changes from an observer, which must not wait, to a reader.
type changeQueue struct {
	mu      sync.Mutex
	changes []Change
	wake    chan struct{}
}

func (q *changeQueue) put(c Change) {
	q.mu.Lock()
	q.changes = append(q.changes, c)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *changeQueue) take() []Change {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.changes
	q.changes = nil
	return c
}
