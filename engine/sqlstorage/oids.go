package sqlstorage

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// step is how many oids a step of RelStorage's sequence stands for.
const step = 16

// stepsAtOnce is how many steps are taken when only a few oids are asked for. What
// is not handed out until the server ends is lost.
const stepsAtOnce = 64

// allocator hands out oids from RelStorage's sequence.
type allocator struct {
	db Dialect

	mu     sync.Mutex
	next   int64 // what is left of the steps taken: next <= oid <= last
	last   int64
	raised int64 // the sequence is known to be at or beyond this step
}

// NewOIDs implements store.OIDAllocator.
func (e *Engine) NewOIDs(ctx context.Context, n int) ([]zodb.OID, error) {
	return e.oids.take(ctx, max(n, 1))
}

// RaiseOIDs implements store.OIDAllocator.
func (e *Engine) RaiseOIDs(ctx context.Context, largest zodb.OID) error {
	return e.oids.raise(ctx, largest)
}

func (a *allocator) take(ctx context.Context, n int) ([]zodb.OID, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next > a.last {
		if err := a.fetch(ctx, max((n+step-1)/step, stepsAtOnce)); err != nil {
			return nil, err
		}
	}
	list := make([]zodb.OID, 0, n)
	for len(list) < n && a.next <= a.last {
		list = append(list, zodb.OID(a.next))
		a.next++
	}
	return list, nil
}

// fetch takes steps. There are no oids left where the last of them would not be a
// positive number.
func (a *allocator) fetch(ctx context.Context, steps int) error {
	end, err := a.db.NextOIDs(ctx, steps)
	if err != nil {
		return err
	}
	if end < int64(steps) || end > math.MaxInt64/step {
		return fmt.Errorf("%s: the sequence of oids is at %d: there are none left above the largest one in use", a.db.Name(), end)
	}
	a.next, a.last, a.raised = (end-int64(steps))*step+1, end*step, max(a.raised, end)
	return nil
}

// raise moves the sequence beyond an oid that somebody chose himself, and forgets
// what had been taken up to there.
func (a *allocator) raise(ctx context.Context, largest zodb.OID) error {
	if largest > math.MaxInt64 {
		return fmt.Errorf("%s: oid %v is not less than 2**63", a.db.Name(), largest)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next = max(a.next, int64(min(largest, math.MaxInt64-1))+1)
	want := int64(largest / step)
	if largest%step > 0 {
		want++
	}
	if want <= a.raised {
		return nil
	}
	if err := a.db.RaiseOIDs(ctx, want); err != nil {
		return err
	}
	a.raised = want
	return nil
}
