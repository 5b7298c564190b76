package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// wrap names the file, and makes recognizable what the core knows.
func wrap(path string, err error) error {
	known := map[int]error{
		sqlite3.SQLITE_BUSY: sqlstorage.ErrBusy, sqlite3.SQLITE_LOCKED: sqlstorage.ErrBusy,
		sqlite3.SQLITE_FULL: zodb.ErrNoSpace, sqlite3.SQLITE_READONLY: zodb.ErrReadOnly,
		sqlite3.SQLITE_CORRUPT: zodb.ErrCorrupt, sqlite3.SQLITE_NOTADB: zodb.ErrCorrupt,
	}[code(err)&0xff]
	if known == nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %w: %w", path, known, err)
}

// code returns SQLite's extended result code, 0 for another error.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// unclear reports whether a COMMIT that failed so may have become durable: the
// write or the sync of the log failed at an unknown place.
func unclear(err error) bool {
	switch code(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CONSTRAINT:
		return false
	}
	return true
}
