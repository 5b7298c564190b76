package s3storage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/zodb"
)

// maxNews is how many changes are kept for a Store that does not ask.
const maxNews = 10_000

// news are the changes that a reader has found in the log and not told yet.
type news struct {
	mu      sync.Mutex
	changes []zodb.Change
	after   zodb.TID      // all changes after this one are there
	arrived chan struct{} // has a token when there is something
}

// follow reads the log of another server, until Close.
func (e *Engine) follow() {
	for {
		e.opts.Sleep(e.ctx, e.opts.Poll)
		if e.ctx.Err() != nil {
			return
		}
		n, err := e.Follow(e.ctx)
		if err != nil && e.ctx.Err() == nil {
			e.opts.Logger.Warn("the log could not be followed; what is served becomes old", "storage", e.Name(), "error", err)
		}
		if n > 0 {
			select {
			case e.news.arrived <- struct{}{}:
			default:
			}
		}
	}
}

// Follow reads what has come in the log, and returns how many objects that was. A reader
// that was so slow that the log has been collected before it begins again from a
// checkpoint.
func (e *Engine) Follow(ctx context.Context) (int, error) {
	e.lock(&e.writeMu)
	defer e.writeMu.Unlock()
	before := e.Slot()
	n, err := e.catchUp(ctx)
	if errors.Is(err, errBehind) {
		err = e.boot(ctx)
		n = int(e.Slot() - before)
	}
	return n, err
}

// note notes the changes of an object that was read.
func (e *Engine) note(l *layout.Log) {
	if !e.opts.ReadOnly || len(l.Table.Txns) == 0 {
		return
	}
	e.news.mu.Lock()
	defer e.news.mu.Unlock()
	for i := range l.Table.Txns {
		t := &l.Table.Txns[i]
		c := zodb.Change{TID: t.TID, OIDs: make([]zodb.OID, len(t.Records))}
		for j := range t.Records {
			c.OIDs[j] = t.Records[j].OID
		}
		e.news.changes = append(e.news.changes, c)
	}
	if extra := len(e.news.changes) - maxNews; extra > 0 {
		e.news.after = e.news.changes[extra-1].TID
		e.news.changes = slices.Clone(e.news.changes[extra:])
	}
}

// forget says that the changes up to now are not known.
func (e *Engine) forget() {
	e.news.mu.Lock()
	defer e.news.mu.Unlock()
	e.news.changes, e.news.after = nil, zodb.MaxTID
}

// Follows reports whether another server writes.
func (e *Engine) Follows() bool { return e.opts.ReadOnly }

// Changes returns all transactions after one that this reader knows, with the objects
// that each changed, and the last one.
func (e *Engine) Changes(_ context.Context, after zodb.TID) (changes []zodb.Change, head zodb.TID, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	head = e.st.last
	e.news.mu.Lock()
	defer e.news.mu.Unlock()
	n := &e.news
	if after < n.after {
		changes = e.changesInIndex(after)
		n.after = head // what the log brings from here on is complete again
		n.changes = slices.DeleteFunc(n.changes, func(c zodb.Change) bool { return c.TID <= head })
		return changes, max(head, after), nil
	}
	for _, c := range n.changes {
		if c.TID > after {
			changes = append(changes, c)
		}
	}
	n.changes = slices.DeleteFunc(n.changes, func(c zodb.Change) bool { return c.TID <= after })
	n.after = max(n.after, after)
	return changes, max(head, after), nil
}

// changesInIndex finds out from the index what changed after a transaction: for a reader
// that has not seen all of the log in between. What a pack has dropped since is not
// there; then its object is gone, or has a newer revision. e.mu is held for reading.
func (e *Engine) changesInIndex(after zodb.TID) []zodb.Change {
	byTID := make(map[zodb.TID][]zodb.OID)
	var oid zodb.OID
	var tid zodb.TID
	for {
		entries := e.st.index.Read(oid, tid, pageLen, nil)
		for _, x := range entries {
			if x.TID > after {
				byTID[x.TID] = append(byTID[x.TID], x.OID)
			}
			oid, tid = x.OID, x.TID+1
		}
		if len(entries) < pageLen {
			break
		}
	}
	var changes []zodb.Change
	for tid, oids := range byTID {
		changes = append(changes, zodb.Change{TID: tid, OIDs: oids})
	}
	slices.SortFunc(changes, func(a, b zodb.Change) int { return cmp.Compare(a.TID, b.TID) })
	return changes
}

// Wait returns when the log may have something new.
func (e *Engine) Wait(ctx context.Context) error {
	select {
	case <-e.news.arrived:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.ctx.Done():
		return zodb.ErrClosed
	}
}
