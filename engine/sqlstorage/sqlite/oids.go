package sqlite

import (
	"context"
	"sync"
)

// oids is the allocator that RelStorage keeps in a file of its own: one row with the
// number of the last block handed out.
//
// RelStorage opens the file without a journal and without syncing, since it can make
// it anew from main.sqlite3. That is not so for a server whose clients outlive it: an
// oid that was handed out and not yet stored must not be handed out again. So this
// connection has both.
type oids struct {
	db   *DB
	path string

	mu   sync.Mutex
	pool *pool // nil until it is needed
}

const (
	createOIDs = `CREATE TABLE IF NOT EXISTS new_oid (zoid INTEGER PRIMARY KEY NOT NULL)`
	firstOID   = `INSERT INTO new_oid SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM new_oid)`
	lastOID    = `SELECT MAX(zoid) FROM new_oid`
	takeOIDs   = `UPDATE new_oid SET zoid = zoid + ?`
	raiseOIDs  = `UPDATE new_oid SET zoid = ? WHERE zoid < ?`
)

// open opens the file when it is first needed, as RelStorage does.
func (o *oids) open() (*pool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var err error
	if o.pool == nil {
		o.pool, err = o.db.newPool(o.path, 1)
	}
	return o.pool, err
}

// update runs a statement on the row, which is made if it is not there, and returns
// what the row is then.
func (o *oids) update(ctx context.Context, statement string, args ...any) (last int64, err error) {
	p, err := o.open()
	if err != nil {
		return 0, err
	}
	err = p.transact(ctx, "BEGIN IMMEDIATE", func(s *session) error {
		for _, prepare := range []string{createOIDs, firstOID} {
			if _, err := s.Exec(ctx, prepare); err != nil {
				return err
			}
		}
		if _, err := s.Exec(ctx, statement, args...); err != nil {
			return err
		}
		last, err = s.number(ctx, lastOID)
		return err
	})
	return last, err
}

func (o *oids) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pool == nil {
		return nil
	}
	return o.pool.close()
}

// NextOIDs implements sqlstorage.Dialect.
func (d *DB) NextOIDs(ctx context.Context, n int) (int64, error) {
	return d.oids.update(ctx, takeOIDs, int64(n))
}

// RaiseOIDs implements sqlstorage.Dialect.
func (d *DB) RaiseOIDs(ctx context.Context, step int64) error {
	_, err := d.oids.update(ctx, raiseOIDs, step, step)
	return err
}
