package sqlstorage

import (
	"errors"
	"fmt"
)

// What a Dialect says in a way that the core understands.
var (
	ErrBusy = errors.New("a lock of the database is held by somebody else")
	ErrLost = errors.New("the connection to the database is lost")
)

func (e *LockError) Error() string {
	kind := "write"
	if e.Read {
		kind = "read"
	}
	return fmt.Sprintf("no %s lock on object %v: %v", kind, e.OID, e.Err)
}

// Is reports true for ErrBusy.
func (e *LockError) Is(target error) bool { return target == ErrBusy }

// Unwrap returns the driver's error.
func (e *LockError) Unwrap() error { return e.Err }
