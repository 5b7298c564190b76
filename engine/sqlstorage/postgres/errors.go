package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// What PostgreSQL says by SQLSTATE (appendix A of its manual).
const (
	codeReadOnly      = "25006" // read_only_sql_transaction
	codeDiskFull      = "53100"
	codeTooManyConns  = "53300"
	codeLockTimeout   = "55P03" // lock_not_available
	codeQueryCanceled = "57014" // statement_timeout, which only votes have
	codeDeadlock      = "40P01"
	codeConnection    = "08"    // class: connection exceptions
	codeAdminShutdown = "57P01" // and of sessions that are terminated
	codeCrashShutdown = "57P02"
	codeCannotConnect = "57P03" // starting up, or shutting down
)

// explain makes an error of the driver's one that says which database, and that
// matches what the core knows.
func (d *DB) explain(err error) error {
	if err == nil {
		return nil
	}
	if _, done := errors.AsType[*Error](err); done {
		return err
	}
	return &Error{Database: d.name, Err: err, kind: kindOf(err)}
}

// Error is what went wrong with a database. It matches the error of package
// sqlstorage or zodb that stands for its kind.
type Error struct {
	Database string
	Err      error // the driver's
	kind     error // nil: of no special kind
}

func (e *Error) Error() string {
	hint := distrust(e.Err)
	if pg, ok := errors.AsType[*pgconn.PgError](e.Err); ok && pg.Hint != "" {
		hint = pg.Hint
	}
	if hint != "" {
		return fmt.Sprintf("%s: %v (%s)", e.Database, e.Err, hint)
	}
	return fmt.Sprintf("%s: %v", e.Database, e.Err)
}

// distrust says what to do about a server whose certificate is not good enough, "" if
// that is not what is wrong.
func distrust(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "let sslrootcert name a file with the certificate of the authority that signed the server's"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "let host be a name that the server's certificate has; sslmode=verify-ca asks only who has signed it"
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return "the server needs another certificate"
	}
	return ""
}

// Unwrap returns the driver's error.
func (e *Error) Unwrap() error { return e.Err }

// Is reports true for the kind of the error.
func (e *Error) Is(target error) bool { return target == e.kind }

func kindOf(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return kindOfCode(pg.Code)
	}
	if distrust(err) != "" {
		return nil // to try again is of no use
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return sqlstorage.ErrLost // also where it timed out
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil // the caller's own wish
	}
	return sqlstorage.ErrLost // what the server did not say, the network did
}

func kindOfCode(code string) error {
	switch code {
	case codeReadOnly:
		return zodb.ErrReadOnly
	case codeDiskFull:
		return zodb.ErrNoSpace
	case codeLockTimeout, codeDeadlock, codeQueryCanceled:
		return sqlstorage.ErrBusy
	case codeAdminShutdown, codeCrashShutdown, codeCannotConnect, codeTooManyConns:
		return sqlstorage.ErrLost
	}
	if code[:min(2, len(code))] == codeConnection {
		return sqlstorage.ErrLost
	}
	return nil
}

// unanswered reports whether a COMMIT that was sent and failed with err may have
// been done all the same. A server that says ERROR has rolled back; one that ends
// the session may do so after the commit.
func unanswered(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if ok {
		return pg.Severity != "ERROR"
	}
	return !pgconn.SafeToRetry(err) // nothing was sent
}

// unknownCommit is the error of a commit that nobody answered.
func (d *DB) unknownCommit(err error) error {
	return fmt.Errorf("%w: %w", zodb.ErrCommitUnknown, d.explain(err))
}
