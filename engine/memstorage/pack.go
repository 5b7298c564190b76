package memstorage

import (
	"context"
	"errors"
	"fmt"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Pack implements store.Packer. Of each object it keeps the newest revision <= at
// and all later ones. With GC it then drops the objects that nothing refers to:
// neither the root, nor any revision after at.
func (e *Engine) Pack(ctx context.Context, at zodb.TID, opts zodb.PackOptions) error {
	if opts.DryRun {
		return fmt.Errorf("a dry run of a pack in memory: %w", errors.ErrUnsupported)
	}
	opts.GC = (opts.GC || e.opts.PackGC && !opts.NoGC) && !opts.Overlay
	if opts.GC && e.opts.References == nil {
		return fmt.Errorf("garbage collection in memory needs to know what refers to what: %w", errors.ErrUnsupported)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	old, revisions := e.txns, e.revisions
	keep := func(oid zodb.OID, tid zodb.TID) bool { return !superseded(revisions[oid], tid, at, opts.Overlay) }
	if opts.GC {
		live, err := e.reachable(at)
		if err != nil {
			return err
		}
		history := keep
		keep = func(oid zodb.OID, tid zodb.TID) bool { return live[oid] && history(oid, tid) }
	}
	e.txns, e.revisions, e.bytes = nil, make(map[zodb.OID][]revision), 0
	for _, t := range old {
		if t = packed(t, at, keep, e.opts.Blobs != nil, e.removeBlob); t != nil {
			e.add(t)
		}
	}
	return ctx.Err()
}

// superseded reports whether nobody who looks at or after `at` sees the revision.
// In an overlay a deletion is seen: it hides what lies below.
func superseded(revs []revision, tid, at zodb.TID, overlay bool) bool {
	n := before(revs, at+1)
	if n == 0 || tid >= revs[n-1].tid {
		// a deletion with nothing before it is nothing
		return n > 0 && tid == revs[n-1].tid && revs[n-1].record.Kind == txnlog.Delete && !overlay
	}
	return true
}

// packed returns what is left of a transaction, nil if nothing is.
func packed(t *txnlog.Txn, at zodb.TID, keep func(zodb.OID, zodb.TID) bool, blobs bool, drop func(zodb.OID, zodb.TID)) *txnlog.Txn {
	if t.TID > at {
		return t
	}
	kept := *t
	kept.Status, kept.Size, kept.Records = 'p', 0, nil
	for _, r := range t.Records {
		if !keep(r.OID, t.TID) {
			if blobs && r.Blob != "" {
				drop(r.OID, t.TID)
			}
			continue
		}
		r.From = 0
		kept.Size += int64(len(r.Data))
		kept.Records = append(kept.Records, r)
	}
	if len(kept.Records) == 0 {
		return nil
	}
	return &kept
}

func (e *Engine) removeBlob(oid zodb.OID, tid zodb.TID) { e.opts.Blobs.Remove(oid, tid) }

// reachable returns the objects that can be reached from the root as it is at
// `at` or later, or from anything written after `at`.
func (e *Engine) reachable(at zodb.TID) (map[zodb.OID]bool, error) {
	live := map[zodb.OID]bool{0: true}
	todo := []zodb.OID{0}
	for oid, revs := range e.revisions {
		if oid != 0 && revs[len(revs)-1].tid > at {
			live[oid] = true
			todo = append(todo, oid)
		}
	}
	var refs []zodb.OID
	for len(todo) > 0 {
		oid := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		revs := e.revisions[oid]
		for _, r := range revs[max(before(revs, at+1)-1, 0):] {
			var err error
			if refs, err = e.opts.References(r.record.Data, refs[:0]); err != nil {
				return nil, fmt.Errorf("object %v: %w", oid, err)
			}
			for _, ref := range refs {
				if !live[ref] {
					live[ref] = true
					todo = append(todo, ref)
				}
			}
		}
	}
	return live, nil
}
