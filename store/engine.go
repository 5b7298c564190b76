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
	// least what was durable when it began.
	Scan(ctx context.Context, from zodb.TID, dir Direction) iter.Seq2[*txnlog.Txn, error]

	// Current yields the newest record <= asOf of each object from <= oid <= to
	// that has data, in the order of the oids.
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
