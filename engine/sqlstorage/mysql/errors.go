package mysql

import (
	"context"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// Numbers of the server's errors, which MySQL and MariaDB share unless noted.
const (
	errDiskFull        = 1021
	errServerShutdown  = 1053
	errDuplicate       = 1062
	errTableFull       = 1114
	errPacketTooLarge  = 1153
	errDuringCommit    = 1180
	errLockWaitTimeout = 1205 // MariaDB's answer to NOWAIT, too
	errDeadlock        = 1213
	errOptionPrevents  = 1290 // --read-only
	errInterrupted     = 1317 // KILL QUERY
	errReadOnlyTxn     = 1792
	errReadOnlyMode    = 1836
	errKilled          = 1927 // MariaDB
	errStatementTime   = 1969 // MariaDB: max_statement_time
	errLockNoWait      = 3572 // MySQL
	errIdle            = 4031 // MySQL: the server ended an idle session
)

// Error is an error of the database.
type Error struct {
	Database string // its name, as of DB.Name
	Err      error  // the driver's
	kind     error  // what the core makes of it, nil for nothing special
}

func (e *Error) Error() string {
	if hint := hints[e.kind]; hint != "" {
		return fmt.Sprintf("%s: %v (%s)", e.Database, e.Err, hint)
	}
	return fmt.Sprintf("%s: %v", e.Database, e.Err)
}

// Unwrap returns the driver's error and what it means.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.kind}
}

var hints = map[error]string{
	zodb.ErrReadOnly:       "the server takes no writes: is it a replica?",
	zodb.ErrCommitUnknown:  "whether it was committed will be asked",
	sqlstorage.ErrLost:     "the connection is lost, nothing was committed",
	zodb.ErrNoSpace:        "the server's disk is full",
	errTooLargeForDatabase: "raise max_allowed_packet in the server's configuration",
	errUnknownAuthority:    "let ssl_ca name a file with the certificate of the authority that signed the server's",
	errOtherHost:           "let host be a name that the server's certificate has; ssl_mode verify-ca asks only who has signed it",
}

var (
	errTooLargeForDatabase = errors.New("larger than what the server takes")
	errUnknownAuthority    = errors.New("nobody known vouches for the server")
	errOtherHost           = errors.New("another host is at the other end")
)

// failure is the error to be returned for one of the driver's.
func (d *DB) failure(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Database: d.name, Err: err, kind: kindOf(err)}
}

// unknown is the error of a COMMIT, or of statements that end with one.
func (d *DB) unknown(err error) error {
	return &Error{Database: d.name, Err: err, kind: zodb.ErrCommitUnknown}
}

func kindOf(err error) error {
	if e, ok := errors.AsType[*gomysql.MySQLError](err); ok {
		switch e.Number {
		case errLockWaitTimeout, errDeadlock, errLockNoWait, errStatementTime:
			return sqlstorage.ErrBusy
		case errDiskFull, errTableFull:
			return zodb.ErrNoSpace
		case errOptionPrevents, errReadOnlyTxn, errReadOnlyMode:
			return zodb.ErrReadOnly
		case errKilled, errServerShutdown, errIdle:
			return sqlstorage.ErrLost
		case errPacketTooLarge:
			return errTooLargeForDatabase
		}
		return nil
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return errUnknownAuthority
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return errOtherHost
	}
	if brokenConnection(err) {
		return sqlstorage.ErrLost
	}
	return nil
}

// brokenConnection reports whether the connection, and not the server, is what failed.
func brokenConnection(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false // we broke it ourselves
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, gomysql.ErrInvalidConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// refused reports whether err is the server's clear no: what was sent was not
// committed. Errors that a killed session may have in the middle of a COMMIT are not.
func refused(err error) bool {
	e, ok := errors.AsType[*gomysql.MySQLError](err)
	if !ok {
		return false
	}
	switch e.Number {
	case errKilled, errServerShutdown, errIdle, errInterrupted, errDuringCommit:
		return false
	}
	return true
}
