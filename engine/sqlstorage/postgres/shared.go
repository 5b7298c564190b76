package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// Lock implements sqlstorage.Sharer. See RelStorage's
// adapters/postgresql/procs/lock_objects_and_detect_conflicts.sql.
func (d *DB) Lock(ctx context.Context, form sqlstorage.Form, written, read []int64, wait time.Duration) (sqlstorage.Locked, error) {
	v := &vote{db: d, form: form, serials: make(map[int64]int64)}
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.begin(ctx, written, read, wait)
	if errors.Is(err, sqlstorage.ErrLost) { // an idle connection had died
		d.votes.Reset()
		err = v.begin(ctx, written, read, wait)
	}
	if err == nil && d.closed.Load() { // the lock may be one that Close has freed
		v.release()
		err = fmt.Errorf("%s: %w", d.name, zodb.ErrClosed)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// vote is a transaction that holds the locks of objects.
type vote struct {
	mu            sync.Mutex // held by every method, and by DB.Close
	db            *DB
	form          sqlstorage.Form
	conn          *pgxpool.Conn // nil: there is no transaction, or none any more
	written, read []int64       // what is locked
	serials       map[int64]int64
}

// begin opens the transaction and takes the locks.
func (v *vote) begin(ctx context.Context, written, read []int64, wait time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := v.db.acquire(bounded, v.db.votes)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return v.db.noneForVote(wait)
	}
	if err != nil {
		return err
	}
	v.take(conn)
	var batch pgx.Batch
	batch.Queue("BEGIN")
	patience(&batch, wait)
	if err := v.lock(ctx, &batch, written, read, lockWaiting); err != nil {
		v.release()
		return err
	}
	return nil
}

// noneForVote says why there was no connection for a vote.
func (d *DB) noneForVote(wait time.Duration) error {
	if s := d.votes.Stat(); s.AcquiredConns() < s.MaxConns() {
		return fmt.Errorf("%s: no connection could be made within %v: %w", d.name, wait, sqlstorage.ErrBusy)
	}
	return fmt.Errorf("%s: %d transactions hold locks already, and there is no connection for one more: %w", d.name, d.opts.Votes, sqlstorage.ErrBusy)
}

// take makes the connection that of the vote, and known to DB.Close.
func (v *vote) take(conn *pgxpool.Conn) {
	v.conn = conn
	socket := conn.Conn().PgConn().Conn()
	v.db.voting.Store(v, socket)
	if v.db.closed.Load() {
		socket.Close()
	}
}

// endVotes ends what votes are doing, so that their connections come back. Nobody has
// a use for them any more.
func (d *DB) endVotes() {
	d.voting.Range(func(v, socket any) bool {
		socket.(net.Conn).Close() // also of one that waits for a lock
		v.(*vote).Release()
		return true
	})
}

// patience bounds how long the transaction's statements wait: for each lock, and in
// all.
func patience(batch *pgx.Batch, wait time.Duration) {
	ms := strconv.FormatInt(max(wait.Milliseconds(), 1), 10)
	batch.Queue("SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $1, true)", ms)
}

// How to lock what is written. The subquery is sorted before the function is called.
const (
	lockWaiting = "SELECT zoid, pg_advisory_xact_lock(zoid) IS NOT NULL FROM (" + existing + ") x"
	lockTrying  = "SELECT zoid, pg_try_advisory_xact_lock(zoid) FROM (" + existing + ") x"
	existing    = "SELECT zoid FROM %s WHERE zoid = ANY($1) ORDER BY zoid"

	lockReading = "SELECT zoid, pg_try_advisory_xact_lock_shared(zoid) FROM unnest($1::bigint[]) x(zoid)"
)

// newest is the table that has the newest tid of each object.
func newest(form sqlstorage.Form) string {
	if form == sqlstorage.Free {
		return "object_state"
	}
	return "current_object"
}

// lock runs what is in the batch, takes the locks, those for reading first, and then
// reads the serials of what it has locked.
func (v *vote) lock(ctx context.Context, batch *pgx.Batch, written, read []int64, exclusive string) error {
	written, read = slices.Sorted(slices.Values(written)), slices.Sorted(slices.Values(read))
	if len(read) > 0 {
		var refused *sqlstorage.LockError
		batch.Queue(lockReading, read).Query(refusals(true, &refused))
		if err := v.send(ctx, batch, &refused); err != nil {
			return err
		}
		batch = new(pgx.Batch)
	}
	var refused *sqlstorage.LockError
	if len(written) > 0 {
		batch.Queue(fmt.Sprintf(exclusive, newest(v.form)), written).Query(refusals(false, &refused))
	}
	v.readSerials(batch, slices.Concat(written, read), v.serials)
	if err := v.send(ctx, batch, &refused); err != nil {
		return err
	}
	v.written, v.read = append(v.written, written...), append(v.read, read...)
	return nil
}

// send runs a batch, and says which lock was refused in it.
func (v *vote) send(ctx context.Context, batch *pgx.Batch, refused **sqlstorage.LockError) error {
	if err := v.conn.Conn().SendBatch(ctx, batch).Close(); err != nil {
		return v.db.explain(err)
	}
	if *refused != nil {
		return *refused
	}
	return nil
}

var errTaken = errors.New("somebody else has it")

// refusals reads whether locks were had.
func refusals(reading bool, refused **sqlstorage.LockError) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var oid int64
		var got bool
		_, err := pgx.ForEachRow(rows, []any{&oid, &got}, func() error {
			if !got && *refused == nil {
				*refused = &sqlstorage.LockError{OID: zodb.OID(oid), Read: reading, Err: errTaken}
			}
			return nil
		})
		return err
	}
}

// readSerials queues a statement that fills in the serials, 0 for what has no row.
func (v *vote) readSerials(batch *pgx.Batch, oids []int64, serials map[int64]int64) {
	sql := fmt.Sprintf("SELECT zoid, tid FROM %s WHERE zoid = ANY($1)", newest(v.form))
	batch.Queue(sql, oids).Query(func(rows pgx.Rows) error {
		for _, oid := range oids {
			serials[oid] = 0
		}
		var oid, tid int64
		_, err := pgx.ForEachRow(rows, []any{&oid, &tid}, func() error {
			serials[oid] = tid
			return nil
		})
		return err
	})
}

// Serials implements sqlstorage.Locked.
func (v *vote) Serials() map[int64]int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.serials)
}

// Extend implements sqlstorage.Locked. If the session has died its locks have, and all
// of them are tried for again.
func (v *vote) Extend(ctx context.Context, written, read []int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn == nil || v.conn.Conn().IsClosed() {
		return v.again(ctx, slices.Concat(v.written, written), slices.Concat(v.read, read))
	}
	err := v.lock(ctx, new(pgx.Batch), written, read, lockTrying)
	if errors.Is(err, sqlstorage.ErrLost) {
		return v.again(ctx, slices.Concat(v.written, written), slices.Concat(v.read, read))
	}
	return err
}

// again takes all locks on a new session, without waiting.
func (v *vote) again(ctx context.Context, written, read []int64) error {
	v.release()
	v.db.votes.Reset()
	conn, err := v.db.acquire(ctx, v.db.votes)
	if err != nil {
		return err
	}
	v.take(conn)
	v.written, v.read = nil, nil
	var batch pgx.Batch
	batch.Queue("BEGIN")
	return v.lock(ctx, &batch, written, read, lockTrying)
}

// commitWait is how long a commit waits for those before it. RelStorage waits as long.
const commitWait = 10 * time.Minute

// Commit implements sqlstorage.Locked.
//
// If the session that held the locks has died, somebody else may hold them by now, and
// may have compared serials before we change them: so they are taken again first, and
// if one is not to be had the commit fails.
func (v *vote) Commit(ctx context.Context, make func(now time.Time, last int64, serials map[int64]int64) (*sqlstorage.Batch, error)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer v.release()
	now, last, serials, err := v.lockCommit(ctx)
	if errors.Is(err, sqlstorage.ErrLost) {
		if err = v.again(ctx, v.written, v.read); err == nil {
			now, last, serials, err = v.lockCommit(ctx)
		}
	}
	if err != nil {
		return err
	}
	b, err := make(now, last, serials)
	if err != nil {
		return err
	}
	defer v.letGo() // the writer ends the transaction
	return v.db.write(ctx, v.conn.Conn(), b)
}

// lockCommit takes the commit lock, and reads under it what a commit starts from.
func (v *vote) lockCommit(ctx context.Context) (now time.Time, last int64, serials map[int64]int64, err error) {
	if v.conn == nil {
		return now, 0, nil, v.db.explain(errNoSession)
	}
	serials = make(map[int64]int64)
	var batch pgx.Batch
	patience(&batch, commitWait)
	batch.Queue("SELECT pg_advisory_xact_lock($1)", int64(commitLock))
	batch.Queue(lastTID(v.form)).QueryRow(func(row pgx.Row) error { return row.Scan(&last) })
	batch.Queue("SELECT clock_timestamp()").QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
	v.readSerials(&batch, slices.Concat(v.written, v.read), serials)
	err = v.conn.Conn().SendBatch(ctx, &batch).Close()
	return now.UTC(), last, serials, v.db.explain(err)
}

var errNoSession = errors.New("the session that held the locks has ended") // counts as lost

// Release implements sqlstorage.Locked.
func (v *vote) Release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.release()
}

// release rolls back, if there is a transaction.
func (v *vote) release() {
	if v.conn != nil {
		rollback(context.Background(), v.conn.Conn())
		v.letGo()
	}
}

// letGo gives the connection back.
func (v *vote) letGo() {
	v.db.voting.Delete(v)
	v.conn.Release()
	v.conn = nil
}
