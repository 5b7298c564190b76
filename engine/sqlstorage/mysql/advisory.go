package mysql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// keepAlive is how often an idle session that holds something is used, so that the
// server does not take it for abandoned (wait_timeout of writerSession).
const keepAlive = 30 * time.Second

// Lease implements sqlstorage.Dialect by a lock that a session holds until it ends
// (GET_LOCK). A server that dies loses it at once, one whose host dies after two
// minutes. A session that breaks is replaced, and the lock taken again if it is free.
func (d *DB) Lease(ctx context.Context) (io.Closer, error) {
	return d.getLock(ctx, literal(d.lockName(".zari")), true)
}

// PackLock implements sqlstorage.Dialect with RelStorage's lock.
func (d *DB) PackLock(ctx context.Context) (io.Closer, error) {
	return d.getLock(ctx, "CONCAT(DATABASE(), '.pack')", false)
}

// lockName is a name that RelStorage does not know: so it may be other than the
// database's where that is too long (MySQL takes 64 bytes).
func (d *DB) lockName(suffix string) string {
	if name := d.opts.Database + suffix; len(name) <= 64 {
		return name
	}
	sum := sha256.Sum256([]byte(d.opts.Database))
	return hex.EncodeToString(sum[:16]) + suffix
}

// advisory is a lock on a name, held by a session of its own.
type advisory struct {
	db    *DB
	name  string // as an expression of SQL
	renew bool   // take it again if the session breaks

	stop chan struct{}
	done sync.WaitGroup
	conn *conn // nil: lost
	lost error
}

func (d *DB) getLock(ctx context.Context, name string, renew bool) (io.Closer, error) {
	a := &advisory{db: d, name: name, renew: renew, stop: make(chan struct{})}
	if err := a.take(ctx, 0); err != nil {
		return nil, err
	}
	a.done.Go(a.keep)
	return a, nil
}

// take connects and takes the lock, if it is free within so many seconds.
func (a *advisory) take(ctx context.Context, seconds int) error {
	c, err := a.db.connect(ctx, writerSession)
	if err != nil {
		return a.db.failure(err)
	}
	var had bool
	err = c.text(ctx, fmt.Sprintf("SELECT GET_LOCK(%s, %d)", a.name, seconds), func(r *row) error { return r.Scan(&had) })
	if err != nil {
		c.close()
		return a.db.failure(err)
	}
	if !had {
		c.close()
		return &Error{Database: a.db.name, Err: fmt.Errorf("the lock %s is held by another session", a.name), kind: sqlstorage.ErrBusy}
	}
	a.conn = c
	return nil
}

// keep keeps the session alive until the lock is given up.
func (a *advisory) keep() {
	for {
		select {
		case <-a.stop:
			return
		case <-a.db.closing.Done():
			return
		case <-time.After(keepAlive):
			a.touch()
		}
	}
}

// touch uses the session, and replaces it if it is broken.
func (a *advisory) touch() {
	ctx, cancel := context.WithTimeout(a.db.closing, keepAlive/2)
	defer cancel()
	if a.conn != nil {
		err := a.conn.raw.Ping(ctx)
		if err == nil {
			return
		}
		a.conn.close()
		a.conn, a.lost = nil, err
		a.db.opts.Logger.Warn("the session that holds a lock was lost", "database", a.db.name, "lock", a.name, "err", err)
	}
	if !a.renew {
		return
	}
	if err := a.take(ctx, 5); err != nil { // our lost session may take a moment to end
		a.db.opts.Logger.Error("a lock that was lost cannot be had again", "database", a.db.name, "lock", a.name, "err", err)
	}
}

// Close gives the lock up. It returns an error if it was lost before.
func (a *advisory) Close() error {
	select {
	case <-a.stop:
		return nil
	default:
	}
	close(a.stop)
	a.done.Wait()
	if a.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := a.conn.text(ctx, fmt.Sprintf("SELECT RELEASE_LOCK(%s)", a.name))
		a.conn.close()
		a.lost = errors.Join(a.lost, err)
		a.conn = nil
	}
	if a.lost != nil && !a.renew {
		return a.db.failure(fmt.Errorf("the session that held the lock %s broke: %w", a.name, a.lost))
	}
	return nil
}

// literal is a string in SQL. It is for names that come from the configuration.
func literal(s string) string {
	b := []byte{'\''}
	for _, c := range []byte(s) {
		switch c {
		case '\'', '\\':
			b = append(b, '\\', c)
		case 0:
			b = append(b, '\\', '0')
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '\''))
}
