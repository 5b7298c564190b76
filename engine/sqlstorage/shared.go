package sqlstorage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

var (
	_ store.Locker   = (*Engine)(nil)
	_ store.Follower = (*Engine)(nil)
	_ store.Lock     = (*lock)(nil)
)

// Follows implements store.Follower.
func (e *Engine) Follows() bool { return e.opts.Shared }

// sharer returns the dialect's ability to share.
func (e *Engine) sharer() (Sharer, error) {
	s, ok := e.db.(Sharer)
	if !ok {
		return nil, fmt.Errorf("%s cannot be shared with other writers: %w", e.db.Name(), errors.ErrUnsupported)
	}
	return s, nil
}

// Lock implements store.Locker.
func (e *Engine) Lock(ctx context.Context, written, read []zodb.OID, wait time.Duration) (store.Lock, error) {
	s, err := e.sharer()
	if err != nil {
		return nil, err
	}
	held, err := s.Lock(ctx, e.form, rowOIDs(written), rowOIDs(read), wait)
	if err != nil {
		return nil, asConflict(err, written, read)
	}
	l := &lock{engine: e, held: held}
	l.refresh()
	return l, nil
}

// asConflict makes a conflict of a lock that was not to be had.
func asConflict(err error, written, read []zodb.OID) error {
	if !errors.Is(err, ErrBusy) {
		return err
	}
	conflict := &zodb.ConflictError{Reason: err.Error()}
	if which, ok := errors.AsType[*LockError](err); ok {
		conflict.OID, conflict.Check = which.OID, which.Read
	} else if len(written) > 0 {
		conflict.OID = written[0]
	} else if len(read) > 0 {
		conflict.OID, conflict.Check = read[0], true
	}
	return conflict
}

// lock is what a transaction holds in the database.
type lock struct {
	engine  *Engine
	held    Locked
	serials map[zodb.OID]zodb.TID
	batch   *Batch // what Commit wrote
	given   bool   // it gave a tid
}

// Serials implements store.Lock.
func (l *lock) Serials() map[zodb.OID]zodb.TID { return l.serials }

// refresh takes over the serials that the dialect has read.
func (l *lock) refresh() {
	if l.serials == nil {
		l.serials = make(map[zodb.OID]zodb.TID)
	}
	for oid, tid := range l.held.Serials() {
		l.serials[zodb.OID(oid)] = zodb.TID(tid)
	}
}

// Extend implements store.Lock.
func (l *lock) Extend(ctx context.Context, written, read []zodb.OID) error {
	before := maps.Clone(l.serials)
	if err := l.held.Extend(ctx, rowOIDs(written), rowOIDs(read)); err != nil {
		return asConflict(err, written, read)
	}
	l.refresh()
	for oid, serial := range before {
		if l.serials[oid] != serial { // somebody changed it although it was locked
			return &zodb.ConflictError{OID: oid, Committed: l.serials[oid], Read: serial, Reason: "the lock was lost"}
		}
	}
	return nil
}

// Commit implements store.Lock.
func (l *lock) Commit(ctx context.Context, txns []*txnlog.Txn) (int, error) {
	e := l.engine
	if err := e.oids.raise(ctx, largest(txns)); err != nil {
		l.Release()
		return 0, err
	}
	l.given = len(txns) == 1 && txns[0].TID == 0
	err := l.held.Commit(ctx, func(now time.Time, last int64, serials map[int64]int64) (*Batch, error) {
		return l.make(txns, now, zodb.TID(last), serials)
	})
	if err == nil {
		e.appended(txns)
		return len(txns), nil
	}
	if errors.Is(err, zodb.ErrCommitUnknown) {
		return 0, err
	}
	l.undo(txns)
	return 0, asConflict(err, nil, nil)
}

// make is called under the commit lock.
func (l *lock) make(txns []*txnlog.Txn, now time.Time, last zodb.TID, serials map[int64]int64) (*Batch, error) {
	for oid, tid := range serials {
		if want := l.serials[zodb.OID(oid)]; want != zodb.TID(tid) {
			return nil, &zodb.ConflictError{OID: zodb.OID(oid), Committed: zodb.TID(tid), Read: want, Reason: "the lock was lost"}
		}
	}
	last = max(last, zodb.TID(l.engine.floor.Load()))
	if l.given {
		txns[0].TID = zodb.NextTID(now, last)
	}
	for _, t := range txns {
		if t.TID <= last || t.TID > math.MaxInt64 {
			return nil, fmt.Errorf("transaction %v cannot be added after transaction %v", t.TID, last)
		}
		last = t.TID
	}
	l.batch = &Batch{Form: l.engine.form, Txns: txns}
	return l.batch, l.engine.placeBlobs(l.batch)
}

// undo takes back what a Commit did that came to nothing.
func (l *lock) undo(txns []*txnlog.Txn) {
	if l.batch != nil {
		l.engine.unplaceBlobs(l.batch)
	}
	if l.given {
		txns[0].TID = 0
	}
}

// Settle implements store.Lock. Under the commit lock nothing of the Commit is under
// way any more.
func (l *lock) Settle(ctx context.Context) (int, error) {
	s, err := l.engine.sharer()
	if err != nil || l.batch == nil {
		return 0, err
	}
	durable := false
	err = s.WithCommitLock(ctx, func(s Session) error {
		durable, err = l.engine.wrote(ctx, s, l.batch)
		return err
	})
	switch {
	case errors.Is(err, errForgotten):
		return 0, fmt.Errorf("%w: %w", zodb.ErrCommitUnknown, err)
	case err != nil:
		return 0, fmt.Errorf("asking what became of a commit: %v", err) // that its own COMMIT got lost is no answer
	}
	if !durable {
		l.undo(l.batch.Txns)
		return 0, nil
	}
	l.engine.appended(l.batch.Txns)
	return len(l.batch.Txns), nil
}

// Release implements store.Lock.
func (l *lock) Release() { l.held.Release() }

const (
	wrotePreserving = `SELECT zoid, state_size, COALESCE(md5, '') FROM object_state WHERE tid = ?`
	wroteFree       = `SELECT zoid, state_size, '' FROM object_state WHERE tid = ?`
)

// wrote finds out whether the last transaction of a batch is in the database: it was
// written with all others or not at all. Somebody else may have got its tid. Of a
// history-free database it can only be told while something of it is left.
func (e *Engine) wrote(ctx context.Context, s Session, b *Batch) (bool, error) {
	last := b.Txns[len(b.Txns)-1]
	want := make(map[int64]StateRow)
	for i := range last.Records {
		row, err := stateRow(e.form, last, &last.Records[i])
		if err != nil {
			return false, err
		}
		want[row.OID] = row
	}
	statement, n := wrotePreserving, 0
	if e.form == Free {
		statement = wroteFree
	}
	for row, err := range s.Query(ctx, statement, int64(last.TID)) {
		if err != nil {
			return false, err
		}
		var oid, size int64
		var sum string
		if err := row.Scan(&oid, &size, &sum); err != nil {
			return false, err
		}
		if ours, ok := want[oid]; !ok || ours.Size != size || ours.MD5 != sum {
			return false, nil
		}
		n++
	}
	if e.form == Free && n < len(want) {
		return e.wroteSome(ctx, s, last, n)
	}
	if n == 0 && len(want) == 0 {
		tid, err := number(ctx, s, `SELECT tid FROM "transaction" WHERE tid = ?`, int64(last.TID))
		return tid != 0, err
	}
	return n == len(want), nil
}

var errForgotten = errors.New("others have written all its objects since, and no history is kept: whether it was committed cannot be told")

// wroteSome tells of a history-free transaction of which n rows are left whether it was
// written.
func (e *Engine) wroteSome(ctx context.Context, s Session, t *txnlog.Txn, n int) (bool, error) {
	if n > 0 {
		return true, nil
	}
	oids := make([]zodb.OID, len(t.Records))
	for i := range t.Records {
		oids[i] = t.Records[i].OID
	}
	serials := make(map[int64]int64)
	if err := ReadSerials(ctx, e.db, s, e.form, rowOIDs(oids), serials); err != nil {
		return false, err
	}
	for i := range t.Records {
		if r := &t.Records[i]; serials[int64(r.OID)] == int64(r.Prev) {
			return false, nil // it is what it was before
		}
	}
	return false, fmt.Errorf("%s: transaction %v: %w", e.db.Name(), t.TID, errForgotten)
}

// Changes implements store.Follower.
func (e *Engine) Changes(ctx context.Context, after zodb.TID) (changes []zodb.Change, head zodb.TID, err error) {
	if after > math.MaxInt64 {
		return nil, after, nil
	}
	err = e.db.Snapshot(ctx, func(s Session) error {
		changes, head = changes[:0], 0
		last, err := number(ctx, s, e.form.SelectLast())
		if err != nil {
			return err
		}
		head = zodb.TID(last)
		if head <= after {
			return nil
		}
		changes, err = e.changes(ctx, s, after)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if e.form == Free {
		head = max(head, after) // a pack may have removed the row with the largest tid
	}
	e.follow(changes, head)
	return changes, head, nil
}

const (
	changesPreserving = `SELECT t.tid, COALESCE(o.zoid, -1) FROM "transaction" t LEFT JOIN object_state o ON o.tid = t.tid
		WHERE t.tid > ? ORDER BY t.tid, o.zoid`
	changesFree = `SELECT tid, zoid FROM object_state WHERE tid > ? ORDER BY tid, zoid`
)

func (e *Engine) changes(ctx context.Context, s Session, after zodb.TID) (changes []zodb.Change, err error) {
	statement := changesPreserving
	if e.form == Free {
		statement = changesFree
	}
	for row, err := range s.Query(ctx, statement, int64(after)) {
		if err != nil {
			return nil, err
		}
		var tid, oid int64
		if err := row.Scan(&tid, &oid); err != nil {
			return nil, err
		}
		if n := len(changes); n == 0 || changes[n-1].TID != zodb.TID(tid) {
			changes = append(changes, zodb.Change{TID: zodb.TID(tid)})
		}
		if oid >= 0 {
			c := &changes[len(changes)-1]
			c.OIDs = append(c.OIDs, zodb.OID(oid))
		}
	}
	return changes, nil
}

// follow brings what is kept in memory up to date with what others committed.
func (e *Engine) follow(changes []zodb.Change, head zodb.TID) {
	raise(&e.head, uint64(head))
	for _, c := range changes {
		for _, oid := range c.OIDs {
			raise(&e.max, uint64(oid))
		}
	}
}

// Wait implements store.Follower.
func (e *Engine) Wait(ctx context.Context) error {
	s, err := e.sharer()
	if err != nil {
		return err
	}
	return s.Wait(ctx)
}
