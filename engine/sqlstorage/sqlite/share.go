package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

var _ sqlstorage.Sharer = (*DB)(nil)

// Lock implements sqlstorage.Sharer. SQLite locks nothing smaller than the database:
// as in RelStorage, whoever has voted keeps all other writers waiting until it is
// finished.
func (d *DB) Lock(ctx context.Context, form sqlstorage.Form, written, read []int64, wait time.Duration) (sqlstorage.Locked, error) {
	if d.opts.ReadOnly {
		return nil, zodb.ErrReadOnly
	}
	until := time.Now().Add(wait)
	waiting, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	s, err := d.writer.take(waiting)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = fmt.Errorf("%s: %w: another transaction of this server has voted and not finished", d.path, sqlstorage.ErrBusy)
		}
		return nil, err
	}
	if err := d.begin(waiting, s, time.Until(until)); err != nil {
		d.writer.give(s)
		return nil, err
	}
	l := &locked{db: d, form: form, session: s, serials: make(map[int64]int64)}
	if err := l.Extend(ctx, written, read); err != nil {
		l.Release()
		return nil, err
	}
	d.holds(l)
	if d.writer.isShut() { // Close may not have seen that this has the lock
		l.Release()
		return nil, zodb.ErrClosed
	}
	return l, nil
}

// begin takes the lock of the whole database.
func (d *DB) begin(ctx context.Context, s *session, wait time.Duration) error {
	defer s.busyFor(d.opts.Busy)
	if err := s.busyFor(max(wait, time.Millisecond)); err != nil {
		return err
	}
	_, err := s.Exec(ctx, "BEGIN IMMEDIATE")
	return err
}

// busyFor sets how long the connection waits for other processes.
func (s *session) busyFor(wait time.Duration) error {
	_, err := s.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA busy_timeout = %d", wait.Milliseconds()))
	return err
}

// locked is a transaction that has voted. Closing the database ends it from another
// goroutine.
type locked struct {
	db      *DB
	form    sqlstorage.Form
	serials map[int64]int64

	mu      sync.Mutex
	session *session // nil when it is over
}

// holds remembers who has the lock.
func (d *DB) holds(l *locked) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.voted = l
}

// Serials implements sqlstorage.Locked.
func (l *locked) Serials() map[int64]int64 { return l.serials }

// Extend implements sqlstorage.Locked: everything is locked already.
func (l *locked) Extend(ctx context.Context, written, read []int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		return zodb.ErrClosed
	}
	return l.readSerials(ctx, append(append([]int64{}, written...), read...))
}

func (l *locked) readSerials(ctx context.Context, oids []int64) error {
	for _, oid := range oids {
		if _, known := l.serials[oid]; !known {
			l.serials[oid] = 0
		}
	}
	return sqlstorage.ReadSerials(ctx, l.db, l.session, l.form, oids, l.serials)
}

// Commit implements sqlstorage.Locked.
func (l *locked) Commit(ctx context.Context, make func(time.Time, int64, map[int64]int64) (*sqlstorage.Batch, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session
	if s == nil {
		return zodb.ErrClosed
	}
	l.over()
	last, err := s.number(ctx, l.form.SelectLast())
	if err != nil {
		return errors.Join(err, l.db.writer.rollback(s))
	}
	b, err := make(time.Now(), last, l.serials)
	if err == nil {
		err = s.write(ctx, b)
	}
	if err != nil {
		return errors.Join(err, l.db.writer.rollback(s))
	}
	return l.db.writer.commit(s)
}

// Release implements sqlstorage.Locked.
func (l *locked) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.session; s != nil {
		l.over()
		l.db.writer.rollback(s)
	}
}

// over forgets the session, which somebody else has now. l.mu is held.
func (l *locked) over() {
	l.session = nil
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	if l.db.voted == l {
		l.db.voted = nil
	}
}

// releaseVoted ends a transaction that still has the lock.
func (d *DB) releaseVoted() {
	d.mu.Lock()
	l := d.voted
	d.mu.Unlock()
	if l != nil {
		l.Release()
	}
}

// WithCommitLock implements sqlstorage.Sharer.
func (d *DB) WithCommitLock(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.Write(ctx, fn)
}

// Wait implements sqlstorage.Sharer. data_version is a number that changes when any
// other connection commits.
func (d *DB) Wait(ctx context.Context) error {
	return d.watcher.lend(ctx, func(s *session) error {
		for {
			v, err := s.number(ctx, "PRAGMA data_version")
			if err != nil {
				return err
			}
			if v != d.version {
				d.version = v
				return nil
			}
			select {
			case <-time.After(d.opts.Poll):
			case <-d.watcher.done:
				return zodb.ErrClosed
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}
