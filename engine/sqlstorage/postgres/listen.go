package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// listener is the session that hears of commits.
type listener struct {
	mu     sync.Mutex // held by Wait
	conn   *pgx.Conn  // nil: not connected
	closed bool
}

// Wait implements sqlstorage.Sharer. Without notifications, and when the session that
// hears them breaks, it returns after the polling interval at the latest.
func (d *DB) Wait(ctx context.Context) error {
	l := &d.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	poll, cancel := context.WithTimeout(ctx, d.opts.Poll)
	defer cancel()
	if l.conn == nil {
		if err := d.listen(poll); err != nil {
			sleep(poll, d.opts.Poll)
			return ctx.Err()
		}
		return nil // something may have been missed
	}
	_, err := l.conn.WaitForNotification(poll)
	if err != nil && poll.Err() == nil {
		l.conn.Close(context.Background())
		l.conn = nil
	}
	return ctx.Err()
}

// listen connects and subscribes. d.listener.mu is held.
func (d *DB) listen(ctx context.Context) error {
	if d.listener.closed {
		return errors.New("closed")
	}
	conn, err := d.connectOnce(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return err
	}
	d.listener.conn = conn
	return nil
}

func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.conn.Close(ctx)
	l.conn = nil
}
