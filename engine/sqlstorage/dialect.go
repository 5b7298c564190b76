package sqlstorage

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Dialect is an open database that speaks its own SQL. Its methods may be called
// concurrently. The core calls nothing after Close.
//
// Errors. A Dialect returns its driver's errors with what an operator needs (which
// server, which database, never a password), and makes these ones recognizable:
//
//   - zodb.ErrCommitUnknown: COMMIT was sent, and no answer came. Where the
//     statement before it failed, or the server said no, it is not unknown.
//   - [ErrBusy]: a lock was not to be had in time.
//   - zodb.ErrNoSpace: the server's disk is full.
//   - zodb.ErrReadOnly: the server takes no writes (a standby).
//   - [ErrLost]: the connection broke, and nothing was committed. Read and Snapshot
//     then call fn once more, on a fresh connection, if fn returned such an error;
//     fn hides it where it cannot begin again. Nothing else is retried.
type Dialect interface {
	// Name names the database for people: "sqlite:///var/db/main.sqlite3".
	Name() string

	// Objects returns the tables, indexes, views, sequences, functions and triggers
	// that are there, as "table object_state", "index object_state_tid".
	// Names are lower case. Temporary ones and those of other schemas are left out.
	Objects(ctx context.Context) (map[string]bool, error)

	// Schema returns what RelStorage's schema of that form consists of, in the order
	// in which it can be created. Blobs in a directory change nothing: RelStorage has
	// blob_chunk then, too. "table zari_meta" is among it, with the columns id (1, in
	// its one row), uuid (16 bytes, or none), epoch, tid_floor and next_oid (64-bit
	// integers), none of them NULL; and in the form Preserving "table zari_undone" with
	// zoid, tid and from_tid, and the primary key (tid, zoid).
	Schema(form Form) []Object

	// Read lends fn a session in autocommit: every statement sees what is committed
	// when it begins. It must not write. Sessions come from a bounded pool.
	Read(ctx context.Context, fn func(Session) error) error

	// Snapshot lends fn a session in a read-only transaction: all its statements see
	// the same state, the one at the first of them. fn may take hours.
	Snapshot(ctx context.Context, fn func(Session) error) error

	// Write runs fn in one transaction (read committed, or stronger) and commits it,
	// or rolls it back if fn returns an error. It is for what is not a commit of ZODB:
	// schema, meta, lease, pack. It must not block an Append for longer than fn takes,
	// and fn is kept short by its callers.
	Write(ctx context.Context, fn func(Session) error) error

	// In returns a condition that is true where column is one of the values, and its
	// arguments: "zoid = ANY(?)", "zoid IN (?,?,?)". There are at most [MaxIn] values.
	In(column string, values []int64) (cond string, args []any)

	// Append writes a batch in one SQL transaction, durably, whole or not at all:
	//
	//	begin; take RelStorage's commit lock
	//	read epoch from zari_meta, locking the row, and MAX(tid);
	//	    if b.Check(epoch, tid) fails: roll back, return its error as it is
	//	blobs that are kept in rows first or last, as foreign keys want it
	//	b.Transactions() into transaction                (preserving only)
	//	b.States() into object_state: inserted (preserving), or put in the place of the
	//	    object's row (free), whose blob_chunk rows go
	//	b.Current() into current_object: put in place    (preserving only)
	//	b.Undone() into zari_undone, unless they are there   (preserving only)
	//	b.Meta into zari_meta, if it is not nil
	//	commit
	//
	// Statements should travel together: the time that Append takes is what a commit
	// costs. It must not hold more of the batch's data in memory than a few megabytes
	// beyond the largest record. MAX(tid) is that of transaction (preserving) or
	// object_state (free), 0 where there is none.
	Append(ctx context.Context, b *Batch) error

	// ReadBlob writes the blob of a revision to w. Where there is none it returns a
	// *zodb.NoObjectError. Only called where blobs are kept in rows.
	ReadBlob(ctx context.Context, form Form, oid, tid int64, w io.Writer) error

	// NextOIDs takes n steps (n > 0) of RelStorage's sequence, durably, and returns the
	// last step taken: the caller owns last-n+1 ... last. (RelStorage: step s is the
	// sixteen oids s*16-15 ... s*16.)
	NextOIDs(ctx context.Context, n int) (last int64, err error)

	// RaiseOIDs makes NextOIDs return steps > step only. It never goes back.
	RaiseOIDs(ctx context.Context, step int64) error

	// Size estimates how many objects and bytes there are (bytes without blobs where
	// they can be told apart). It must be quick: the planner's statistics, say.
	Size(ctx context.Context, form Form) (objects, bytes int64, err error)

	// Pools returns how many connections there are, and how many there may be. It is
	// quick, and may be called after Close.
	Pools() []Pool

	// Lease takes what keeps a second exclusive server out while this one lives, as
	// long as the database has something of the kind (a session's advisory lock, a
	// lock on a file): an [ErrBusy] if another server has it. It is for liveness alone;
	// that a lease was lost is found by [Batch.Check].
	Lease(ctx context.Context) (io.Closer, error)

	// PackLock takes RelStorage's pack lock without waiting: [ErrBusy] if somebody has
	// it. RelStorage holds it while it packs or undoes.
	PackLock(ctx context.Context) (io.Closer, error)

	io.Closer
}

// Sharer is a Dialect whose database can be shared with other writers.
type Sharer interface {
	// Lock begins a transaction of its own and locks, in RelStorage's order and with
	// its locks: read, shared, without waiting, in ascending order; then those of
	// written that exist, in ascending order, waiting for at most wait in all. A lock
	// that cannot be had is an [ErrBusy] (a *LockError says which). The
	// returned serials are read under the locks, in a statement that began after they
	// were had, 0 for an object that has no row.
	Lock(ctx context.Context, form Form, written, read []int64, wait time.Duration) (Locked, error)

	// WithCommitLock runs fn in a transaction that holds the commit lock: whatever
	// Commit said zodb.ErrCommitUnknown is over then. (So a COMMIT must not be sent
	// before the answer is there that the commit lock was had.)
	WithCommitLock(ctx context.Context, fn func(Session) error) error

	// Wait returns when others may have committed something: it was notified, or the
	// polling interval is over. A nil error may come too early, never too late. Only one
	// goroutine waits. A notification that came between two Waits ends the second at
	// once.
	Wait(ctx context.Context) error
}

// Locked is a transaction that holds the locks of a vote.
type Locked interface {
	Serials() map[int64]int64

	// Extend locks more, as Lock but without any waiting.
	Extend(ctx context.Context, written, read []int64) error

	// Commit takes the commit lock, reads MAX(tid), the database's clock and the
	// serials of everything that is locked once more (in statements that begin after
	// the lock was had), calls make with them, and writes the batch as Append does, but
	// with no epoch to check; or rolls back if make fails, and returns its error as it
	// is. (The session that held the object locks may have died: then Commit works on a
	// new one, and the serials tell.) Whatever it returns, all locks are free then.
	Commit(ctx context.Context, make func(now time.Time, last int64, serials map[int64]int64) (*Batch, error)) error

	// Release rolls back. It does nothing after Commit.
	Release()
}

// Overwritten is a Dialect that keeps what history-free transactions overwrite, by
// whomever, for a while (in a side table that a trigger fills).
type Overwritten interface {
	// LoadOverwritten returns the newest state before tid of an object whose row has
	// a larger one, and what replaced it. ok is false where that is forgotten.
	LoadOverwritten(ctx context.Context, oid, tid int64) (state []byte, serial, next int64, ok bool, err error)
}

// Session is one connection, used by one goroutine at a time, and only until the
// function it was lent to returns.
//
// Statements are portable SQL with ? for arguments, which are int64, bool, string,
// []byte or nil, and "transaction" in double quotes. The same statement comes again and
// again with the same text: sessions keep it prepared. A ? never stands in a
// literal or a name, so a Dialect may replace them by count.
type Session interface {
	// Exec runs a statement and returns how many rows it changed.
	Exec(ctx context.Context, statement string, args ...any) (int64, error)

	// Query yields the rows, one after the other as the database sends them. A Row
	// is good until the next one is asked for. Another statement may be run when the
	// iteration is over, whether it was ended early or not.
	Query(ctx context.Context, statement string, args ...any) iter.Seq2[Row, error]
}

// Row is a row of a Query.
type Row interface {
	// Scan copies the columns to *int64, *bool, *string or *[]byte, where NULL is 0,
	// false, "" or nil, and an empty value of bytes is not nil. The bytes are the
	// caller's own.
	Scan(dest ...any) error
}

// Limiter is a Dialect whose database cannot hold values of any size. A transaction
// with a larger one is refused when it votes.
type Limiter interface {
	MaxState() int64 // bytes of one object's state
	MaxBlob() int64  // bytes of one blob that is kept in rows
}

// RowLocker is a Sharer whose votes lock rows of current_object (preserving) or
// object_state (free). A pack that removed such a row would wait, with the commit lock,
// for a vote that waits for the commit lock. Both methods are called in a session of
// WithCommitLock.
type RowLocker interface {
	// LockFree locks the rows that no vote has locked, without waiting, and returns
	// their objects.
	LockFree(ctx context.Context, s Session, form Form, oids []int64) (free []int64, err error)

	// DeleteFree deletes rows that LockFree has locked, and looks at no other.
	DeleteFree(ctx context.Context, s Session, form Form, oids []int64) error
}

// TextLimiter is a Dialect that bounds what a transaction says of itself, too.
type TextLimiter interface {
	MaxText() int64 // bytes of each of user, description and extension
}

// Pool is a bounded number of connections for one purpose.
type Pool struct {
	Name        string // loads, writes, votes
	Open, InUse int
	Limit       int // Open never exceeds it
}

// Add returns both together, as q is called.
func (p Pool) Add(q Pool) Pool {
	return Pool{q.Name, p.Open + q.Open, p.InUse + q.InUse, p.Limit + q.Limit}
}

// MaxIn is the largest number of values that In is called with.
const MaxIn = 1000

// Object is a part of the schema.
type Object struct {
	Name string   // as in Objects: "table object_state"
	SQL  []string // creates it (and the rows that it is never without)
}

// Form is one of the two forms of RelStorage's schema.
type Form int

const (
	Preserving Form = iota // every revision is kept until it is packed away
	Free                   // only the newest is
)

func (f Form) String() string { return [...]string{"history-preserving", "history-free"}[f] }

// LockError is an [ErrBusy] that knows which object's lock was not to be had.
type LockError struct {
	OID  zodb.OID
	Read bool // a shared lock
	Err  error
}
