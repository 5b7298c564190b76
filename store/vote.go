package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Vote locks, checks and reserves. See the package documentation.
func (t *txn) Vote(ctx context.Context) (zodb.Votes, error) {
	if err := t.buffering("vote"); err != nil {
		return zodb.Votes{}, err
	}
	votes, err := t.vote(ctx)
	if err != nil {
		t.Abort()
		return zodb.Votes{}, err
	}
	if len(votes.Conflicts) > 0 {
		t.phase = conflicted
		return votes, nil
	}
	t.phase = voted
	t.votedIn = t.store.committer.votedNow()
	return votes, nil
}

func (t *txn) vote(ctx context.Context) (zodb.Votes, error) {
	if err := t.store.untilSettled(ctx); err != nil {
		return zodb.Votes{}, err
	}
	if err := t.readUndone(ctx); err != nil {
		return zodb.Votes{}, err
	}
	modes := t.lockModes()
	if err := t.lock(ctx, modes); err != nil {
		return zodb.Votes{}, err
	}
	if last := t.store.lastKept(); t.meta.TID != 0 && t.meta.TID <= last {
		return zodb.Votes{}, errNotAfter(t.meta.TID, last)
	}
	serials, err := t.serials(ctx, modes)
	if err != nil {
		return zodb.Votes{}, err
	}
	merger := t.txnMerger(ctx, serials)
	if err := t.checkReads(serials, merger); err != nil {
		return zodb.Votes{}, err
	}
	if err := t.undo(ctx, serials); err != nil {
		return zodb.Votes{}, err
	}
	var votes zodb.Votes
	if err := t.checkWrites(ctx, serials, merger, &votes); err != nil {
		return zodb.Votes{}, err
	}
	votes.Resolved = slices.Clone(t.resolved)
	if len(votes.Conflicts) > 0 {
		return votes, nil
	}
	if err := t.keepReplaced(ctx, nil); err != nil {
		return zodb.Votes{}, err
	}
	if err := t.store.oids.raise(ctx, t.order); err != nil {
		return zodb.Votes{}, err
	}
	return votes, t.reserve()
}

// lastKept returns the tid that a given one must come after. The whole storage is
// locked by the caller alone: so what was committed is published, and what was not
// is over, and its tid may be given again by who tries once more.
func (s *Store) lastKept() zodb.TID { return max(s.floor, s.shown()) }

func errNotAfter(tid, last zodb.TID) error {
	return fmt.Errorf("transaction %v cannot be added after transaction %v", tid, last)
}

// lock takes the locks of all objects, or of those that turned up since the last
// vote.
func (t *txn) lock(ctx context.Context, modes map[zodb.OID]lockMode) error {
	if t.locks != nil {
		if oid, ok := t.store.locks.tryExtend(t.locks, modes); !ok {
			return &zodb.ConflictError{OID: oid, Reason: "object is locked by another transaction"}
		}
		return nil
	}
	req, waited, err := t.store.locks.lock(ctx, modes, t.store.opts.LockWait)
	if waited {
		t.store.stats.waits.Add(1)
	}
	if errors.Is(err, errLockTimeout) {
		return &zodb.ConflictError{OID: t.anyOID(), Reason: err.Error()}
	}
	t.locks = req
	return err
}

func (t *txn) lockModes() map[zodb.OID]lockMode {
	modes := make(map[zodb.OID]lockMode, len(t.order)+len(t.checks)+1)
	for oid := range t.checks {
		modes[oid] = shared
	}
	for _, oid := range t.order {
		modes[oid] = exclusive
	}
	for _, u := range t.undone {
		for i := range u.Records {
			modes[u.Records[i].OID] = exclusive
		}
	}
	modes[wholeStorage] = shared
	if t.meta.TID != 0 {
		modes[wholeStorage] = exclusive
	}
	return modes
}

func (t *txn) anyOID() zodb.OID {
	if len(t.order) > 0 {
		return t.order[0]
	}
	return 0
}

// serials returns the newest serial of every object that is locked: the one here,
// or else the one below.
func (t *txn) serials(ctx context.Context, modes map[zodb.OID]lockMode) (map[zodb.OID]zodb.TID, error) {
	if t.store.locker != nil {
		serials, err := t.lockMedium(ctx, modes)
		if err != nil {
			return nil, err
		}
		return serials, t.over.serials(ctx, serials)
	}
	oids := make([]zodb.OID, 0, len(modes))
	for oid := range modes {
		if oid != wholeStorage {
			oids = append(oids, oid)
		}
	}
	tids, err := t.store.engine.Serials(ctx, oids)
	if err != nil {
		return nil, err
	}
	serials := make(map[zodb.OID]zodb.TID, len(oids))
	for i, oid := range oids {
		serials[oid] = tids[i]
	}
	return serials, t.over.serials(ctx, serials)
}

func (t *txn) checkReads(serials map[zodb.OID]zodb.TID, merger TxnMerger) error {
	for oid, read := range t.checks {
		committed := serials[oid]
		if committed == read || planted.SkipCheckCurrent {
			continue
		}
		if merger == nil || !merger.Passes(oid) {
			t.store.stats.conflicts.Add(1)
			return &zodb.ConflictError{OID: oid, Committed: committed, Read: read, Check: true}
		}
	}
	return nil
}

// checkWrites merges or reports the writes that were made from an old revision.
func (t *txn) checkWrites(ctx context.Context, serials map[zodb.OID]zodb.TID, merger TxnMerger, votes *zodb.Votes) error {
	for _, oid := range t.order {
		w := t.writes[oid]
		committed := serials[oid]
		if !t.over.found[oid] {
			w.Prev = committed
		}
		if w.restored || w.undone || committed == 0 || committed == w.base ||
			planted.SkipConflictCheck && planted.Seldom() {
			continue
		}
		if w.Kind == txnlog.Delete {
			t.store.stats.conflicts.Add(1)
			return &zodb.ConflictError{OID: oid, Committed: committed, Read: w.base}
		}
		merged, err := t.merge(ctx, w, committed, merger)
		if err != nil {
			return err
		}
		if merged {
			t.resolved = append(t.resolved, oid)
			continue
		}
		data, err := w.Load()
		if err != nil {
			return err
		}
		t.store.stats.conflicts.Add(1)
		votes.Conflicts = append(votes.Conflicts, zodb.Conflict{OID: oid, Committed: committed, Read: w.base, Data: data})
	}
	return nil
}

// merge tries to merge a write with the committed state, and reports whether it
// could.
func (t *txn) merge(ctx context.Context, w *write, committed zodb.TID, merger TxnMerger) (bool, error) {
	if t.noMerge || t.store.opts.Resolver == nil || w.base == 0 {
		return false, nil
	}
	base, err := t.revision(ctx, w.OID, w.base)
	if err != nil || base == nil {
		return false, err
	}
	theirs, err := t.revision(ctx, w.OID, committed)
	if err != nil || theirs == nil {
		return false, err
	}
	wanted, err := w.Load()
	if err != nil {
		return false, err
	}
	var data []byte
	ok := false
	if merger != nil {
		data, ok = merger.Merge(base, theirs, wanted)
	}
	if !ok {
		data, ok = t.store.opts.Resolver.Resolve(base, theirs, wanted)
	}
	if !ok {
		return false, nil
	}
	w.Data, w.Spooled, w.base = data, nil, committed
	t.store.stats.merged.Add(1)
	return true, nil
}

// revision returns the data that transaction serial wrote for oid, nil if there
// are none.
func (t *txn) revision(ctx context.Context, oid zodb.OID, serial zodb.TID) ([]byte, error) {
	rec, _, err := t.loadBefore(ctx, oid, serial+1)
	if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if rec.Serial != serial {
		return nil, nil
	}
	return rec.Data, nil
}

// reserve sees to it that Finish cannot fail for what is in the transaction: the
// medium can hold it, and space is set aside, so that a full disk fails the vote.
func (t *txn) reserve() error {
	t.rec = t.record()
	if c, ok := t.store.engine.(Checker); ok {
		if err := c.Check(t.rec); err != nil {
			return err
		}
	}
	r, ok := t.store.engine.(Reserver)
	if !ok {
		return nil
	}
	release, err := r.Reserve(r.Space(t.rec))
	t.release = release
	return err
}
