package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"sync"

	"modernc.org/sqlite"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// pool is a bounded number of connections to one file, opened when they are
// needed.
type pool struct {
	path string
	db   *sql.DB
	free chan *session // nil: one that is not open
	done chan struct{} // closed when nobody gets a connection any more
	end  sync.Once     // closes done
	once sync.Once     // closes the connections
}

func (d *DB) newPool(path string, n int, pragmas ...string) (*pool, error) {
	source, err := d.source(path, pragmas...)
	if err != nil {
		return nil, err
	}
	c, err := sqlite.NewConnector(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p := &pool{path: path, db: sql.OpenDB(c), free: make(chan *session, n), done: make(chan struct{})}
	p.db.SetMaxOpenConns(n)
	p.db.SetMaxIdleConns(n)
	for range n {
		p.free <- nil
	}
	return p, nil
}

// take waits for a connection.
func (p *pool) take(ctx context.Context) (*session, error) {
	var s *session
	select {
	case s = <-p.free:
	case <-p.done:
		return nil, zodb.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.isShut() {
		p.free <- s
		return nil, zodb.ErrClosed
	}
	if s != nil {
		return s, nil
	}
	conn, err := p.db.Conn(context.WithoutCancel(ctx))
	if err != nil {
		p.free <- nil
		return nil, p.wrap(err)
	}
	return &session{pool: p, conn: conn, statements: make(map[string]*sql.Stmt)}, nil
}

// give takes a connection back.
func (p *pool) give(s *session) { p.free <- s }

// drop takes back a connection that nobody should use again.
func (p *pool) drop(s *session) {
	s.close()
	p.free <- nil
}

// lend takes a connection for as long as fn runs.
func (p *pool) lend(ctx context.Context, fn func(*session) error) error {
	s, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer p.give(s)
	return fn(s)
}

// transact runs fn between begin and COMMIT.
func (p *pool) transact(ctx context.Context, begin string, fn func(*session) error) error {
	s, err := p.take(ctx)
	if err != nil {
		return err
	}
	if _, err = s.Exec(ctx, begin); err != nil {
		p.give(s)
		return err
	}
	if err = fn(s); err != nil {
		return errors.Join(err, p.rollback(s))
	}
	return p.commit(s)
}

// commit ends a transaction, and gives the connection back.
func (p *pool) commit(s *session) error {
	_, err := s.Exec(context.Background(), "COMMIT")
	if err == nil {
		p.give(s)
		return nil
	}
	if unclear(err) {
		err = fmt.Errorf("%w: %w", zodb.ErrCommitUnknown, err)
	}
	return errors.Join(err, p.rollback(s))
}

// rollback ends a transaction, and gives the connection back.
func (p *pool) rollback(s *session) error {
	// After some errors SQLite has rolled back by itself, and this is another one.
	if _, err := s.Exec(context.Background(), "ROLLBACK"); err != nil {
		p.drop(s)
		return nil
	}
	p.give(s)
	return nil
}

// figures tells how many connections there are.
func (p *pool) figures(name string) sqlstorage.Pool {
	s := p.db.Stats()
	return sqlstorage.Pool{Name: name, Open: s.OpenConnections, InUse: cap(p.free) - len(p.free), Limit: cap(p.free)}
}

// shut sees to it that nobody gets a connection any more.
func (p *pool) shut() { p.end.Do(func() { close(p.done) }) }

// isShut reports whether shut was called.
func (p *pool) isShut() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// close waits for all connections to come back. It may be called again.
func (p *pool) close() (err error) {
	p.shut()
	p.once.Do(func() {
		for range cap(p.free) {
			if s := <-p.free; s != nil {
				s.close()
			}
		}
		err = p.db.Close()
	})
	return err
}

func (p *pool) wrap(err error) error { return wrap(p.path, err) }

// session is a connection. It keeps its statements prepared.
//
// Statements are not interrupted when a context ends: they are short, and a
// goroutine for each of them would cost more than most take. The context is looked at
// before a statement, and before each row.
type session struct {
	pool       *pool
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

var _ sqlstorage.Session = (*session)(nil)

func (s *session) close() {
	for _, st := range s.statements {
		st.Close()
	}
	s.conn.Close()
}

func (s *session) prepare(statement string) (*sql.Stmt, error) {
	if st := s.statements[statement]; st != nil {
		return st, nil
	}
	st, err := s.conn.PrepareContext(context.Background(), statement)
	if err != nil {
		return nil, fmt.Errorf("%w (in %q)", s.pool.wrap(err), statement)
	}
	s.statements[statement] = st
	return st, nil
}

// Exec implements sqlstorage.Session.
func (s *session) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	st, err := s.prepare(statement)
	if err != nil {
		return 0, err
	}
	result, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, s.pool.wrap(err)
	}
	return result.RowsAffected()
}

// Query implements sqlstorage.Session.
func (s *session) Query(ctx context.Context, statement string, args ...any) iter.Seq2[sqlstorage.Row, error] {
	return func(yield func(sqlstorage.Row, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(nil, err)
			return
		}
		st, err := s.prepare(statement)
		if err != nil {
			yield(nil, err)
			return
		}
		rows, err := st.QueryContext(context.Background(), args...)
		if err != nil {
			yield(nil, s.pool.wrap(err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if !yield(row{rows}, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, s.pool.wrap(err))
		}
	}
}

// text returns the one value of one row.
func (s *session) text(ctx context.Context, statement string, args ...any) (v string, err error) {
	for row, err := range s.Query(ctx, statement, args...) {
		if err != nil {
			return "", err
		}
		if err := row.Scan(&v); err != nil {
			return "", err
		}
	}
	return v, nil
}

// number returns the one number of one row, 0 if it is NULL or there is no row.
func (s *session) number(ctx context.Context, statement string, args ...any) (v int64, err error) {
	for row, err := range s.Query(ctx, statement, args...) {
		if err != nil {
			return 0, err
		}
		if err := row.Scan(&v); err != nil {
			return 0, err
		}
	}
	return v, nil
}
