package zodb

import (
	"context"
	"iter"
	"reflect"
	"time"
)

// Asser is a value whose abilities are not simply its methods: they depend on
// what it wraps or on how it was configured. As asks it, and only it.
type Asser interface {
	// As sets *target to the ability and reports true, or reports false. target
	// is a pointer to an interface type.
	As(target any) bool
}

// As finds ability T in a storage or transaction.
func As[T any](v any) (T, bool) {
	var t T
	if a, ok := v.(Asser); ok {
		return t, a.As(&t)
	}
	t, ok := v.(T)
	return t, ok
}

// SetAs is the usual last step of an Asser: it sets *target to v if *target is
// an interface of type T.
func SetAs[T any](target any, v T) bool {
	t, ok := target.(*T)
	if ok {
		*t = v
	}
	return ok
}

// PassOn lets an Asser find an ability as what it wraps has it.
func PassOn(inner, target any) bool {
	if a, ok := inner.(Asser); ok {
		return a.As(target)
	}
	ability := reflect.ValueOf(target).Elem()
	v := reflect.ValueOf(inner)
	if !v.Type().Implements(ability.Type()) {
		return false
	}
	ability.Set(v)
	return true
}

// Adapt lets an Asser find an ability of what it wraps in another form: *target is
// what adapt makes of it.
func Adapt[T any](inner any, target *T, adapt func(T) T) bool {
	ability, ok := As[T](inner)
	if ok {
		*target = adapt(ability)
	}
	return ok
}

// Abilities of a Storage.
type (
	// Watcher tells of commits. [Watch] is the form for readers that pull.
	Watcher interface {
		// Observe calls fn for every change after the returned tid, in tid order
		// and without gaps, until stop is called; a storage that was out of touch
		// with its server says so in Change.Missed. Observers are told in the order in
		// which they began. fn runs during publication: the
		// change is visible to loads already, but LastTID has not moved yet and
		// the locks are still held. So fn must be quick, must not wait, and must
		// not call the storage except LoadBefore. stop waits for a running fn.
		Observe(fn func(Change)) (after TID, stop func())

		// ChangesSince returns the oids whose current revision changed after the
		// transaction `after`, and the tid up to which it looked. It returns
		// ErrUnknownPosition if the storage does not know (any more) what
		// happened since, or if `after` is not a transaction of this history.
		ChangesSince(ctx context.Context, after TID) ([]OID, TID, error)
	}

	// Syncer catches up with writers elsewhere (a shared SQL database, a server).
	Syncer interface {
		// Sync returns once LastTID covers all that was committed before the call.
		Sync(ctx context.Context) error
	}

	// Iterator reads transactions in the order of their tids.
	Iterator interface {
		// Transactions yields the published transactions with start <= tid <= stop,
		// oldest first. A stop of 0 means all there are at the call.
		Transactions(ctx context.Context, start, stop TID) iter.Seq2[*Transaction, error]
		// Backward yields the published transactions with tid <= from, newest
		// first. A from of 0 means from the last one.
		Backward(ctx context.Context, from TID) iter.Seq2[*Transaction, error]
	}

	// RecordIterator reads current records in the order of their oids.
	RecordIterator interface {
		// Current yields the revision of each object from <= oid <= to that is
		// current just after asOf (0: now). Deleted objects are left out.
		Current(ctx context.Context, asOf TID, from, to OID) iter.Seq2[Current, error]
	}

	// Historian tells the revisions of one object.
	Historian interface {
		// History returns at most size revisions, newest first.
		History(ctx context.Context, oid OID, size int) ([]Revision, error)
		// LoadSerial returns the revision of oid that transaction serial wrote.
		LoadSerial(ctx context.Context, oid OID, serial TID) ([]byte, error)
	}

	// Undoer has an undo log, and transactions that are an UndoTxn.
	Undoer interface {
		// UndoLog returns the transactions that may be undone, newest first: those
		// numbered first <= n < last among the ones that filter accepts (nil: all).
		// It ends at the first packed transaction.
		UndoLog(ctx context.Context, first, last int, filter func(*UndoEntry) bool) ([]UndoEntry, error)
	}

	// Packer drops old revisions.
	Packer interface {
		// Pack removes the revisions that nobody sees who looks at or after at,
		// and with GC also the objects that cannot be reached then. Options left
		// zero are as the storage is configured. It returns
		// errors.ErrUnsupported for an option it does not have.
		Pack(ctx context.Context, at time.Time, opts PackOptions) error
	}

	// BlobStore keeps blobs: files that belong to a revision. Its transactions
	// are a BlobTxn.
	BlobStore interface {
		// LoadBlob returns the path of the blob of a revision. The file must not
		// be written, and stays until it is packed away.
		LoadBlob(ctx context.Context, oid OID, serial TID) (path string, err error)
		// BlobTempDir is where files for StoreBlob are best made: moving them into
		// place then costs nothing.
		BlobTempDir() (string, error)
		// BlobDir returns the directory where the blobs of oid are kept, made if
		// need be: clients that share the file system leave files there.
		BlobDir(oid OID) (string, error)
	}

	// Restorer marks storages whose transactions are a RestoreTxn.
	Restorer interface{ CanRestore() }

	// Appender commits many restored transactions for the price of one.
	Appender interface {
		// Append votes and finishes transactions that this storage began with
		// given tids, in the ascending order of those, and which hold nothing but
		// what was restored. The medium makes as many of them durable at a time as
		// it can; whatever happens, what is kept is the first n of them. They are
		// published one by one in tid order, as ever.
		//
		// It returns how many are committed: with a nil error all. The others are
		// aborted; an error that matches ErrCommitUnknown says that it is not known
		// whether some of them are kept. In no case is any transaction still open.
		Append(ctx context.Context, txns []Txn) (n int, err error)
	}

	// Deleter marks storages whose transactions are a DeleteTxn.
	Deleter interface{ CanDelete() }

	// Prefetcher is told of loads to come.
	Prefetcher interface {
		Prefetch(ctx context.Context, oids []OID, tid TID)
	}

	// Recaller has records in memory, where LoadBefore may have to wait for a medium.
	Recaller interface {
		// Recall is LoadBefore if that can answer at once; otherwise it reports false.
		Recall(oid OID, tid TID) (Record, bool)
	}

	// Outcomer knows what became of a transaction.
	Outcomer interface {
		// Outcome returns the tid if the transaction is committed, 0 if it is known
		// not to be, and ErrCommitUnknown if that cannot be told (any more).
		Outcome(ctx context.Context, token Token) (TID, error)
	}
)

// Abilities of a Txn.
type (
	// UndoTxn can undo an earlier transaction.
	UndoTxn interface {
		// Undo buffers the inverse of a transaction; it is worked out at Vote, which
		// returns the oids among Resolved, or an *UndoError.
		Undo(ctx context.Context, tid TID) error
	}

	// DeleteTxn can delete objects.
	DeleteTxn interface {
		// Delete buffers the deletion of oid, whose current revision must be serial
		// at Vote. An absent oid is allowed.
		Delete(ctx context.Context, oid OID, serial TID) error
	}

	// RestoreTxn writes what another storage committed; TxnMeta.TID is given.
	RestoreTxn interface {
		// Restore buffers a revision without any check for conflicts. nil data is a
		// deletion. from, if not 0, says that the data equal those of that earlier
		// revision, so that they need not be kept twice.
		Restore(ctx context.Context, oid OID, data []byte, from TID) error
	}

	// BlobTxn can write blobs.
	BlobTxn interface {
		// StoreBlob is Store with a blob: the file at path, which the transaction
		// owns from now on, and moves or removes.
		StoreBlob(ctx context.Context, oid OID, serial TID, data []byte, path string) error
		// RestoreBlob is Restore with a blob.
		RestoreBlob(ctx context.Context, oid OID, data []byte, from TID, path string) error
	}

	// OverTxn is a transaction of a storage that is laid over another one, and
	// holds the changes to it.
	OverTxn interface {
		// Over says what lies below. It is called first of all. Where this storage
		// has no revision of an object, Vote goes by the one that base has: it is what
		// a write or a check is compared with, what conflicts are merged with, and
		// what an undo brings back. Of base only LoadBefore and the ability BlobStore
		// are used. It must not change.
		Over(base Storage)
	}

	// NoMergeTxn lets a composite merge against its own base.
	NoMergeTxn interface {
		// NoMerge makes Vote report every conflict and merge none.
		NoMerge()
	}
)

// Transaction is a committed transaction with its records.
type Transaction struct {
	TID         TID
	Status      byte // ' ', or 'p' for one that was packed
	User        []byte
	Description []byte
	Extension   []byte // the pickle of a dict, empty for none
	Size        int64  // bytes it takes in the medium
	Token       Token
	Records     []TxnRecord
}

// TxnRecord is one record of a committed transaction.
type TxnRecord struct {
	OID  OID
	Data []byte // nil: the object was deleted, or its creation was undone
	From TID    // not 0: an undo; the data are those of this earlier revision
	Blob bool   // the revision has a blob, which BlobStore.LoadBlob finds
}

// Current is the current record of one object.
type Current struct {
	OID    OID
	Serial TID
	Data   []byte
}

// Revision is one line of an object's history.
type Revision struct {
	TID         TID
	User        []byte
	Description []byte
	Extension   []byte
	Size        int64 // of the data, 0 for a revision without
}

// UndoEntry is one line of an undo log.
type UndoEntry struct {
	TID         TID
	User        []byte
	Description []byte
	Extension   []byte
	Size        int64 // bytes the transaction takes in the medium
}

// PackOptions says how to pack. What is left zero is as the storage is configured.
type PackOptions struct {
	GC        bool // drop objects that cannot be reached from the root, also where the storage is not configured to
	NoGC      bool // keep them, also where it is
	KeepOld   bool // keep the old medium beside the new one where that is a file, also where the storage is not configured to
	NoKeepOld bool // do not, also where it is

	Overlay bool // the storage holds changes to another one: collect no garbage, and keep deletions, for they hide what lies below
	DryRun  bool // find out what would be dropped, for Report, and change nothing

	// Rate bounds the bytes that are read and written in a second, so that others
	// come to their turn; 0 is no bound.
	Rate int64

	// Progress is told how much of the work is done; what is counted is the
	// storage's affair. done grows, total stays, and calls do not overlap.
	Progress func(done, total int64)

	// Report, if not nil, is filled in by storages that can tell, also if the pack
	// fails, as far as it came.
	Report *PackReport
}

// AsConfigured reports whether nothing is asked for that a storage would have to be
// told: a remote one, say, that takes no options.
func (o *PackOptions) AsConfigured() bool {
	return !o.GC && !o.NoGC && !o.KeepOld && !o.NoKeepOld && !o.Overlay && !o.DryRun && o.Rate == 0
}

// PackReport is what a pack did. Bytes are those of the medium, without blobs.
type PackReport struct {
	Unchanged     bool  `json:"unchanged"` // there was nothing to be gained: nothing was done
	ObjectsBefore int64 `json:"objects_before"`
	ObjectsAfter  int64 `json:"objects_after"`
	BytesBefore   int64 `json:"bytes_before"`
	BytesAfter    int64 `json:"bytes_after"`
	Revisions     int64 `json:"revisions_dropped"`
	Blobs         int64 `json:"blobs_removed"`
	Memory        int64 `json:"memory"` // bytes of tables and buffers at the most, besides those that serve
}
