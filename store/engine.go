package store

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Engine is one medium: it keeps transactions, and finds revisions.
//
// It does not lock, check, merge, or hide: a Store above it does. So an Engine
// shows a transaction as soon as Append has made it durable, and the Store takes
// care that nobody looks before it is published. All methods may be called
// concurrently with each other, except that there is only one Append at a time.
type Engine interface {
	// Serials returns, for each oid, the tid of its newest record, deletions
	// included, and 0 for an oid without any. It should read no data.
	Serials(ctx context.Context, oids []zodb.OID) ([]zodb.TID, error)

	// LoadBefore is zodb.Storage.LoadBefore. It leaves Record.AsOf to the Store.
	LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error)

	// Append makes the transactions durable together, in the order of their
	// tids, and meta with them if it is not nil. (An empty batch with a meta just
	// writes the meta.)
	//
	// It returns how many of them, from the first, are durable and visible. With
	// a nil error that is all. With an error the others are surely not there, now
	// or after a restart; unless the error matches zodb.ErrCommitUnknown, which
	// says that the medium does not tell, and that the engine must be settled.
	Append(ctx context.Context, batch []*txnlog.Txn, meta *Meta) (durable int, err error)

	// Scan yields transactions in the order of their tids: Forward those >= from,
	// Backward those <= from. It finds its start in O(log n) or so, and sees at
	// least what was durable when it began. (Of a HistoryFree medium it yields what
	// is left: see there.)
	Scan(ctx context.Context, from zodb.TID, dir Direction) iter.Seq2[*txnlog.Txn, error]

	// Current yields the newest record <= asOf of each object from <= oid <= to
	// that has data, in the order of the oids. (A HistoryFree engine also yields
	// the objects whose newest record is later: see there.)
	Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error]

	// Head returns the tid of the last transaction and the largest oid in use,
	// both 0 for an empty medium.
	Head() (zodb.TID, zodb.OID)

	// Meta returns what was last written with Append, zero if nothing was.
	Meta(ctx context.Context) (Meta, error)

	// Stat returns the number of objects and of bytes kept, roughly.
	Stat() (objects, bytes int64)

	io.Closer
}

// Direction is the direction of a Scan.
type Direction bool

const (
	Forward  Direction = false
	Backward Direction = true
)

// Meta is the little that a medium keeps beside the transactions. Losing it
// costs no data.
type Meta struct {
	UUID     [16]byte // names the database for good
	Epoch    uint64   // counts the primaries the database has had
	TIDFloor zodb.TID // the next tid must be larger than this
	NextOID  zodb.OID // oids below it may have been handed out
}

// What some engines can do besides.
type (
	// Packer is an engine that can drop old revisions. See zodb.Packer.
	Packer interface {
		Pack(ctx context.Context, at zodb.TID, opts zodb.PackOptions) error
	}

	// BlobEngine keeps blobs. Append moves Record.Blob into place, durably, before
	// it writes the transaction that names it.
	BlobEngine interface {
		zodb.BlobStore
		// HasBlobs reports whether this engine was opened with a place for blobs.
		HasBlobs() bool
	}

	// Reserver sets space aside before a transaction is promised to succeed.
	Reserver interface {
		// Reserve promises that n more bytes can be appended. It returns an error
		// that matches zodb.ErrNoSpace if they cannot. release gives back what was
		// not used; it may be called after Append, and twice.
		Reserve(n int64) (release func(), err error)
		// Space returns the bytes that the transaction will take when appended.
		Space(t *txnlog.Txn) int64
	}

	// Checker is an engine whose medium cannot hold every transaction.
	Checker interface {
		// Check reports what the medium cannot hold, such as a description that is
		// too long. The tid is not looked at.
		Check(t *txnlog.Txn) error
	}

	// Settler is an engine whose Append may answer zodb.ErrCommitUnknown.
	Settler interface {
		// Settle finds out what became of the last Append, and makes the engine fit
		// for the next one. It returns the tid of the last durable transaction. It
		// may be called again if it fails.
		Settle(ctx context.Context) (head zodb.TID, err error)
	}

	// Streamer is an engine whose batches take two steps, of which the second one can be
	// made together with the first one of the next batch.
	Streamer interface {
		// Stream is Append of the batches that next returns, one after the other, until
		// it returns none. It asks for the next one when the last one needs only its
		// second step. answer is called for each batch, in their order, with what Append
		// would return; after one with an error next is not called again.
		Stream(ctx context.Context, next func() []*txnlog.Txn, answer func(durable int, err error))
	}

	// Pacer is an engine whose appends cost the same for many transactions as for one,
	// and much.
	Pacer interface {
		// Gather returns how long transactions should gather before the next Append.
		Gather() time.Duration
	}

	// HeadScanner is an engine that can tell of transactions without reading what
	// they wrote.
	HeadScanner interface {
		// ScanHeads is Scan, but the transactions have no Records.
		ScanHeads(ctx context.Context, from zodb.TID, dir Direction) iter.Seq2[*txnlog.Txn, error]
	}

	// Truncator can cut its tail.
	Truncator interface {
		// Truncate removes all transactions after tid, keeping aside what it cuts.
		Truncate(ctx context.Context, after zodb.TID) error
	}

	// HistoryFree is an engine whose medium may forget what a transaction
	// overwrites: it is sure to have the newest record of each object, no more.
	//
	//   - LoadBefore returns the newest record if it is < tid; else an older one if
	//     the medium still has it, with its Next; else a *zodb.NoObjectError that
	//     is Known, without DeletedAt. A deletion is a record like others, until it
	//     is packed away.
	//   - Scan yields transactions made up of the records that are newest: those of
	//     one tid are one transaction. What else was known of it may be lost. A scan
	//     is of one moment: each object is in it once, also while others commit.
	//   - Current yields an object whose newest record is later than asOf, and
	//     older ones of which it does not have, with the Serial of that newest
	//     record and nil Data.
	//   - The blob of a revision may be forgotten with it.
	//   - Head may fall behind what was committed, after a restart or a pack: nothing
	//     is left of transactions whose records were all overwritten or that had none.
	//
	// The Store reads the states about to be overwritten at the vote, and keeps them
	// for a while, so that open snapshots stay readable.
	HistoryFree interface {
		// HistoryFree reports whether the medium, as it was opened, is such a one.
		HistoryFree() bool
	}

	// ManyLoader is an engine that reads many records at a time for less than one by
	// one.
	ManyLoader interface {
		// LoadMany returns the newest record of each oid, without Next: zero for an
		// oid without any, and without Data for a deletion. An empty state is not nil.
		LoadMany(ctx context.Context, oids []zodb.OID) ([]zodb.Record, error)
	}

	// OIDAllocator is an engine whose medium hands out oids itself, from a sequence
	// that other writers use as well. The Store then reserves none in Meta.
	OIDAllocator interface {
		// NewOIDs returns oids that the medium has never handed out before and never
		// will again, ascending: at least one, about n, more where it has them in
		// blocks. (The Store hands out the rest later.) That they are taken is
		// durable before it returns.
		NewOIDs(ctx context.Context, n int) ([]zodb.OID, error)
		// RaiseOIDs sees to it, durably, that no oid <= largest is handed out from
		// now on. It never lowers anything.
		RaiseOIDs(ctx context.Context, largest zodb.OID) error
	}

	// Follower is an engine whose medium gets transactions from others too: other
	// servers, or programs that know nothing of them. It is an OIDAllocator and a
	// Locker too, unless it is read-only. Append is not called then, so it is the
	// engine that gives the database its UUID.
	//
	// The medium must give tids such that a transaction is visible before any with
	// a larger tid is: whoever gives a tid holds a lock until that is durable.
	Follower interface {
		// Follows reports whether others may write to the medium, as it was opened.
		// If not, the other methods and those of Locker are not used.
		Follows() bool

		// Changes returns, in tid order, every transaction after `after` that was
		// durable at the call, own ones included, each with all oids whose current
		// revision it changed: by store, undo, restore or delete, new objects
		// included. Tokens may be missing.
		//
		// A HistoryFree engine may leave out of a transaction the objects that a later
		// one in the same answer changed as well, and a transaction of which nothing
		// else is left.
		//
		// head is the tid of the last transaction, at least that of the last change,
		// and `after` where nothing follows. One that is < after says that the medium
		// has lost transactions that had been committed, as a database may that
		// was replaced by its standby: then the Store stops for good.
		Changes(ctx context.Context, after zodb.TID) (changes []zodb.Change, head zodb.TID, err error)

		// Wait returns when others may have committed something since the last call
		// of Changes began: by a notification, or because it is time to look. An
		// error is that of ctx, or says that nobody will notify; then the Store calls
		// again after a while.
		Wait(ctx context.Context) error
	}

	// Locker is an engine over a medium that others write to at the same time, a
	// Follower. Locks, tids, and a last check of the serials are there.
	//
	// The Store's own locks come first. So of one Store at most one transaction
	// writes an object at a time, and two that Lock at the same time have only
	// objects in common that both read.
	Locker interface {
		// Lock locks the objects of a vote in the medium, those written exclusively
		// and those read against writers, and reads their serials under the locks.
		// It waits for others at most for wait, and must not end in a deadlock with
		// them: it asks in an order all agree on, or gives up.
		//
		// A lock that cannot be had is a *zodb.ConflictError. An object that does not
		// exist needs no lock: that it is still not there is checked by Commit. With
		// an error nothing is locked. An oid is in one of the lists, once. Transactions
		// that are restored together may name very many.
		Lock(ctx context.Context, written, read []zodb.OID, wait time.Duration) (Lock, error)
	}

	// Lock is what one transaction holds in a medium, from its vote on. It is used by
	// one goroutine at a time, and ended by Commit or Release.
	//
	// It may be lost unnoticed: the session that held it ended, and others have
	// changed the objects since. That must come to light in Commit. (Where there are
	// writers that do not check again themselves, Commit must have the locks again
	// before it writes, or fail.) Closing the engine ends all sessions.
	Lock interface {
		// Serials returns, of each object that is locked, the tid of its newest
		// record, deletions included, 0 for an object without any. The caller does not
		// change the map; Extend may.
		Serials() map[zodb.OID]zodb.TID

		// Extend locks more objects, or one for writing that was read. Those that are
		// locked already may be named again. It never waits for others, since it holds
		// locks: what cannot be had at once is a *zodb.ConflictError. With an error
		// the lock is only good for Release.
		Extend(ctx context.Context, written, read []zodb.OID) error

		// Commit takes the medium's own lock for commits, compares the serials of
		// everything that is locked once more, gives the transactions tids, and makes
		// them durable. There is more than one transaction only where each has its
		// tid (they are restored), ascending; otherwise TID is 0, and Commit sets it
		// to one that is larger than any that has been given.
		//
		// durable and err are as of Engine.Append: how many are durable, and why not
		// all. A *zodb.ConflictError says that an object is not what it was at the
		// vote. A given tid that is not larger than all others is an error. After
		// zodb.ErrCommitUnknown the Store calls Settle.
		//
		// An engine may make concurrent Commits durable together.
		Commit(ctx context.Context, batch []*txnlog.Txn) (durable int, err error)

		// Settle finds out what became of a Commit that did not know: how many of its
		// transactions, from the first, are durable. The others then are surely not
		// there and never will be, whatever is still under way in a lost session. It
		// sets TID of those that are. With an error it is called again; unless the
		// error matches zodb.ErrCommitUnknown, which says that it will never be known,
		// because others have overwritten all that the transactions wrote, or would have.
		Settle(ctx context.Context) (durable int, err error)

		// Release gives the locks up. It does nothing after Commit, and may be called
		// twice.
		Release()
	}

	// Recaller is an Engine that waits for another machine in LoadBefore, unless the
	// record is at hand.
	Recaller interface {
		// Recall is LoadBefore if that need not wait; otherwise it reports false.
		Recall(oid zodb.OID, tid zodb.TID) (zodb.Record, bool)
	}

	// Describer has a name for people, and may be unable to write.
	Describer interface {
		Name() string
		ReadOnly() bool
	}
)

// Gate stands between appended and published. Replication waits there.
type Gate interface {
	// Wait returns when the transactions up to tid may be published. An error
	// means that it cannot be known whether they will be.
	Wait(ctx context.Context, tid zodb.TID) error
}

// Clock tells the time; tests bring their own.
type Clock func() time.Time

// Resolver merges conflicting writes. The one of package resolve knows the classes
// of BTrees.
type Resolver interface {
	// Resolve returns the merged state, or false if it cannot tell: then the
	// client must try.
	Resolve(base, committed, wanted []byte) (merged []byte, ok bool)
}

// UndoResolver is a Resolver that tells undos from stores. In an undo no client
// can try.
type UndoResolver interface {
	// ResolveUndo merges what was before a transaction, wanted, with what has been
	// made since of what the transaction wrote, base.
	ResolveUndo(base, committed, wanted []byte) (merged []byte, ok bool)
}
