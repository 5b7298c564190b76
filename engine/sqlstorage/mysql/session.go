package mysql

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"

	"database/sql/driver"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// session lends a connection to the core.
type session struct {
	db   *DB
	conn *conn
}

// Exec implements sqlstorage.Session.
func (s session) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := s.conn.exec(ctx, statement, named(args))
	if err != nil {
		return 0, s.db.failure(err)
	}
	return result.RowsAffected()
}

// Query implements sqlstorage.Session.
func (s session) Query(ctx context.Context, statement string, args ...any) iter.Seq2[sqlstorage.Row, error] {
	return func(yield func(sqlstorage.Row, error) bool) {
		rows, err := s.conn.query(ctx, statement, named(args))
		if err != nil {
			yield(nil, s.db.failure(err))
			return
		}
		defer rows.Close() // reads what was not asked for
		r := &row{values: make([]driver.Value, len(rows.Columns()))}
		for {
			err := rows.Next(r.values)
			if err == io.EOF {
				return
			}
			if !yield(r, s.db.failure(err)) || err != nil {
				return
			}
		}
	}
}

// Read implements sqlstorage.Dialect.
func (d *DB) Read(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.again(d.reads, func() error {
		c, err := d.reads.get(ctx)
		if err != nil {
			return err
		}
		err = fn(session{d, c})
		d.reads.give(c)
		return err
	})
}

// give gives back a connection on which nothing is under way, unless it broke.
func (p *pool) give(c *conn) {
	if c.valid() {
		p.put(c)
	} else {
		p.drop(c)
	}
}

// again calls fn, and once more if a connection broke in it.
func (d *DB) again(p *pool, fn func() error) error {
	err := fn()
	if errors.Is(err, sqlstorage.ErrLost) {
		p.forget()
		err = fn()
	}
	return err
}

// snapshotBegin begins a transaction that sees one state. Who reads a whole database
// may look away from it for longer than a minute, which is how long the server
// waits by default to get rid of rows.
const snapshotBegin = "SET SESSION net_write_timeout=28800; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; " +
	"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

// Snapshot implements sqlstorage.Dialect.
func (d *DB) Snapshot(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.again(d.snapshots, func() error {
		c, err := d.snapshots.get(ctx)
		if err != nil {
			return err
		}
		if _, err = c.send(ctx, snapshotBegin, nil); err != nil {
			d.snapshots.drop(c)
			return d.failure(err)
		}
		err = fn(session{d, c})
		d.rollback(d.snapshots, c)
		return err
	})
}

// Write implements sqlstorage.Dialect.
func (d *DB) Write(ctx context.Context, fn func(sqlstorage.Session) error) error {
	c, err := d.writes.get(ctx)
	if err != nil {
		return err
	}
	if err := fn(session{d, c}); err != nil {
		d.rollback(d.writes, c)
		return err
	}
	if err := d.commit(ctx, c, "COMMIT", nil); err != nil {
		d.rollback(d.writes, c)
		return err
	}
	d.writes.put(c)
	return nil
}

// commit sends statements that end with COMMIT.
func (d *DB) commit(ctx context.Context, c *conn, statements string, args []driver.NamedValue) error {
	_, err := c.send(ctx, statements, args)
	switch {
	case err == nil:
		return nil
	case refused(err) || errors.Is(err, errTooLargeForDatabase):
		return d.failure(err)
	}
	return d.unknown(err)
}

// rollback ends a transaction and gives the connection back. It must not depend on
// the caller's context: that may be over.
func (d *DB) rollback(p *pool, c *conn) {
	if c.valid() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := c.send(ctx, "ROLLBACK", nil); err == nil {
			p.put(c)
			return
		}
	}
	p.drop(c)
}

// In implements sqlstorage.Dialect. Lists are filled up to a power of two with their
// last value, so that there are few different statements.
func (d *DB) In(column string, values []int64) (cond string, args []any) {
	if len(values) == 0 {
		return "1=0", nil
	}
	n := 1
	for n < len(values) {
		n *= 2
	}
	args = make([]any, n)
	for i := range args {
		args[i] = values[min(i, len(values)-1)]
	}
	return column + " IN (?" + strings.Repeat(",?", n-1) + ")", args
}
