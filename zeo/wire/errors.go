package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Names of Python's exception classes that the protocol knows.
const (
	POSKeyError             = "ZODB.POSException.POSKeyError"
	ConflictError           = "ZODB.POSException.ConflictError"
	ReadConflictError       = "ZODB.POSException.ReadConflictError"
	BTreesConflictError     = "ZODB.POSException.BTreesConflictError"
	UndoError               = "ZODB.POSException.UndoError"
	MultipleUndoErrors      = "ZODB.POSException.MultipleUndoErrors"
	ReadOnlyError           = "ZODB.POSException.ReadOnlyError"
	StorageTransactionError = "ZODB.POSException.StorageTransactionError"
	StorageSystemError      = "ZODB.POSException.StorageSystemError"
	KeyError                = "builtins.KeyError"
	TypeError               = "builtins.TypeError"
	ValueError              = "builtins.ValueError"
	AssertionError          = "builtins.AssertionError"
	AttributeError          = "builtins.AttributeError"
	NotImplementedError     = "builtins.NotImplementedError"
)

// PyError is an exception by its name: one that stands for no error of package
// zodb, or that came from a server and is not in the table.
type PyError struct {
	Class  string // dotted
	Args   pickle.Tuple
	Detail any // what came instead of Args: a *pickle.Dict of attributes
}

// NewPyError makes an exception with the given arguments.
func NewPyError(class string, args ...any) *PyError {
	return &PyError{Class: class, Args: args}
}

func (e *PyError) Error() string {
	_, name, ok := cutLast(e.Class, ".")
	if !ok {
		name = e.Class
	}
	if d, ok := e.Detail.(*pickle.Dict); ok {
		return fmt.Sprintf("%s with %d attributes", name, d.Len())
	}
	parts := make([]string, len(e.Args))
	for i, a := range e.Args {
		parts[i] = fmt.Sprintf("%.200v", a)
	}
	return name + ": " + strings.Join(parts, ", ")
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// codes name the states for which Python has no class of its own. They are sent
// as the second argument of a StorageSystemError.
var codes = []struct {
	code string
	err  error
}{
	{"zari.commit-unknown", zodb.ErrCommitUnknown},
	{"zari.closed", zodb.ErrClosed},
	{"zari.unknown-position", zodb.ErrUnknownPosition},
	{"zari.corrupt", zodb.ErrCorrupt},
	{"zari.no-space", zodb.ErrNoSpace},
	{"zari.timeout", context.DeadlineExceeded},
	{"zari.cancelled", context.Canceled},
}

// notPrimary is the argument of the ReadOnlyError that means ErrNotPrimary.
const notPrimary = "storage is not the primary"

// Describe returns how an error is sent: the class's dotted name, and its
// arguments (a pickle.Tuple) or attributes (a *pickle.Dict).
func Describe(err error) (class string, detail any) {
	if e, ok := errors.AsType[*PyError](err); ok {
		if e.Detail != nil {
			return e.Class, e.Detail
		}
		return e.Class, e.Args
	}
	if e, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		if e.DeletedAt != 0 {
			return POSKeyError, pickle.Tuple{e.OID, e.DeletedAt}
		}
		return POSKeyError, pickle.Tuple{e.OID}
	}
	if e, ok := errors.AsType[*zodb.ConflictError](err); ok {
		return describeConflict(e)
	}
	if e, ok := errors.AsType[*zodb.UndoError](err); ok {
		return describeUndo(err, e)
	}
	if e, ok := errors.AsType[*zodb.TxnError](err); ok {
		return StorageTransactionError, pickle.Tuple{e.Error()}
	}
	return describeState(err)
}

func describeState(err error) (class string, detail any) {
	switch {
	case errors.Is(err, zodb.ErrNotPrimary):
		return ReadOnlyError, pickle.Tuple{notPrimary}
	case errors.Is(err, zodb.ErrReadOnly):
		return ReadOnlyError, pickle.Tuple{}
	case errors.Is(err, errors.ErrUnsupported):
		return NotImplementedError, pickle.Tuple{err.Error()}
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return StorageSystemError, pickle.Tuple{err.Error(), c.code}
		}
	}
	return StorageSystemError, pickle.Tuple{err.Error()}
}

// The messages of Python's exceptions.
const (
	conflictMessage     = "database conflict error"
	readConflictMessage = "database read conflict error"
)

func describeConflict(e *zodb.ConflictError) (string, any) {
	class, message := ConflictError, conflictMessage
	if e.Check {
		class, message = ReadConflictError, readConflictMessage
	}
	if e.Reason != "" {
		message += ": " + e.Reason
	}
	return class, pickle.NewDict(
		"message", message,
		"oid", e.OID,
		"class_name", nil,
		"serials", pickle.Tuple{e.Committed, e.Read},
	)
}

// describeUndo sends the objects in the way, of one error or of several joined. A
// transaction that cannot be undone at all is a plain UndoError.
func describeUndo(err error, first *zodb.UndoError) (string, any) {
	var list []any
	for _, e := range undoErrors(err, nil) {
		if e.HasOID {
			list = append(list, pickle.Tuple{e.OID, e.Reason})
		}
	}
	if len(list) == 0 {
		return UndoError, pickle.NewDict("_reason", first.Reason, "_oid", nil)
	}
	return MultipleUndoErrors, pickle.NewDict("_errs", pickle.NewList(list...))
}

// undoErrors appends all that err is made of.
func undoErrors(err error, dst []*zodb.UndoError) []*zodb.UndoError {
	switch e := err.(type) {
	case *zodb.UndoError:
		return append(dst, e)
	case interface{ Unwrap() []error }:
		for _, sub := range e.Unwrap() {
			dst = undoErrors(sub, dst)
		}
	case interface{ Unwrap() error }:
		return undoErrors(e.Unwrap(), dst)
	}
	return dst
}
