package importing

import (
	"context"
	"errors"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// oidBlock is how many oids are reserved durably at a time. A crash loses the rest
// of a block.
const oidBlock = 16384

// allocator hands out oids while the import goes on: those that follow the largest
// of the source. The destination cannot do it, since it does not know yet which
// are used; and it must go on behind them later.
type allocator struct {
	storage *Storage

	mu       sync.Mutex
	state    State // as last saved
	next     zodb.OID
	finished bool
}

// take returns oids that are used nowhere, none if the import is finished.
func (a *allocator) take(ctx context.Context, n int) ([]zodb.OID, error) {
	n = min(max(n, 1), oidBlock)
	for {
		first, err := a.reserve(n)
		if first == 0 || err != nil {
			return nil, err
		}
		// clients may have stored oids that they chose themselves
		free, err := zodb.UnusedOIDs(ctx, a.storage.front, first, n)
		if err != nil || len(free) > 0 {
			return free, err
		}
	}
}

// reserve takes the next n oids, 0 if the import is finished.
func (a *allocator) reserve(n int) (first zodb.OID, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.finished {
		return 0, nil
	}
	first = a.next
	if end := first + zodb.OID(n); end > a.state.Next {
		state := a.state
		state.Next = end + oidBlock
		if err := a.storage.opts.State.Save(state); err != nil {
			return 0, err
		}
		a.state = state
	}
	a.next += zodb.OID(n)
	return first, nil
}

// finish makes the destination go on behind what was handed out, and then saves
// that the import is done. If saving fails the oids that were reserved stay so.
func (a *allocator) finish(ctx context.Context, dst zodb.Storage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for last := zodb.OID(0); last+1 < a.state.Next; {
		oids, err := dst.NewOIDs(ctx, oidBlock)
		if err != nil {
			return err
		}
		last = oids[len(oids)-1]
	}
	state := a.state
	state.Done = true
	if err := a.storage.saveDone(ctx, state); err != nil {
		return err
	}
	a.state, a.finished = state, true
	return nil
}

// maxOID returns the largest oid of an object that is there, found by bisection.
func maxOID(ctx context.Context, s zodb.Storage) (zodb.OID, error) {
	records, ok := zodb.As[zodb.RecordIterator](s)
	if !ok {
		return 0, errors.New("the source cannot list its objects, so it is not known which oids are free")
	}
	const top = ^zodb.OID(0)
	low, high := zodb.OID(0), top
	for low < high {
		middle := low + (high-low)/2 + 1
		found, any := zodb.OID(0), false
		for c, err := range records.Current(ctx, 0, middle, high) {
			if err != nil {
				return 0, err
			}
			found, any = c.OID, true
			break
		}
		if any {
			low = found
		} else {
			high = middle - 1
		}
	}
	return low, nil
}
