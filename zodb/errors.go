package zodb

import (
	"errors"
	"fmt"
)

// States that an operation may meet. They say nothing about data.
var (
	ErrReadOnly        = errors.New("storage is read-only")
	ErrNotPrimary      = errors.New("storage is not the primary")
	ErrClosed          = errors.New("storage is closed")
	ErrCommitUnknown   = errors.New("it is not known whether the transaction was committed")
	ErrUnknownPosition = errors.New("the storage does not know what changed since that transaction")
	ErrCorrupt         = errors.New("data are corrupt")
	ErrNoSpace         = errors.New("no space left on the storage's medium")
)

// NoObjectError says that there is no revision to load (POSKeyError).
type NoObjectError struct {
	OID       OID
	Before    TID  // what was asked for
	Known     bool // the object exists, but has no revision before Before
	DeletedAt TID  // not 0: the newest revision before Before is a deletion
}

func (e *NoObjectError) Error() string {
	switch {
	case e.DeletedAt != 0:
		return fmt.Sprintf("object %v was deleted at %v", e.OID, e.DeletedAt)
	case e.Known:
		return fmt.Sprintf("object %v has no revision before %v", e.OID, e.Before)
	}
	return fmt.Sprintf("no object %v", e.OID)
}

// ConflictError says that a transaction cannot commit because of another one.
type ConflictError struct {
	OID       OID
	Committed TID  // the current revision
	Read      TID  // what the transaction had read
	Check     bool // of a CheckCurrent (ReadConflictError), not of a write
	Reason    string
}

func (e *ConflictError) Error() string {
	kind := "conflict"
	if e.Check {
		kind = "read conflict"
	}
	s := fmt.Sprintf("%s on object %v: read %v, committed %v", kind, e.OID, e.Read, e.Committed)
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// UndoError says why a transaction cannot be undone.
type UndoError struct {
	TID    TID // the transaction to undo
	OID    OID // the object in the way, if HasOID
	HasOID bool
	Reason string
}

func (e *UndoError) Error() string {
	if e.HasOID {
		return fmt.Sprintf("cannot undo transaction %v: object %v: %s", e.TID, e.OID, e.Reason)
	}
	return fmt.Sprintf("cannot undo transaction %v: %s", e.TID, e.Reason)
}

// TxnError says that a transaction's method was called in the wrong phase.
type TxnError struct {
	Op    string // "store", "vote" ...
	State string // "voted", "finished" ...
}

func (e *TxnError) Error() string { return fmt.Sprintf("%s: the transaction is %s", e.Op, e.State) }

// CorruptError names the place where a medium holds what it must not. It
// matches ErrCorrupt.
type CorruptError struct {
	File   string
	Record string // what was being read there: "transaction header" ...
	Offset int64
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: %s at offset %d: %v", e.File, e.Record, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// Is reports true for ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// OpError says which operation on which storage failed. It is added once, where
// an error leaves for a log or a person.
type OpError struct {
	Storage string
	Op      string
	Args    string
	Err     error
}

func (e *OpError) Error() string {
	if e.Args == "" {
		return fmt.Sprintf("%s: %s: %v", e.Storage, e.Op, e.Err)
	}
	return fmt.Sprintf("%s: %s(%s): %v", e.Storage, e.Op, e.Args, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }
