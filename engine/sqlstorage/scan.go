package sqlstorage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// pageTxns and pageBytes bound what a scan reads at a time. While what was read is
// looked at, no connection is held.
const (
	pageTxns  = 200
	pageBytes = 4 << 20
)

// Scan implements store.Engine.
func (e *Engine) Scan(ctx context.Context, from zodb.TID, dir store.Direction) iter.Seq2[*txnlog.Txn, error] {
	return e.scan(ctx, from, dir, true)
}

// ScanHeads implements store.HeadScanner.
func (e *Engine) ScanHeads(ctx context.Context, from zodb.TID, dir store.Direction) iter.Seq2[*txnlog.Txn, error] {
	return e.scan(ctx, from, dir, false)
}

func (e *Engine) scan(ctx context.Context, from zodb.TID, dir store.Direction, records bool) iter.Seq2[*txnlog.Txn, error] {
	return func(yield func(*txnlog.Txn, error) bool) {
		within := e.betweenPages
		if e.form == Free {
			within = e.inOneSnapshot
		}
		next := int64(min(from, math.MaxInt64))
		err := within(ctx, func(lend lender) error {
			for {
				page, err := e.page(ctx, lend, next, dir, records)
				if err != nil || len(page) == 0 {
					return err
				}
				for _, t := range page {
					if !yield(t, nil) {
						return errEnough
					}
				}
				next = int64(page[len(page)-1].TID) + 1
				if dir == store.Backward {
					next -= 2
				}
			}
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}

var errEnough = errors.New("the reader wants no more")

// lender lends a session for one page.
type lender func(ctx context.Context, fn func(Session) error) error

// betweenPages holds no session while what was read is looked at: what a transaction
// of a history-preserving database wrote is the same later, or packed.
func (e *Engine) betweenPages(_ context.Context, fn func(lender) error) error {
	return fn(e.db.Snapshot)
}

// inOneSnapshot reads everything from one snapshot, since in a history-free database
// an object that is overwritten moves to another transaction. Few may do so at a
// time: they hold their sessions while their readers may want others.
func (e *Engine) inOneSnapshot(ctx context.Context, fn func(lender) error) error {
	select {
	case e.scans <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-e.scans }()
	return e.db.Snapshot(ctx, func(s Session) error {
		err := fn(func(_ context.Context, use func(Session) error) error { return use(s) })
		if errors.Is(err, ErrLost) {
			err = fmt.Errorf("%v: read it again from the beginning", err) // not the Dialect: some has been yielded
		}
		return err
	})
}

// longScans is how many scans may hold a session.
const longScans = 4

// page reads the next transactions, none at the end.
func (e *Engine) page(ctx context.Context, lend lender, from int64, dir store.Direction, records bool) (page []*txnlog.Txn, err error) {
	err = lend(ctx, func(s Session) error {
		if page, err = e.heads(ctx, s, from, dir); err != nil || !records || len(page) == 0 {
			return err
		}
		page = cut(page)
		return e.records(ctx, s, page)
	})
	return page, err
}

// Statements for the heads of transactions, with the bytes of their states. A
// history-free database has no table of them: a transaction is what it wrote that
// has not been overwritten.
var headStatements = map[Form]map[store.Direction]string{
	Preserving: {
		store.Forward:  headsPreserving + `AND tid >= ? ORDER BY tid LIMIT ?`,
		store.Backward: headsPreserving + `AND tid <= ? ORDER BY tid DESC LIMIT ?`,
	},
	Free: {
		store.Forward:  headsFree + `WHERE tid >= ? GROUP BY tid ORDER BY tid LIMIT ?`,
		store.Backward: headsFree + `WHERE tid <= ? GROUP BY tid ORDER BY tid DESC LIMIT ?`,
	},
}

const (
	headsPreserving = `SELECT tid, packed, username, description, extension,
			(SELECT SUM(o.state_size) FROM object_state o WHERE o.tid = t.tid)
		FROM "transaction" t WHERE tid > 0 AND is_empty = FALSE `
	headsFree = `SELECT tid, FALSE, NULL, NULL, NULL, SUM(state_size) FROM object_state `
)

func (e *Engine) heads(ctx context.Context, s Session, from int64, dir store.Direction) (heads []*txnlog.Txn, err error) {
	for row, err := range s.Query(ctx, headStatements[e.form][dir], from, int64(pageTxns)) {
		if err != nil {
			return nil, err
		}
		t, err := scanHead(e.db, row)
		if err != nil {
			return nil, err
		}
		heads = append(heads, t)
	}
	return heads, nil
}

// maxTxnSize is more than the states of any transaction take. Sums of such sizes do not
// overflow.
const maxTxnSize = 1 << 48

// scanHead reads the head of a transaction.
func scanHead(d Dialect, row Row) (*txnlog.Txn, error) {
	var tid, size int64
	var packed bool
	t := &txnlog.Txn{Status: ' '}
	if err := row.Scan(&tid, &packed, &t.User, &t.Description, &t.Extension, &size); err != nil {
		return nil, err
	}
	if tid <= 0 || size < 0 || size > maxTxnSize {
		return nil, corrupt(d, "a transaction with tid %d and %d bytes", tid, size)
	}
	if packed {
		t.Status = 'p'
	}
	t.TID = zodb.TID(tid)
	t.Size = size + int64(len(t.User)+len(t.Description)+len(t.Extension))
	return t, nil
}

// cut leaves of the transactions, from the first, as many as make a page.
func cut(page []*txnlog.Txn) []*txnlog.Txn {
	var size int64
	for i, t := range page {
		if size += t.Size; size > pageBytes && i > 0 {
			return page[:i]
		}
	}
	return page
}

// recordsOf returns the statement for the records of the transactions between two
// tids. Where RelStorage has packed since, the revision that an undo took its data
// from may be gone.
func (e *Engine) recordsOf() string {
	prev, from := "0", "0"
	if e.form == Preserving {
		prev = "o.prev_tid"
	}
	if e.undone {
		from = `(SELECT u.from_tid FROM zari_undone u JOIN object_state f ON f.zoid = u.zoid AND f.tid = u.from_tid
			WHERE u.tid = o.tid AND u.zoid = o.zoid)`
	}
	return `SELECT o.tid, o.zoid, o.state, ` + prev + `, ` + from + `,
			EXISTS (SELECT 1 FROM blob_chunk b WHERE b.zoid = o.zoid AND b.tid = o.tid)
		FROM object_state o WHERE o.tid >= ? AND o.tid <= ? ORDER BY o.tid, o.zoid`
}

// records fills in the records of transactions that follow each other.
func (e *Engine) records(ctx context.Context, s Session, page []*txnlog.Txn) error {
	finder := e.blobFinder()
	byTID := make(map[zodb.TID]*txnlog.Txn, len(page))
	lo, hi := page[0].TID, page[0].TID
	for _, t := range page {
		byTID[t.TID] = t
		lo, hi = min(lo, t.TID), max(hi, t.TID)
	}
	for row, err := range s.Query(ctx, e.recordsOf(), int64(lo), int64(hi)) {
		if err != nil {
			return err
		}
		tid, r, err := scanRecord(e.db, row)
		if err != nil {
			return err
		}
		t := byTID[tid]
		if t == nil {
			return corrupt(e.db, "object %v has a revision of transaction %v, which is not there", r.OID, tid)
		}
		if err := findBlob(finder, tid, &r); err != nil {
			return err
		}
		t.Records = append(t.Records, r)
	}
	return nil
}

// findBlob looks for the blob of a record in the shared directory.
func findBlob(f *blobs.Finder, tid zodb.TID, r *txnlog.Record) error {
	if f == nil || r.Kind == txnlog.Delete {
		return nil
	}
	path, err := f.Find(r.OID, tid)
	if path != "" {
		r.Blob = path
	}
	return err
}

func scanRecord(d Dialect, row Row) (zodb.TID, txnlog.Record, error) {
	var tid, oid, prev, from int64
	var blob bool
	var r txnlog.Record
	if err := row.Scan(&tid, &oid, &r.Data, &prev, &from, &blob); err != nil {
		return 0, r, err
	}
	if tid <= 0 || oid < 0 || prev < 0 || prev >= tid || from < 0 || from >= tid {
		return 0, r, corrupt(d, "object %d has a revision %d after %d, with the data of %d", oid, tid, prev, from)
	}
	r.OID, r.Prev, r.From = zodb.OID(oid), zodb.TID(prev), zodb.TID(from)
	if r.Data == nil {
		r.Kind = txnlog.Delete
	}
	if blob {
		r.Blob = "kept"
	}
	return zodb.TID(tid), r, nil
}
