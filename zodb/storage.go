package zodb

import (
	"context"
	"errors"
	"io"
)

// Storage keeps one database. Everything that nests is a Storage.
type Storage interface {
	// Info describes the storage. It is cheap and may be a little old.
	Info() Info

	// LoadBefore returns the newest revision of oid whose serial is < tid.
	// MaxTID asks for the current revision. Where there is none it returns a
	// *NoObjectError, which tells why.
	LoadBefore(ctx context.Context, oid OID, tid TID) (Record, error)

	// LastTID returns the tid of the last published transaction, 0 if there is
	// none. It never goes back and does no I/O.
	LastTID() TID

	// NewOIDs returns between one and n oids that were never handed out before,
	// in ascending order but not always contiguous.
	NewOIDs(ctx context.Context, n int) ([]OID, error)

	// Begin opens a transaction. It takes no lock. A storage that cannot be
	// written now returns ErrReadOnly or ErrNotPrimary.
	Begin(ctx context.Context, meta TxnMeta) (Txn, error)

	io.Closer
}

// Info describes a storage.
type Info struct {
	Name     string   // for people; for a file its path as configured
	Objects  int64    // how many objects, roughly
	Size     int64    // bytes kept, without blobs
	ReadOnly bool     // Begin returns ErrReadOnly
	UUID     [16]byte // names the database for good; zero if it has no name
}

// Record is one revision of an object.
type Record struct {
	Data   []byte
	Serial TID // who wrote it
	Next   TID // who replaced it, 0 if it is current
	AsOf   TID // what "current" means: if Next is 0, no revision <= AsOf replaced it
}

// Token names a transaction before it has a tid, and for good: with it the
// outcome can be asked for after the answer to Finish was lost.
type Token [16]byte

// TxnMeta is what a transaction says of itself when it begins.
type TxnMeta struct {
	User        []byte
	Description []byte
	Extension   []byte // the pickle of a dict, as bytes; empty for an empty dict
	Token       Token  // zero: the store makes one
	TID         TID    // not 0: the tid is given (copy, restore, replica); must be > LastTID at Vote
	Status      byte   // 0 or ' ' normally; 'p' if it was packed; kept only when TID is given
}

// Txn is an open transaction. It is used by one goroutine at a time.
//
// Every Txn must be ended by Finish or Abort. A failed Vote leaves nothing
// locked, and only Abort may follow it.
type Txn interface {
	// Store buffers a new revision of oid, made from the revision serial (0 for
	// a new object). The last Store of an oid counts.
	Store(ctx context.Context, oid OID, serial TID, data []byte) error

	// CheckCurrent demands that at Vote the current revision of oid is serial.
	CheckCurrent(ctx context.Context, oid OID, serial TID) error

	// Vote locks the objects of the transaction, waiting for other voters, and
	// checks it. See Votes for what may be left to do. After a Vote without
	// conflicts only the medium can make Finish fail.
	Vote(ctx context.Context) (Votes, error)

	// Finish commits: it returns the tid once the transaction is durable and
	// published. committed, if not nil, is called once, during publication, in
	// tid order among all transactions and before locks are freed: it must only
	// enqueue. Finish returns ErrCommitUnknown if the medium did not say whether
	// the transaction is kept.
	Finish(ctx context.Context, committed func(TID)) (TID, error)

	// Abort gives the transaction up and frees its locks. It does nothing after
	// Finish, so it may be deferred.
	Abort()
}

// Votes is the outcome of a vote that did not fail.
//
// With Conflicts the transaction is still open and keeps its locks: Store the
// merged states with the committed serials and Vote again, or Abort.
type Votes struct {
	Resolved  []OID      // what was stored, in this vote or an earlier one, differs from what the client sent (merged, undone)
	Conflicts []Conflict // for the client to merge
}

// Conflict is a write that was made from a revision that is no longer current.
type Conflict struct {
	OID       OID
	Committed TID    // the current revision
	Read      TID    // the revision that the write was made from
	Data      []byte // the state that was to be written
}

// Change is a published transaction and every oid whose current revision it
// changed: by store, undo, restore or delete, new objects included.
type Change struct {
	TID   TID
	OIDs  []OID
	Token Token // of the transaction, zero if not known

	// Missed is not NothingMissed if the storage was out of touch with those who
	// commit, and TID is where it finds itself now, which may be where it was.
	Missed Missed
}

// Missed says what a change that stands for a gap in a storage's knowledge covers.
// Caches must not take the objects' previous revisions for good until its TID:
// they were replaced at some time since the change before.
type Missed byte

// What may have been missed.
const (
	NothingMissed Missed = iota // the change is one transaction
	MissedListed                // OIDs are all objects that changed since the change before
	MissedUnknown               // it is not known what changed
)

// UnusedOIDs returns those of the n oids from first of which s has no object, and had
// none that it remembers.
func UnusedOIDs(ctx context.Context, s Storage, first OID, n int) ([]OID, error) {
	var unused []OID
	for oid := first; oid < first+OID(n); oid++ {
		_, err := s.LoadBefore(ctx, oid, MaxTID)
		missing, ok := errors.AsType[*NoObjectError](err)
		switch {
		case ok && !missing.Known && missing.DeletedAt == 0:
			unused = append(unused, oid)
		case err != nil && !ok:
			return nil, err
		}
	}
	return unused, nil
}
