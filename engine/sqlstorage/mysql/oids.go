package mysql

import (
	"context"
	"strings"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// NextOIDs implements sqlstorage.Dialect. RelStorage's sequence is the counter of an
// AUTO_INCREMENT column. The server gives an INSERT that says how many rows it
// has numbers in one piece, whatever innodb_autoinc_lock_mode is.
func (d *DB) NextOIDs(ctx context.Context, n int) (last int64, err error) {
	err = d.sequence(ctx, func(c *conn) error {
		result, err := c.send(ctx, "INSERT INTO new_oid (zoid) VALUES (NULL)"+strings.Repeat(",(NULL)", n-1), nil)
		if err != nil {
			return err
		}
		first, err := result.LastInsertId()
		last = first + int64(n) - 1
		return err
	})
	if err == nil && n > 1 {
		d.tidyOIDs(ctx, last)
	}
	return last, err
}

// RaiseOIDs implements sqlstorage.Dialect.
func (d *DB) RaiseOIDs(ctx context.Context, step int64) error {
	return d.sequence(ctx, func(c *conn) error {
		var largest int64
		err := c.text(ctx, "SELECT COALESCE(MAX(zoid), 0) FROM new_oid", func(r *row) error { return r.Scan(&largest) })
		if err != nil || largest >= step {
			return err
		}
		// What others have taken may not be seen yet, or be gone: the counter knows.
		result, err := c.send(ctx, "INSERT INTO new_oid (zoid) VALUES (NULL)", nil)
		if err != nil {
			return err
		}
		next, err := result.LastInsertId()
		if err != nil || next >= step {
			return err
		}
		_, err = c.send(ctx, "INSERT IGNORE INTO new_oid (zoid) VALUES (?)", named([]any{step}))
		return err
	})
}

// sequence runs fn in a short transaction. If its outcome is not known some oids are
// never used, and no harm is done.
func (d *DB) sequence(ctx context.Context, fn func(c *conn) error) error {
	return d.again(d.writes, func() error {
		c, err := d.writes.get(ctx)
		if err != nil {
			return err
		}
		if err = fn(c); err == nil {
			_, err = c.send(ctx, "COMMIT", nil)
		}
		if err != nil {
			d.rollback(d.writes, c)
			return d.failure(err)
		}
		d.writes.put(c)
		return nil
	})
}

// tidyOIDs removes rows that only show what the counter has passed. All but the
// last: before MySQL 8 and MariaDB 10.2.4 a restart set the counter to it. Where
// somebody holds locks the rows stay for the next time.
func (d *DB) tidyOIDs(ctx context.Context, last int64) {
	err := d.Write(ctx, func(s sqlstorage.Session) error {
		if _, err := s.Exec(ctx, "SET SESSION innodb_lock_wait_timeout=1"); err != nil {
			return err
		}
		_, err := s.Exec(ctx, "DELETE FROM new_oid WHERE zoid < ? ORDER BY zoid LIMIT 5000", last)
		if _, e := s.Exec(ctx, "SET SESSION innodb_lock_wait_timeout=DEFAULT"); err == nil {
			err = e
		}
		return err
	})
	if err != nil {
		d.opts.Logger.Debug("removing used numbers from new_oid failed", "database", d.name, "err", err)
	}
}
