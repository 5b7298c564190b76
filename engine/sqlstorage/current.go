package sqlstorage

import (
	"context"
	"iter"
	"math"

	"github.com/zaridb/zari/zodb"
)

// pageObjects is how many objects Current reads at a time, unless they are large.
const pageObjects = 1000

// The newest revision of each object that is not newer than a tid. Of a history-free
// database, all objects.
const (
	sizesPreserving  = `SELECT o.zoid, o.state_size ` + newestPreserving + ` ORDER BY o.zoid LIMIT ?`
	statesPreserving = `SELECT o.zoid, o.tid, o.state ` + newestPreserving + ` ORDER BY o.zoid`
	newestPreserving = `FROM object_state o WHERE o.zoid >= ? AND o.zoid <= ? AND o.state IS NOT NULL AND o.tid =
		(SELECT MAX(older.tid) FROM object_state older WHERE older.zoid = o.zoid AND older.tid <= ?)`

	sizesFree  = `SELECT zoid, state_size FROM object_state WHERE zoid >= ? AND zoid <= ? ORDER BY zoid LIMIT ?`
	statesFree = `SELECT zoid, tid, state FROM object_state WHERE zoid >= ? AND zoid <= ? ORDER BY zoid`
)

// Current implements store.Engine.
func (e *Engine) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return func(yield func(zodb.Current, error) bool) {
		if from > math.MaxInt64 {
			return
		}
		next, last := int64(from), int64(min(to, math.MaxInt64))
		for next <= last {
			page, end, err := e.currentPage(ctx, asOf, next, last)
			if err != nil {
				yield(zodb.Current{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
			}
			if end == math.MaxInt64 {
				return
			}
			next = end + 1
		}
	}
}

// currentPage reads the next objects, and returns the last oid that it looked at.
func (e *Engine) currentPage(ctx context.Context, asOf zodb.TID, from, to int64) (page []zodb.Current, end int64, err error) {
	sizes, states, args := sizesFree, statesFree, []any(nil)
	if e.form == Preserving {
		sizes, states, args = sizesPreserving, statesPreserving, []any{int64(min(asOf, math.MaxInt64))}
	}
	err = e.db.Snapshot(ctx, func(s Session) error {
		page = page[:0]
		if end, err = currentEnd(ctx, s, sizes, from, to, args...); err != nil {
			return err
		}
		for row, err := range s.Query(ctx, states, append([]any{from, end}, args...)...) {
			if err != nil {
				return err
			}
			c, err := scanCurrent(e.db, row)
			if err != nil {
				return err
			}
			if c.Serial > asOf {
				c.Data = nil // what it was then is forgotten
			} else if c.Data == nil {
				continue
			}
			page = append(page, c)
		}
		return nil
	})
	return page, end, err
}

func scanCurrent(d Dialect, row Row) (c zodb.Current, err error) {
	var oid, tid int64
	if err := row.Scan(&oid, &tid, &c.Data); err != nil {
		return c, err
	}
	if oid < 0 || tid <= 0 {
		return c, corrupt(d, "object %d has a revision %d", oid, tid)
	}
	c.OID, c.Serial = zodb.OID(oid), zodb.TID(tid)
	return c, nil
}

// currentEnd returns up to which oid a page reaches.
func currentEnd(ctx context.Context, s Session, sizes string, from, to int64, args ...any) (end int64, err error) {
	var size, n int64
	args = append(append([]any{from, to}, args...), int64(pageObjects))
	for row, err := range s.Query(ctx, sizes, args...) {
		if err != nil {
			return 0, err
		}
		var oid, bytes int64
		if err := row.Scan(&oid, &bytes); err != nil {
			return 0, err
		}
		size += bytes
		if size > pageBytes && n > 0 {
			return end, nil
		}
		end = oid
		n++
	}
	if n < pageObjects {
		end = to
	}
	return end, nil
}
