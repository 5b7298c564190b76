package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// PackLock implements sqlstorage.Dialect.
func (d *DB) PackLock(ctx context.Context) (io.Closer, error) {
	return d.hold(ctx, packLock, "a pack or an undo is under way")
}

// Lease implements sqlstorage.Dialect: an advisory lock of a session that does
// nothing else.
func (d *DB) Lease(ctx context.Context) (io.Closer, error) {
	return d.hold(ctx, leaseLock, "another Zari serves this database alone")
}

// held is an advisory lock that lives as long as its session. If the session breaks
// it is taken again on a new one, if it still is to be had then.
type held struct {
	db   *DB
	key  int64
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// hold takes a lock without waiting.
func (d *DB) hold(ctx context.Context, key int64, why string) (io.Closer, error) {
	conn, err := d.lockSession(ctx, key, why)
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.Background())
	h := &held{db: d, key: key, stop: stop}
	h.wg.Go(func() { h.keep(life, conn) })
	return h, nil
}

func (d *DB) lockSession(ctx context.Context, key int64, why string) (*pgx.Conn, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	var got bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&got)
	if err == nil && got {
		return conn, nil
	}
	conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		return nil, d.explain(err)
	}
	return nil, fmt.Errorf("%s: %s (advisory lock %d): %w", d.name, why, key, sqlstorage.ErrBusy)
}

// giveBack frees the lock before it ends the session: a server need not have ended one
// when its client has, and the next to ask for the lock may be quick.
func (h *held) giveBack(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", h.key) // where that fails the lock goes with the session
	conn.Close(ctx)
}

// keep holds the session until it is told to stop: nothing is ever notified there, so
// waiting ends when the session does.
func (h *held) keep(life context.Context, conn *pgx.Conn) {
	for {
		for life.Err() == nil {
			if _, err := conn.WaitForNotification(life); err != nil {
				break
			}
		}
		if life.Err() != nil {
			h.giveBack(conn)
			return
		}
		conn.Close(context.Background()) // the lock goes with it
		if conn = h.again(life); conn == nil {
			return
		}
	}
}

// oldSession is how long a session may live on that has told its client that it ends.
const oldSession = 5 * time.Second

// again takes the lock on a new session as soon as there can be one; nil if somebody else
// has it by then, of which the epoch tells.
func (h *held) again(life context.Context) *pgx.Conn {
	began := time.Now()
	for life.Err() == nil {
		conn, err := h.db.lockSession(life, h.key, "lost")
		if err == nil {
			return conn
		}
		wait := 20 * time.Millisecond
		if !errors.Is(err, sqlstorage.ErrBusy) {
			wait = time.Second // the server is gone, perhaps for a while
			began = time.Now()
		} else if time.Since(began) > oldSession {
			return nil
		}
		select {
		case <-life.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// Close implements io.Closer.
func (h *held) Close() error {
	h.stop()
	h.wg.Wait()
	return nil
}
