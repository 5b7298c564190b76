package mysql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// locked holds the locks of a vote: rows of current_object (preserving) or
// object_state (free), locked by their primary key in a transaction of its own.
//
// They are record locks and no more. The session reads committed, which takes no
// gaps, and each row is found by its whole key: the list of oids drives a nested
// loop. A condition like IN (...) may become a scan, which locks what it passes.
type locked struct {
	db   *DB
	form sqlstorage.Form

	mu      sync.Mutex // against the timer
	conn    *conn      // nil: the session was lost, and its locks with it
	timer   *time.Timer
	over    bool
	written []int64 // ascending
	read    []int64
	serials map[int64]int64
}

// Wait implements sqlstorage.Sharer: MySQL notifies nobody.
func (d *DB) Wait(ctx context.Context) error {
	timer := time.NewTimer(d.opts.Poll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WithCommitLock implements sqlstorage.Sharer.
func (d *DB) WithCommitLock(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.Write(ctx, func(s sqlstorage.Session) error {
		held := false
		for _, err := range s.Query(ctx, commitLock) {
			if err != nil {
				return err
			}
			held = true
		}
		if !held {
			return d.noLockRow()
		}
		return fn(s)
	})
}

// Lock implements sqlstorage.Sharer.
func (d *DB) Lock(ctx context.Context, form sqlstorage.Form, written, read []int64, wait time.Duration) (sqlstorage.Locked, error) {
	l := &locked{db: d, form: form, serials: make(map[int64]int64, len(written)+len(read))}
	limited, cancel := context.WithTimeout(ctx, wait+l.grace())
	defer cancel()
	err := l.take(limited, sorted(written), sorted(read), wait)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = &Error{Database: d.name, Err: fmt.Errorf("locks were not to be had within %v: %w", wait, err), kind: sqlstorage.ErrBusy}
	}
	if err != nil {
		return nil, l.why(ctx, err, written, read)
	}
	l.keepAlive()
	return l, nil
}

// Serials implements sqlstorage.Locked.
func (l *locked) Serials() map[int64]int64 { return l.serials }

// Extend implements sqlstorage.Locked.
func (l *locked) Extend(ctx context.Context, written, read []int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return l.db.failure(errSessionLost)
	}
	err := l.lock(ctx, sorted(written), sorted(read), 0)
	if err != nil {
		l.drop() // the server may have rolled back all of it
		return l.why(ctx, err, written, read)
	}
	return nil
}

var errSessionLost = errors.New("the session that held the locks of the vote is gone")

// take locks on a session that is begun for it.
func (l *locked) take(ctx context.Context, written, read []int64, wait time.Duration) error {
	return l.db.again(l.db.votes, func() (err error) {
		if l.conn, err = l.db.votes.get(ctx); err != nil {
			return err
		}
		if err = l.lock(ctx, written, read, wait); err != nil {
			l.drop()
		}
		return err
	})
}

// drop gives the session back without its locks.
func (l *locked) drop() {
	if l.conn != nil {
		l.db.rollback(l.db.votes, l.conn)
		l.conn = nil
	}
}

// listed is how many oids a statement lists: a copy may write very many at once.
const listed = 20_000

// lock locks in the session: shared locks first, without waiting, then the others.
// No wait: try only.
func (l *locked) lock(ctx context.Context, written, read []int64, wait time.Duration) error {
	seconds := int(max(1, math.Ceil(wait.Seconds())))
	var selects []string
	for some := range slices.Chunk(read, listed) {
		selects = append(selects, rowsOf(l.form, some)+" "+l.db.shareNoWait())
	}
	for some := range slices.Chunk(written, listed) {
		text := l.atMost(wait) + rowsOf(l.form, some) + " FOR UPDATE"
		if wait == 0 {
			text += " NOWAIT"
		}
		selects = append(selects, text)
	}
	for _, oid := range append(slices.Clone(written), read...) {
		l.serials[oid] = 0
	}
	set := fmt.Sprintf("SET SESSION innodb_lock_wait_timeout=%d", seconds)
	if err := l.conn.texts(ctx, set, nil, selects, l.note); err != nil {
		return l.db.failure(err)
	}
	l.written = sorted(append(l.written, written...))
	l.read = sorted(append(l.read, read...))
	return nil
}

// How long locks are waited for. MySQL bounds the wait for each lock, in whole
// seconds; for all together we give up ourselves, and then the session must be
// killed. MariaDB bounds a statement, and leaves the session to us.

func (l *locked) atMost(wait time.Duration) string {
	if wait == 0 || !l.db.info.mariadb {
		return ""
	}
	return fmt.Sprintf("SET STATEMENT max_statement_time=%.3f FOR ", max(wait.Seconds(), 0.001))
}

// grace is how much longer than the server we wait.
func (l *locked) grace() time.Duration {
	if l.db.info.mariadb {
		return 5 * time.Second
	}
	return 0
}

func (l *locked) note(r *row) error {
	var oid, tid int64
	err := r.Scan(&oid, &tid)
	l.serials[oid] = tid
	return err
}

// shareNoWait is the two servers' spelling of a shared lock that is not waited for.
func (d *DB) shareNoWait() string {
	if d.info.mariadb {
		return "LOCK IN SHARE MODE NOWAIT"
	}
	return "FOR SHARE NOWAIT"
}

// rowsOf selects the rows that say which revision is current, one by one in the order
// of the list.
func rowsOf(form sqlstorage.Form, oids []int64) string {
	return "SELECT STRAIGHT_JOIN o.zoid, o.tid FROM " + joined(form, oids)
}

// joined is the tables of a statement that finds the rows of a list of oids.
func joined(form sqlstorage.Form, oids []int64) string {
	table := "current_object"
	if form == sqlstorage.Free {
		table = "object_state"
	}
	return "JSON_TABLE('" + numbers(oids) + "', '$[*]' COLUMNS (zoid BIGINT PATH '$')) l " +
		"STRAIGHT_JOIN " + table + " o FORCE INDEX (PRIMARY) ON o.zoid = l.zoid"
}

// LockFree implements sqlstorage.RowLocker.
func (d *DB) LockFree(ctx context.Context, s sqlstorage.Session, form sqlstorage.Form, oids []int64) (free []int64, err error) {
	err = s.(session).conn.text(ctx, rowsOf(form, sorted(oids))+" FOR UPDATE SKIP LOCKED", func(r *row) error {
		var oid, tid int64
		err := r.Scan(&oid, &tid)
		free = append(free, oid)
		return err
	})
	return free, d.failure(err)
}

// DeleteFree implements sqlstorage.RowLocker.
func (d *DB) DeleteFree(ctx context.Context, s sqlstorage.Session, form sqlstorage.Form, oids []int64) error {
	_, err := s.(session).conn.send(ctx, "DELETE o FROM "+joined(form, sorted(oids)), nil)
	return d.failure(err)
}

// why finds out which object is locked, which the server does not say: the one that
// is passed over by who skips what is locked.
func (l *locked) why(ctx context.Context, err error, written, read []int64) error {
	if !errors.Is(err, sqlstorage.ErrBusy) {
		return err
	}
	all := sorted(append(slices.Clone(written), read...))
	oid := all[0]
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if c, e := l.db.votes.get(ctx); e == nil {
		there, free := make(map[int64]bool), make(map[int64]bool)
		into := func(m map[int64]bool) func(*row) error {
			return func(r *row) error {
				var oid, tid int64
				err := r.Scan(&oid, &tid)
				m[oid] = true
				return err
			}
		}
		e = c.text(ctx, rowsOf(l.form, all)+"; "+rowsOf(l.form, all)+" FOR UPDATE SKIP LOCKED", into(there), into(free))
		l.db.rollback(l.db.votes, c)
		if i := slices.IndexFunc(all, func(oid int64) bool { return there[oid] && !free[oid] }); e == nil && i >= 0 {
			oid = all[i]
		}
	}
	return &sqlstorage.LockError{OID: zodb.OID(oid), Read: slices.Contains(read, oid), Err: err}
}

// keepAlive uses the session now and then, so that the server does not end it while
// a client is slow to finish.
func (l *locked) keepAlive() {
	l.timer = time.AfterFunc(keepAlive, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.over || l.conn == nil {
			return
		}
		ctx, cancel := context.WithTimeout(l.db.closing, keepAlive/2)
		defer cancel()
		if l.conn.raw.Ping(ctx) != nil {
			l.drop()
			return
		}
		l.timer.Reset(keepAlive)
	})
}

// end makes the timer leave the session alone.
func (l *locked) end() {
	l.over = true
	l.timer.Stop()
}

// Release implements sqlstorage.Locked.
func (l *locked) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.end()
		l.drop()
	}
}

// Commit implements sqlstorage.Locked.
func (l *locked) Commit(ctx context.Context, make func(now time.Time, last int64, serials map[int64]int64) (*sqlstorage.Batch, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return errors.New("commit of a vote that is over")
	}
	l.end()
	now, last, serials, err := l.lockToCommit(ctx)
	if err != nil {
		return err
	}
	b, err := make(now, last, serials)
	if err == nil {
		err = l.db.write(ctx, l.conn, b)
	}
	if err != nil {
		l.drop()
		return err
	}
	l.db.votes.put(l.conn)
	l.conn = nil
	return nil
}

// lockToCommit takes the commit lock in the session that holds the object locks, or
// in a new one if that is gone. Then the object locks come first there too, as
// they do for everybody: who holds the commit lock must wait for nobody.
func (l *locked) lockToCommit(ctx context.Context) (now time.Time, last int64, serials map[int64]int64, err error) {
	if l.conn != nil {
		now, last, serials, err = l.look(ctx)
		if !errors.Is(err, sqlstorage.ErrLost) {
			return now, last, serials, err
		}
		l.db.votes.forget()
	}
	written, read := l.written, l.read
	if err := l.take(ctx, written, read, 0); err != nil {
		return now, 0, nil, l.why(ctx, err, written, read)
	}
	return l.look(ctx)
}

// commitWait is how long the commit lock is waited for: as long as RelStorage does,
// for the vote has promised that there will be no error.
const commitWait = "SET SESSION innodb_lock_wait_timeout=500"

// look takes the commit lock, and reads what is true under it. With an error the
// session is given back.
func (l *locked) look(ctx context.Context) (now time.Time, last int64, serials map[int64]int64, err error) {
	all := sorted(append(slices.Clone(l.written), l.read...))
	serials = make(map[int64]int64, len(all))
	for _, oid := range all {
		serials[oid] = 0
	}
	held := false
	var clock string
	text := commitWait + "; " + commitLock + "; SELECT UTC_TIMESTAMP(6); " + l.form.SelectLast()
	answers := []func(*row) error{
		func(*row) error { held = true; return nil },
		func(r *row) error { return r.Scan(&clock) },
		func(r *row) error { return r.Scan(&last) },
	}
	var selects []string
	for some := range slices.Chunk(all, listed) {
		selects = append(selects, rowsOf(l.form, some))
	}
	note := func(r *row) error {
		var oid, tid int64
		err := r.Scan(&oid, &tid)
		serials[oid] = tid
		return err
	}
	if err = l.db.failure(l.conn.texts(ctx, text, answers, selects, note)); err == nil && !held {
		err = l.db.noLockRow()
	}
	if err == nil {
		now, err = time.Parse("2006-01-02 15:04:05.999999", clock)
	}
	if err != nil {
		l.drop()
	}
	return now, last, serials, err
}

// sorted returns the oids ascending, each once.
func sorted(oids []int64) []int64 { return slices.Compact(slices.Sorted(slices.Values(oids))) }
