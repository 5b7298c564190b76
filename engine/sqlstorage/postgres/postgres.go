package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// DB is a PostgreSQL database.
type DB struct {
	opts Options
	name string

	reads  *pgxpool.Pool // Read, Snapshot, ReadBlob
	writes *pgxpool.Pool // Append, Write and oids
	votes  *pgxpool.Pool // Lock

	voting   sync.Map // of *vote that hold a connection, to its net.Conn
	listener listener
	closing  sync.Once
	closed   atomic.Bool
}

var (
	_ sqlstorage.Dialect     = (*DB)(nil)
	_ sqlstorage.Sharer      = (*DB)(nil)
	_ sqlstorage.Overwritten = (*DB)(nil)
	_ sqlstorage.Limiter     = (*DB)(nil)
)

// Open connects to a database.
func Open(ctx context.Context, opts Options) (*DB, error) {
	opts = opts.withDefaults()
	config, err := opts.config()
	if err != nil {
		return nil, err
	}
	d := &DB{opts: opts, name: nameOf(config.ConnConfig)}
	for _, p := range []struct {
		pool **pgxpool.Pool
		size int
	}{{&d.reads, opts.Readers}, {&d.writes, opts.Writers}, {&d.votes, opts.Votes}} {
		c := config.Copy()
		c.MaxConns = int32(p.size)
		c.BeforeConnect = d.refresh
		if *p.pool, err = pgxpool.NewWithConfig(ctx, c); err != nil {
			d.Close()
			return nil, d.explain(err)
		}
	}
	if err := d.check(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// oldest is the oldest PostgreSQL that this package runs on: its statements use
// nothing newer, but none older is tested.
const oldest = 130000

// check connects for the first time, so that a wrong password is told at once.
func (d *DB) check(ctx context.Context) error {
	return d.with(ctx, d.reads, func(c *pgx.Conn) error {
		var version int
		if err := c.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
			return d.explain(err)
		}
		if version < oldest {
			return fmt.Errorf("%s: PostgreSQL %d is too old, 13 is the oldest", d.name, version/10000)
		}
		return nil
	})
}

// nameOf names a database without its password.
func nameOf(c *pgx.ConnConfig) string {
	var hosts []string
	add := func(host string, port uint16) {
		h := net.JoinHostPort(host, strconv.Itoa(int(port)))
		if strings.HasPrefix(host, "/") {
			h = fmt.Sprintf("%s:%d", host, port)
		}
		if len(hosts) == 0 || hosts[len(hosts)-1] != h {
			hosts = append(hosts, h)
		}
	}
	add(c.Host, c.Port)
	for _, f := range c.Fallbacks {
		add(f.Host, f.Port)
	}
	return fmt.Sprintf("postgresql://%s/%s", strings.Join(hosts, ","), c.Database)
}

// Name implements sqlstorage.Dialect.
func (d *DB) Name() string { return d.name }

// Close implements sqlstorage.Dialect.
func (d *DB) Close() error {
	d.closing.Do(func() {
		d.closed.Store(true)
		d.listener.close()
		d.endVotes()
		for _, pool := range []*pgxpool.Pool{d.reads, d.writes, d.votes} {
			if pool != nil {
				pool.Close()
			}
		}
	})
	return nil
}

// Pools implements sqlstorage.Dialect.
func (d *DB) Pools() []sqlstorage.Pool {
	figures := func(name string, p *pgxpool.Pool) sqlstorage.Pool {
		s := p.Stat()
		return sqlstorage.Pool{Name: name, Open: int(s.TotalConns()), InUse: int(s.AcquiredConns()), Limit: int(s.MaxConns())}
	}
	return []sqlstorage.Pool{figures("loads", d.reads), figures("writes", d.writes), figures("votes", d.votes)}
}

// with lends fn a connection of a pool.
func (d *DB) with(ctx context.Context, pool *pgxpool.Pool, fn func(*pgx.Conn) error) error {
	c, err := d.acquire(ctx, pool)
	if err != nil {
		return err
	}
	defer c.Release() // which closes one that broke
	return fn(c.Conn())
}

// acquire takes a connection from a pool. It tries an unreachable server for as
// long as the options say.
func (d *DB) acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	var conn *pgxpool.Conn
	err := d.patiently(ctx, func() (err error) {
		conn, err = pool.Acquire(ctx)
		return err
	})
	return conn, err
}

// refresh has a pool connect as it is right now: to other replicas, with certificates
// and a password that were replaced.
func (d *DB) refresh(_ context.Context, c *pgx.ConnConfig) error {
	config, err := d.opts.config()
	if err == nil {
		*c = *config.ConnConfig
	}
	return err
}

// connect makes a connection of its own.
func (d *DB) connect(ctx context.Context) (*pgx.Conn, error) {
	var conn *pgx.Conn
	err := d.patiently(ctx, func() (err error) {
		conn, err = d.connectOnce(ctx)
		return err
	})
	return conn, err
}

// connectOnce is connect without patience.
func (d *DB) connectOnce(ctx context.Context) (*pgx.Conn, error) {
	config, err := d.opts.config()
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}

// patiently tries until the server answers.
func (d *DB) patiently(ctx context.Context, try func() error) error {
	start := time.Now()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		if d.closed.Load() {
			return fmt.Errorf("%s: %w", d.name, zodb.ErrClosed)
		}
		err := try()
		if err == nil {
			return nil
		}
		err = d.explain(err)
		if !errors.Is(err, sqlstorage.ErrLost) || time.Since(start) > d.opts.Patience || !sleep(ctx, pause) {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// twice runs fn, and once more on a fresh connection if its own broke.
func (d *DB) twice(ctx context.Context, pool *pgxpool.Pool, fn func(*pgx.Conn) error) error {
	err := d.with(ctx, pool, fn)
	if !errors.Is(err, sqlstorage.ErrLost) {
		return err
	}
	pool.Reset() // the others are broken as well
	return d.with(ctx, pool, fn)
}

// Read implements sqlstorage.Dialect.
func (d *DB) Read(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.twice(ctx, d.reads, func(c *pgx.Conn) error {
		return fn(&session{db: d, conn: c})
	})
}

// Snapshot implements sqlstorage.Dialect.
func (d *DB) Snapshot(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.twice(ctx, d.reads, func(c *pgx.Conn) error {
		return d.snapshot(ctx, c, func(tx pgx.Tx) error {
			return fn(&session{db: d, conn: c, cursors: true})
		})
	})
}

func (d *DB) snapshot(ctx context.Context, c *pgx.Conn, fn func(pgx.Tx) error) error {
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return d.explain(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	return fn(tx)
}

// Write implements sqlstorage.Dialect.
func (d *DB) Write(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.with(ctx, d.writes, func(c *pgx.Conn) error {
		tx, err := c.Begin(ctx)
		if err != nil {
			return d.explain(err)
		}
		defer tx.Rollback(context.WithoutCancel(ctx))
		if err := fn(&session{db: d, conn: c}); err != nil {
			return err
		}
		return d.commit(ctx, tx)
	})
}

// WithCommitLock implements sqlstorage.Sharer.
func (d *DB) WithCommitLock(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.Write(ctx, func(s sqlstorage.Session) error {
		if _, err := s.Exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(commitLock)); err != nil {
			return err
		}
		return fn(s)
	})
}

// commit ends a transaction that has sent everything else.
func (d *DB) commit(ctx context.Context, tx pgx.Tx) error {
	err := tx.Commit(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrTxCommitRollback), !unanswered(err):
		return d.explain(err)
	}
	return d.unknownCommit(err)
}
